"""Injected faults: their shares, what clients and logs see of them, and clients that leave."""

import json
import socket
import time

from harness.util import wait_until

SITE = """
[global]
access_log = @dir@/access.log
access_log_format = json

[listener web]
bind = @web@

[route late]
path = /late
fault = delay 300ms
backend = pool

[route broken]
path = /broken
fault = status 429
backend = pool

[route both]
path = /both
fault = delay 20ms, delay 30ms, status 502, status 400
cors = https://app.test
respond = 200 never

[route stuck]
path = /stuck
fault = delay 1h
backend = pool

[route some]
path = /some
fault = status 503 25%
respond = 200 fine

[route never]
path = /never
fault = delay 1h 0%, status 503 0%
respond = 200 fine

[route guarded]
path = /guarded
fault = status 500
deny = all
backend = pool

[route plain]
path = /plain
backend = pool

[backend pool]
server = POOL
"""


def faults(up, route):
    return up.stats()["routes"][route]["faults"]


def logged(up, uri):
    """The last line about it."""
    def find():
        lines = [json.loads(line) for line in (up.dir / "access.log").read_text().splitlines()]
        found.extend(line for line in lines if line["uri"] == uri)
        return found
    found = []
    wait_until(find)
    return found[-1]


def test_a_delayed_request_is_answered_late(up, server):
    began = time.monotonic()
    res = up.ask("/late/1", method="POST", body=b"x" * 100000)
    assert res.status == 200 and time.monotonic() - began >= 0.3
    assert res.get("Proxy-Status") == 'rpd; details="fault injected: delay 300ms"'
    assert len(server.last().body) == 100000
    line = logged(up, "/late/1")
    assert (line["status"], line["fault"], line["end_reason"]) == (200, "delay 300ms", "ok")
    assert line["duration"] >= 0.3
    up.wait_stats(lambda s: s["routes"]["late"]["faults"] >= 1)


def test_a_status_is_answered_without_a_server(up, server):
    before, seen = faults(up, "broken"), len(server.heads)
    with up.client() as client:
        for _ in range(3):
            res = client.ask("/broken/1")
            assert res.status == 429 and b"fault injected" in res.body
            assert 'details="fault injected"' in res.get("Proxy-Status")
    assert len(server.heads) == seen
    line = logged(up, "/broken/1")
    assert (line["fault"], line["end_reason"]) == ("status 429", "fault injected")
    up.wait_stats(lambda s: s["routes"]["broken"]["faults"] == before + 3)


def test_faults_come_in_their_order(up):
    began = time.monotonic()
    res = up.ask("/both", headers=[("Origin", "https://app.test")])
    assert res.status == 502 and time.monotonic() - began >= 0.05
    assert res.get("Access-Control-Allow-Origin") == "https://app.test"
    assert logged(up, "/both")["fault"] == "status 502"
    up.wait_stats(lambda s: s["routes"]["both"]["faults"] == 1)


def test_a_share_is_drawn_for_each_request(up):
    with up.client() as client:
        got = [client.ask("/some").status for _ in range(1000)]
    assert 180 <= got.count(503) <= 320  # five deviations
    assert got.count(200) == 1000 - got.count(503)
    runs = sum(a != b for a, b in zip(got, got[1:]))
    assert 280 <= runs <= 470  # 375, were each drawn for itself
    up.wait_stats(lambda s: s["routes"]["some"]["faults"] == got.count(503))


def test_a_share_of_nothing_is_none(up):
    with up.client() as client:
        for _ in range(50):
            assert client.ask("/never").status == 200
    assert faults(up, "never") == 0


def test_who_may_not_come_in_sees_no_fault(up):
    assert up.ask("/guarded").status == 403
    assert faults(up, "guarded") == 0


def test_others_do_not_wait(up):
    with up.client() as stuck:
        stuck.send(b"GET /stuck/a HTTP/1.1\r\nHost: x\r\n\r\n")
        up.wait_stats(lambda s: s["routes"]["stuck"]["active"] >= 1)
        for _ in range(4):
            assert up.ask("/plain").status == 200
        assert logged(up, "/plain")["fault"] is None


def test_a_client_that_leaves_waits_no_longer(up, server):
    seen = len(server.heads)
    before = up.stats()["routes"]["stuck"]
    clients = [up.client() for _ in range(6)]
    for i, client in enumerate(clients):
        client.send(b"POST /stuck/b HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
    up.wait_stats(lambda s: s["routes"]["stuck"]["faults"] == before["faults"] + 6)
    for client in clients[:3]:
        client.reset()
    for client in clients[3:]:
        client.sock.shutdown(socket.SHUT_WR)
        client.close()
    up.wait_stats(lambda s: s["routes"]["stuck"]["active"] == 0)
    assert len(server.heads) == seen
    assert logged(up, "/stuck/b")["fault"] == "delay 1h"


def test_a_reload_ends_them(rpd):
    text = "[listener web]\nbind = @web@\n[route all]\nrespond = 200 ok\nfault = status 503\n"
    d = rpd(text)
    assert d.ask().status == 503
    d.reload(text.replace("fault = status 503", "fault ="))
    assert d.ask().status == 200
