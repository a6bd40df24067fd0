"""Everything at once, at random but from a fixed seed: afterwards nothing may be left over."""

import os
import random
import signal
import threading
import time

import pytest

from harness.client import request_bytes
from harness.daemon import plain
from harness.origin import answer, chunked, keeps_alive
from harness.util import fd_count, pattern, patience, wait_until
from harness.wire import BadMessage, Eof

ENDS = (Eof, ConnectionError, TimeoutError, BadMessage, OSError)


def unreliable(seed):
    """An origin that answers, resets, stalls, cuts off, hurries and talks nonsense."""
    def handler(conn):
        dice = random.Random(seed * 1000 + conn.index)
        while True:
            roll = dice.random()
            if roll < 0.04:
                conn.request_head()
                conn.reply(b"early")
                return
            req = conn.request()
            if roll < 0.70:
                if not answer(conn, req) or not keeps_alive(req):
                    return
            elif roll < 0.76:
                conn.reset()
                return
            elif roll < 0.80:
                return
            elif roll < 0.84:
                conn.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort")
                return
            elif roll < 0.88:
                conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab")
                conn.reset()
                return
            elif roll < 0.90:
                conn.wait_end()
                return
            elif roll < 0.93:
                conn.send("garbage\r\n\r\n")
                return
            else:
                for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok":
                    conn.send(bytes([byte]))
    return handler


def one_request(client, dice):
    """Sends one of many kinds of request; returns False when the connection is over."""
    roll = dice.random()
    size = dice.choice([0, 1, 100, 16384, 70000, 300000])
    target = dice.choice(["/", f"/bytes/{size}", f"/chunked/{size}", f"/close/{size}", "/quick",
                          "/buffered/x", "/nothing", f"/buffered/bytes/{size}"])
    if roll < 0.4:
        client.send(request_bytes(target=target))
    elif roll < 0.6:
        client.send(request_bytes("POST", target, body=pattern(size)))
    elif roll < 0.75:
        client.send(request_bytes("POST", target, [("Transfer-Encoding", "chunked")])
                    + chunked(pattern(size)))
    elif roll < 0.80:  # leaves in the middle of something
        client.send(request_bytes("POST", target, [("Content-Length", size + 10)]) + b"x" * size)
        return False
    elif roll < 0.84:
        client.send(request_bytes(target=target)[:dice.randrange(1, 30)])
        return False
    elif roll < 0.88:
        client.send(request_bytes(target="/bytes/5000000"))
        client.exact(100)
        return False
    elif roll < 0.91:
        client.send("nonsense\r\n\r\n")
    else:
        client.send(request_bytes(target=target) * 3)
        client.response()
        client.response()
    res = client.response()
    return "close" not in res.options("Connection")


def rage(d, n, deadline):
    dice = random.Random(n)
    while time.monotonic() < deadline:
        try:
            client = d.client(timeout=4)
        except OSError:
            continue
        try:
            for _ in range(dice.randrange(1, 8)):
                if not one_request(client, dice):
                    break
        except ENDS:
            pass
        if dice.random() < 0.3:
            client.reset()
        else:
            client.close()


def configuration(origins, turn):
    extra = f"[route extra{turn % 3}]\npath = /extra\nrespond = 200 x\n"
    return plain(*origins, route="timeout_response = 300ms\ntimeout_connect = 300ms",
                 listener="timeout_idle = 2s\ntimeout_header = 1s\ntimeout_body = 1s",
                 backend=f"""
                 max_conns = {1 + turn % 3}
                 queue_timeout = 300ms
                 keepalive = 3""") + f"""
[route quick]
path = /quick
respond = 200 quick

[route buffered]
path = /buffered
backend = pool
buffer_request = on
timeout_response = 300ms

{extra}"""


@pytest.mark.slow
@pytest.mark.parametrize("kill", [False, True], ids=["reloads", "reloads and kills"])
def test_nothing_is_left_after_a_storm(rpd, origin, kill):
    origins = [origin(unreliable(seed)) for seed in range(3)]
    gone = origin()
    gone.close()
    d = rpd(configuration([*origins, gone], 0), workers=2, globals_="log_level = error\n")
    d.ask("/quick")
    d.wait_stats(lambda s: s["listeners"]["web"]["connections_active"] == 0)
    before = {pid: fd_count(pid) for pid in d.worker_pids()}
    deadline = time.monotonic() + 5
    threads = [threading.Thread(target=rage, args=(d, n, deadline)) for n in range(10)]
    for thread in threads:
        thread.start()
    turn = 0
    while time.monotonic() < deadline:
        turn += 1
        d.reload(configuration([*origins, gone], turn))
        if kill and turn % 4 == 0:
            os.kill(random.Random(turn).choice(d.worker_pids()), signal.SIGKILL)
            wait_until(lambda: len(d.worker_pids()) == 2)
    for thread in threads:
        thread.join(patience(30))

    def is_quiet(stats):
        listener, pool = stats["listeners"]["web"], stats["backends"]["pool"]
        return (listener["connections_active"] == 0 and pool["queued"] == 0
                and pool["active"] == 0
                and all(route["active"] == 0 for route in stats["routes"].values())
                and all(server["active"] == 0 for server in pool["servers"].values())
                and all(w["connections"] == 0 and w["buffers"] == 0 for w in stats["workers"]))
    stats = d.wait_stats(is_quiet, 15)
    routes = stats["routes"].values()
    assert sum(r["requests_total"] for r in routes) <= stats["listeners"]["web"]["requests_total"]
    for route in routes:
        answered = sum(route[f"status_{n}xx"] for n in range(1, 6))
        assert answered <= route["requests_total"] <= answered + route["aborted"]
        assert route["latency"]["count"] == route["requests_total"]
    idle = sum(s["idle"] for s in stats["backends"]["pool"]["servers"].values())
    assert idle <= 2 * 3 * len(origins)
    assert stats["rpd"]["worker_crashes"] == (turn // 4 if kill else 0)
    for pid in d.worker_pids():
        if pid in before:
            assert fd_count(pid) <= before[pid] + idle + 8, "pooled pipes at most"
    assert wait_until(lambda: d.ask("/quick").status == 200)


@pytest.mark.slow
def test_tcp_storm_leaves_nothing(rpd, origin):
    def handler(conn):
        dice = random.Random(conn.index)
        while True:
            data = conn.sock.recv(65536)
            roll = dice.random()
            if not data:
                conn.send(b"end")
                return
            if roll < 0.05:
                conn.reset()
                return
            if roll < 0.1:
                conn.shutdown_write()
            conn.send(data * dice.choice([0, 1, 5]))
    d = rpd(plain(origin(handler), origin(handler), listener="mode = tcp",
                  route="timeout_stream = 500ms", backend="max_conns = 6\nqueue_timeout = 200ms"))
    deadline = time.monotonic() + 3

    def run(n):
        dice = random.Random(n)
        while time.monotonic() < deadline:
            try:
                client = d.client(timeout=3)
                for _ in range(dice.randrange(6)):
                    client.send(pattern(dice.choice([1, 1000, 100000])))
                    client.some()
                if dice.random() < 0.5:
                    client.shutdown_write()
                    client.until_eof()
                if dice.random() < 0.5:
                    client.reset()
                else:
                    client.close()
            except ENDS:
                pass
    threads = [threading.Thread(target=run, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(patience(30))
    stats = d.wait_stats(lambda s: s["listeners"]["web"]["connections_active"] == 0
                         and s["routes"]["all"]["active"] == 0
                         and s["backends"]["pool"]["queued"] == 0
                         and all(w["buffers"] == 0 for w in s["workers"]), 15)
    sessions = stats["routes"]["all"]["requests_total"]
    assert stats["listeners"]["web"]["connections_total"] == sessions
    assert stats["rpd"]["worker_crashes"] == 0
