"""tcp mode: bytes are carried both ways at once, as they are."""

import threading

import pytest

from harness.daemon import plain
from harness.origin import tcp_echo
from harness.util import (holds_for, is_sanitized, kernel_buffers, memory, pattern, pieces, sha,
                          stands_still, wait_until)


def session(*origins, **kw):
    kw["listener"] = "mode = tcp\n" + kw.get("listener", "")
    return plain(*origins, **kw)


def test_bytes_come_back(rpd, origin):
    d = rpd(session(origin(tcp_echo)))
    with d.client() as client:
        for n in (1, 1000, 65536, 65537):
            client.send(pattern(n))
            assert client.exact(n) == pattern(n)


def test_bytes_of_any_value_pass(rpd, origin):
    d = rpd(session(origin(tcp_echo)))
    with d.client() as client:
        data = b"GET / HTTP/1.1\r\n\r\n\x00\xff" + bytes(range(256)) * 10
        client.send(data)
        assert client.exact(len(data)) == data


def test_server_that_speaks_first(rpd, origin):
    def handler(conn):
        conn.send(b"220 ready\r\n")
        conn.wait_end()
    with rpd(session(origin(handler))).client() as client:
        assert client.line() == b"220 ready"


def test_much_both_ways_at_once(rpd, origin):
    d = rpd(session(origin(tcp_echo)))
    total = 32 << 20
    failed = []

    def run():
        try:
            with d.client(timeout=60) as client:
                sender = threading.Thread(
                    target=lambda: [client.send(p) for p in pieces(total)], daemon=True)
                sender.start()
                got = 0
                data = pattern(total)
                while got < total:
                    piece = client.some()
                    assert data[got:got + len(piece)] == piece
                    got += len(piece)
                sender.join()
                client.shutdown_write()
                assert client.is_closed()
        except Exception as error:
            failed.append(error)
    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert not failed
    stats = d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 3)
    assert stats["routes"]["all"]["bytes_in"] == stats["routes"]["all"]["bytes_out"] == 3 * total
    server = stats["backends"]["pool"]["servers"]["s0"]
    assert server["bytes_in"] == server["bytes_out"] == 3 * total
    assert stats["listeners"]["web"]["bytes_in"] == 3 * total


def test_half_close_of_the_client_is_kept(rpd, origin):
    def handler(conn):
        conn.send(b"end seen after: " + conn.until_eof())
    with rpd(session(origin(handler))).client() as client:
        client.send(b"last words")
        client.shutdown_write()
        assert client.until_eof() == b"end seen after: last words"


def test_half_close_of_the_server_is_kept(rpd, origin):
    got = []

    def handler(conn):
        conn.send(b"bye")
        conn.shutdown_write()
        got.append(conn.until_eof())
    with rpd(session(origin(handler))).client() as client:
        assert client.until_eof() == b"bye"
        holds_for(lambda: not got, 0.05)
        client.send(b"still here")
        client.shutdown_write()
        wait_until(lambda: got == [b"still here"])


def test_everything_sent_before_an_end_arrives(rpd, origin):
    """A server that sends much and closes at once, a client that reads late."""
    def handler(conn):
        for piece in pieces(5 << 20):
            conn.send(piece)
    with rpd(session(origin(handler))).client(rcvbuf=8192) as client:
        holds_for(lambda: True, 0.1)
        assert sha(client.until_eof()) == sha(pattern(5 << 20))


@pytest.mark.parametrize("who", ["client", "server"])
def test_reset_of_one_side_ends_the_other(rpd, origin, who):
    reset = threading.Event()

    def handler(conn):
        conn.send(b"x")
        if who == "server":
            reset.wait(20)
            conn.reset()
        else:
            conn.wait_end()
    o = origin(handler)
    d = rpd(session(o))
    client = d.client()
    assert client.exact(1) == b"x"
    if who == "client":
        client.reset()
    else:
        reset.set()
        assert client.is_closed()
    wait_until(lambda: not o.open_connections())
    d.wait_stats(lambda s: s["listeners"]["web"]["connections_active"] == 0
                 and s["routes"]["all"]["active"] == 0)


def test_sessions_are_counted_as_requests(rpd, origin):
    d = rpd(session(origin(tcp_echo)))
    clients = [d.client() for _ in range(10)]
    for client in clients:
        client.send(b"12345")
        assert client.exact(5) == b"12345"
    stats = d.stats()
    assert stats["routes"]["all"]["active"] == 10
    assert stats["backends"]["pool"]["servers"]["s0"]["active"] == 10
    assert stats["listeners"]["web"]["connections_active"] == 10
    for client in clients:
        client.close()
    stats = d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 10)
    stats = d.wait_stats(lambda s: s["routes"]["all"]["active"] == 0)
    assert stats["backends"]["pool"]["requests_total"] == 10
    assert stats["routes"]["all"]["latency"]["count"] == 10
    assert stats["listeners"]["web"]["requests_total"] == 10
    assert stats["listeners"]["web"]["connections_total"] == 10


def test_silent_session_outlives_other_timeouts_until_timeout_stream(rpd, origin):
    o = origin(tcp_echo)
    d = rpd(session(o, route="timeout_stream = 700ms\ntimeout_response = 100ms",
                    listener="timeout_idle = 100ms\ntimeout_header = 100ms\ntimeout_body = 100ms"))
    with d.client() as client:
        client.sock.settimeout(0.3)
        try:
            client.fill()
        except TimeoutError:
            pass
        client.sock.settimeout(20)
        client.send(b"x")
        assert client.exact(1) == b"x"
        assert client.is_closed()
    wait_until(lambda: not o.open_connections())


def test_bytes_either_way_hold_a_session_open(rpd, origin):
    tick = threading.Event()

    def handler(conn):
        for _ in range(12):
            tick.wait(0.1)
            conn.send(b"x")
    with rpd(session(origin(handler), route="timeout_stream = 500ms")).client() as client:
        assert client.until_eof() == b"x" * 12


def test_refused_connect_is_tried_on_another_server(rpd, origin):
    gone = origin()
    gone.close()
    d = rpd(session(gone, origin(tcp_echo)), workers=1)
    for _ in range(4):
        with d.client() as client:
            client.send(b"abc")
            assert client.exact(3) == b"abc"
    stats = d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 4)
    assert stats["routes"]["all"]["retries"] >= 1


def test_no_server_closes_the_session(rpd, origin):
    gone = origin()
    gone.close()
    d = rpd(session(gone))
    with d.client() as client:
        assert client.is_closed()
    server = d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 1)
    assert server["backends"]["pool"]["servers"]["s0"]["connect_errors"] >= 1


def test_listener_that_could_only_close_is_an_error(site):
    done = site("[listener web]\nbind = @web@\nmode = tcp\n").check()
    assert done.returncode == 1
    assert "default_backend" in done.stderr


def test_max_conns_makes_sessions_wait(rpd, origin):
    d = rpd(session(origin(tcp_echo), backend="max_conns = 1"), workers=1)
    first, second = d.client(), d.client()
    first.send(b"1")
    assert first.exact(1) == b"1"
    second.send(b"2")
    d.wait_stats(lambda s: s["backends"]["pool"]["queued"] == 1)
    first.close()
    assert second.exact(1) == b"2"


def test_slow_reader_holds_the_server_back(rpd, origin):
    sent = [0]

    def handler(conn):
        while True:
            conn.send(b"x" * 65536)
            sent[0] += 65536
    d = rpd(session(origin(handler)), workers=1)
    pid = d.worker_pids()[0]
    before = memory(pid)
    with d.client(rcvbuf=16384) as client:
        wait_until(lambda: sent[0] > 0)
        assert stands_still(lambda: sent[0]) < kernel_buffers()
        if not is_sanitized():
            assert memory(pid) - before < 1 << 20
        client.exact(1 << 20)


def test_many_sessions(rpd, origin):
    d = rpd(session(origin(tcp_echo)))
    clients = [d.client() for _ in range(200)]
    for n, client in enumerate(clients):
        client.send(b"%06d" % n)
    for n, client in enumerate(clients):
        assert client.exact(6) == b"%06d" % n
        client.close()
    d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 200)


def test_http_and_tcp_side_by_side(rpd, origin):
    d = rpd(plain(origin()) + f"""
[listener raw]
bind = @raw@
mode = tcp
default_backend = echoes
[backend echoes]
server = {origin(tcp_echo).addr}
[route raw]
listener = raw
backend = echoes
""")
    with d.client("raw") as client:
        client.send(b"raw")
        assert client.exact(3) == b"raw"
    assert d.ask().status == 200
