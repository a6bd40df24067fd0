"""1xx answers, Expect: 100-continue, and connections that become tunnels."""

import threading

import pytest

from harness.client import request_bytes
from harness.daemon import plain
from harness.origin import canned, chunked, upgrade_echo
from harness.util import pattern, wait_until

UPGRADE = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", "k"),
           ("Sec-WebSocket-Version", "13")]


def test_early_hints_are_passed_on(rpd, origin):
    o = origin(canned(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
                      b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
    d = rpd(plain(o))
    with d.client() as client:
        for _ in range(2):
            res = client.ask()
            assert [(r.status, r.get("Link")) for r in res.interim] == [(103, "</a.css>")]
            assert (res.status, res.body) == (200, b"ok")
    stats = d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 2)
    assert stats["routes"]["all"]["status_2xx"] == 2
    assert stats["routes"]["all"]["status_1xx"] == 0


def test_early_hints_come_before_the_answer_is_made(rpd, origin):
    gate = threading.Event()

    def handler(conn):
        conn.request()
        conn.send("HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n")
        gate.wait(20)
        conn.reply(b"ok")
    d = rpd(plain(origin(handler)))
    with d.client() as client:
        client.send(request_bytes())
        assert client.response_head().status == 103
        gate.set()
        assert client.response().body == b"ok"


def test_several_interim_answers(rpd, origin):
    o = origin(canned(b"HTTP/1.1 102 Processing\r\n\r\n" * 3
                      + b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"
                      b"HTTP/1.1 204 No Content\r\n\r\n"))
    res = rpd(plain(o)).ask()
    assert [r.status for r in res.interim][-1] == 103
    assert res.status == 204


def test_http10_client_gets_no_interim_answer(rpd, origin):
    o = origin(canned(b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"
                      b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
    res = rpd(plain(o)).ask(version="1.0")
    assert (res.status, res.interim) == (200, [])


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_client_that_expects_100_gets_it_before_its_body(rpd, origin, framing):
    def handler(conn):
        req = conn.request_head()
        if "100-continue" in req.options("Expect"):
            conn.send("HTTP/1.1 100 Continue\r\n\r\n")
        conn.body(req)
        conn.reply(req.body)
    d = rpd(plain(origin(handler)))
    with d.client() as client:
        head = [("Expect", "100-continue")]
        if framing == "length":
            client.send(request_bytes("POST", "/", [*head, ("Content-Length", 5)]))
        else:
            client.send(request_bytes("POST", "/", [*head, ("Transfer-Encoding", "chunked")]))
        assert client.response_head().status == 100
        client.send(b"hello" if framing == "length" else chunked(b"hello"))
        res = client.response()
        assert (res.status, res.body, res.interim) == (200, b"hello", [])


def test_expectation_refused_by_the_server_is_passed_on_without_body(rpd, origin):
    def handler(conn):
        conn.request_head()
        conn.reply(b"no", "417 Expectation Failed", [("Connection", "close")])
    d = rpd(plain(origin(handler)))
    with d.client() as client:
        client.send(request_bytes("POST", "/", [("Expect", "100-continue"),
                                                ("Content-Length", 5)]))
        interim_or_final = client.response()
        assert interim_or_final.status == 417
    assert d.ask().status == 417


def test_body_sent_without_waiting_for_100(rpd, origin):
    d = rpd(plain(origin()))
    with d.client() as client:
        client.send(request_bytes("POST", "/echo", [("Expect", "100-continue")], body=b"hello"))
        assert client.response().body == b"hello"
        client.send(request_bytes("POST", "/echo", body=b"again"))
        assert client.response().body == b"again"


def test_unknown_expectation_is_417_or_ignored(rpd, origin):
    d = rpd(plain(origin()))
    assert d.ask(headers=[("Expect", "something-else")]).status in (200, 417)


# ---- upgrade ----

def tunnel(d, headers=UPGRADE):
    client = d.client()
    client.send(request_bytes(headers=headers))
    res = client.response_head()
    assert res.status == 101
    return client, res


def test_websocket_becomes_a_tunnel(rpd, origin):
    o = origin(upgrade_echo)
    d = rpd(plain(o))
    client, res = tunnel(d)
    assert res.get("Upgrade") == "websocket"
    assert "upgrade" in res.options("Connection")
    assert res.get("Sec-WebSocket-Accept") == "x"
    req = o.last()
    assert req.get("Upgrade") == "websocket"
    assert "upgrade" in req.options("Connection")
    assert req.get("Sec-WebSocket-Key") == "k"
    for n in (1, 100, 70000):
        client.send(pattern(n))
        assert client.exact(n) == pattern(n)
    client.close()
    wait_until(lambda: not o.open_connections())
    stats = d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 1)
    assert stats["routes"]["all"]["status_1xx"] == 1
    assert stats["routes"]["all"]["bytes_in"] > 70000
    assert stats["routes"]["all"]["bytes_out"] > 70000
    assert stats["backends"]["pool"]["servers"]["s0"]["active"] == 0


def test_bytes_right_behind_the_upgrade_are_tunnelled(rpd, origin):
    d = rpd(plain(origin(upgrade_echo)))
    with d.client() as client:
        client.send(request_bytes(headers=UPGRADE) + b"early frame")
        assert client.response_head().status == 101
        assert client.exact(11) == b"early frame"


def test_bytes_right_behind_101_are_tunnelled(rpd, origin):
    def handler(conn):
        conn.request()
        conn.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                  b"Upgrade: websocket\r\n\r\nfirst frame")
        conn.wait_end()
    d = rpd(plain(origin(handler)))
    client, _ = tunnel(d)
    assert client.exact(11) == b"first frame"


def test_tunnel_moves_much_both_ways_at_once(rpd, origin):
    d = rpd(plain(origin(upgrade_echo)))
    client, _ = tunnel(d)
    data = pattern(8 << 20)
    thread = threading.Thread(target=client.send, args=(data,), daemon=True)
    thread.start()
    assert client.exact(len(data)) == data
    thread.join(20)


def test_tunnel_keeps_half_close_of_the_client(rpd, origin):
    def handler(conn):
        conn.request()
        conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                  "Upgrade: websocket\r\n\r\n")
        got = conn.until_eof()
        conn.send(b"after the end: " + got)
    d = rpd(plain(origin(handler)))
    client, _ = tunnel(d)
    client.send(b"last words")
    client.shutdown_write()
    assert client.until_eof() == b"after the end: last words"


def test_tunnel_keeps_half_close_of_the_server(rpd, origin):
    got = []

    def handler(conn):
        conn.request()
        conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                  "Upgrade: websocket\r\n\r\nbye")
        conn.shutdown_write()
        got.append(conn.until_eof())
    d = rpd(plain(origin(handler)))
    client, _ = tunnel(d)
    assert client.until_eof() == b"bye"
    client.send(b"still heard")
    client.close()
    wait_until(lambda: got == [b"still heard"])


def test_silent_tunnel_ends_after_timeout_stream(rpd, origin):
    o = origin(upgrade_echo)
    d = rpd(plain(o, route="timeout_stream = 300ms", listener="timeout_idle = 60s"))
    client, _ = tunnel(d)
    client.send(b"x")
    assert client.exact(1) == b"x"
    assert client.is_closed()
    wait_until(lambda: not o.open_connections())


def test_tunnel_outlives_the_other_timeouts(rpd, origin):
    gate = threading.Event()

    def handler(conn):
        conn.request()
        conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                  "Upgrade: websocket\r\n\r\n")
        gate.wait(20)
        conn.send(b"late")
        conn.wait_end()
    d = rpd(plain(origin(handler), route="timeout_response = 100ms",
                  listener="timeout_idle = 100ms\ntimeout_body = 100ms\ntimeout_header = 100ms"))
    client, _ = tunnel(d)
    client.sock.settimeout(0.6)
    with pytest.raises(TimeoutError):
        client.fill()
    client.sock.settimeout(20)
    gate.set()
    assert client.exact(4) == b"late"


def test_upgrade_the_server_declines_is_an_ordinary_answer(rpd, origin):
    d = rpd(plain(origin()))
    with d.client() as client:
        assert client.ask(headers=UPGRADE).status == 200
        assert client.ask().status == 200


def test_101_that_nobody_asked_for_is_a_bad_answer(rpd, origin):
    o = origin(canned(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                      b"Upgrade: websocket\r\n\r\n"))
    assert rpd(plain(o)).ask().status == 502


def test_upgrade_field_without_connection_is_not_passed_on(rpd, origin):
    o = origin(upgrade_echo)
    d = rpd(plain(o))
    assert d.ask(headers=[("Upgrade", "websocket")]).status == 200
    assert not o.last().has("Upgrade")


def test_h2c_upgrade_is_not_offered_to_the_server(rpd, origin):
    o = origin()
    d = rpd(plain(o))
    res = d.ask(headers=[("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"),
                         ("HTTP2-Settings", "AAMAAABkAAQAAP__")])
    assert res.status == 200
    assert not o.last().has("HTTP2-Settings")


def test_http10_client_cannot_upgrade(rpd, origin):
    o = origin(upgrade_echo)
    d = rpd(plain(o))
    assert d.ask(headers=UPGRADE, version="1.0").status == 200
    assert not o.last().has("Upgrade")


def test_connect_is_refused(rpd, origin):
    o = origin()
    d = rpd(plain(o))
    with d.client() as client:
        client.send(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
        assert client.response().status in (400, 405, 501)
        assert client.is_closed()
    assert not o.heads
