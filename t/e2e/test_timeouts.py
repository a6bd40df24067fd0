"""Every timeout ends what it should, with the answer it should, and is counted."""

import threading
import time

import pytest

from harness.client import request_bytes
from harness.daemon import plain
from harness.origin import chunked, tcp_echo
from harness.util import holds_for, patience, wait_until
from harness.wire import Eof


def ended_after(client, least, most=5):
    """Reads to the end and asserts when it came; returns what came."""
    start = time.monotonic()
    data = client.until_eof()
    took = time.monotonic() - start
    assert least <= took <= patience(most), took
    return data


def test_silent_client_is_closed_after_timeout_header(rpd, origin):
    d = rpd(plain(origin(), listener="timeout_header = 300ms\ntimeout_idle = 60s"))
    with d.client() as client:
        data = ended_after(client, 0.15)
        assert data == b"" or data.startswith(b"HTTP/1.1 408 ")


def test_half_a_head_is_408_or_closed_after_timeout_header(rpd, origin):
    o = origin()
    d = rpd(plain(o, listener="timeout_header = 300ms"))
    with d.client() as client:
        client.send("GET / HTTP/1.1\r\nHost: te")
        data = ended_after(client, 0.2)
        assert data == b"" or data.startswith(b"HTTP/1.1 408 ")
    assert not o.connections


def test_timeout_header_is_for_the_whole_head(rpd, origin):
    """A byte now and then does not hold the connection open."""
    d = rpd(plain(origin(), listener="timeout_header = 400ms"))
    with d.client() as client:
        start = time.monotonic()
        with pytest.raises((ConnectionError, TimeoutError)):
            client.sock.settimeout(0.05)
            client.send("GET / HTTP/1.1\r\nX: ")
            while time.monotonic() - start < patience(5):
                client.send("a")
                try:
                    if not client.sock.recv(1000):
                        raise ConnectionResetError
                except TimeoutError:
                    pass
            pytest.fail("never closed")
        assert 0.2 < time.monotonic() - start < patience(5)


def test_idle_client_is_closed_after_timeout_idle(rpd, origin):
    d = rpd(plain(origin(), listener="timeout_idle = 300ms\ntimeout_header = 60s"))
    with d.client() as client:
        assert client.ask().status == 200
        assert ended_after(client, 0.2) == b""
    d.wait_stats(lambda s: s["listeners"]["web"]["connections_active"] == 0)


def test_each_request_starts_timeout_idle_again(rpd, origin):
    d = rpd(plain(origin(), listener="timeout_idle = 600ms"))
    with d.client() as client:
        start = time.monotonic()
        while time.monotonic() - start < 1.5:
            assert client.ask().status == 200
            client.sock.settimeout(0.1)
            with pytest.raises(TimeoutError):
                client.fill()
            client.sock.settimeout(patience(10))


@pytest.mark.parametrize("data", [
    request_bytes("POST", "/", [("Content-Length", 10)]) + b"abc",
    request_bytes("POST", "/", [("Transfer-Encoding", "chunked")]) + b"5\r\nab",
    request_bytes("POST", "/", [("Content-Length", 10)]),
])
@pytest.mark.parametrize("buffer_request", ["on", "off"])
def test_body_that_stops_ends_after_timeout_body(rpd, origin, data, buffer_request):
    o = origin()
    d = rpd(plain(o, listener="timeout_body = 300ms", route=f"buffer_request = {buffer_request}"))
    with d.client() as client:
        client.send(data)
        got = ended_after(client, 0.2)
        assert got == b"" or got.startswith(b"HTTP/1.1 408 ")
    wait_until(lambda: not o.open_connections())
    assert not o.requests


def test_slow_body_that_moves_is_not_timed_out(rpd, origin):
    d = rpd(plain(origin(), listener="timeout_body = 600ms"))
    with d.client() as client:
        client.send(request_bytes("POST", "/echo", [("Content-Length", 10)]))
        for _ in range(10):
            client.send(b"x")
            client.sock.settimeout(0.1)
            if _ < 9:
                with pytest.raises(TimeoutError):
                    client.fill()
        client.sock.settimeout(patience(10))
        assert client.response().body == b"x" * 10


def test_server_that_does_not_answer_is_504(rpd, origin):
    o = origin(lambda conn: (conn.request(), conn.wait_end()))
    d = rpd(plain(o, route="timeout_response = 300ms"))
    with d.client() as client:
        start = time.monotonic()
        res = client.ask()
        assert res.status == 504
        assert res.has("Proxy-Status")
        assert 0.2 < time.monotonic() - start < patience(5)
    wait_until(lambda: not o.open_connections())
    stats = d.wait_stats(lambda s: s["routes"]["all"]["status_5xx"] == 1)
    server = stats["backends"]["pool"]["servers"]["s0"]
    assert (server["timeouts"], server["failures"]) == (1, 1)
    assert server["last_error"] == "response timeout"
    assert len(o.connections) == 1, "a slow answer is not tried elsewhere"


def test_head_that_stops_is_504(rpd, origin):
    def handler(conn):
        conn.request()
        conn.send("HTTP/1.1 200 OK\r\nContent-")
        conn.wait_end()
    d = rpd(plain(origin(handler), route="timeout_response = 300ms"))
    assert d.ask().status == 504


def test_timeout_response_counts_from_the_requests_end(rpd, origin):
    d = rpd(plain(origin(), route="timeout_response = 300ms"))
    with d.client() as client:
        client.send(request_bytes("POST", "/echo", [("Content-Length", 2)]) + b"a")
        client.sock.settimeout(0.7)
        with pytest.raises(TimeoutError):
            client.fill()
        client.sock.settimeout(patience(10))
        client.send(b"b")
        assert client.response().body == b"ab"


@pytest.mark.parametrize("head, body", [
    ("Content-Length: 10", b"abc"), ("Transfer-Encoding: chunked", chunked(b"abc")[:-5]),
])
def test_response_body_that_stops_is_cut_off(rpd, origin, head, body):
    def handler(conn):
        conn.request()
        conn.send(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode() + body)
        conn.wait_end()
    o = origin(handler)
    d = rpd(plain(o, route="timeout_response = 300ms"))
    with d.client() as client:
        client.send(request_bytes())
        with pytest.raises((Eof, ConnectionError)):
            client.response()
    wait_until(lambda: not o.open_connections())
    d.wait_stats(lambda s: s["backends"]["pool"]["servers"]["s0"]["timeouts"] == 1)


def test_slow_response_body_that_moves_is_not_timed_out(rpd, origin):
    tick = threading.Event()

    def handler(conn):
        conn.request()
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
        for _ in range(8):
            tick.wait(0.1)
            conn.send(b"x")
    d = rpd(plain(origin(handler), route="timeout_response = 600ms"))
    assert d.ask().body == b"x" * 8


@pytest.mark.parametrize("mode", ["http", "tcp"])
def test_default_backend_has_the_default_timeouts(rpd, origin, mode):
    """Nothing is at hand for 300 ms: an answer to the request, bytes of the session."""
    late = threading.Event()

    def handler(conn):
        conn.some() if mode == "tcp" else conn.request()
        late.wait(0.3)
        conn.reply(b"late")
    d = rpd(f"""
        [listener web]
        bind = @web@
        mode = {mode}
        default_backend = pool
        [backend pool]
        server = {origin(handler).addr}
        """)
    assert d.ask().body == b"late"


def test_defaults_route_applies_to_what_default_backend_serves(rpd, origin):
    o = origin(lambda conn: (conn.request(), conn.wait_end()))
    d = rpd(f"""
        [defaults route]
        timeout_response = 200ms
        [listener web]
        bind = @web@
        default_backend = pool
        [backend pool]
        server = {o.addr}
        """)
    assert d.ask().status == 504


def test_timeout_on_a_kept_connection_is_not_retried(rpd, origin):
    """Only a connection that was closed before a byte came may be tried anew."""
    def handler(conn):
        conn.request()
        conn.reply(b"x")
        conn.request()
        conn.wait_end()
    o = origin(handler)
    d = rpd(plain(o, route="timeout_response = 300ms"), workers=1)
    assert d.ask("/first").status == 200
    assert d.ask("/second").status == 504
    assert [r.target for r in o.requests] == ["/first", "/second"]


def blackhole():
    """A listening socket whose queue is full: connects to it hang."""
    import socket
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(0)
    fillers = []
    for _ in range(4):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(sock.getsockname())
        fillers.append(one)
    return sock, fillers, "127.0.0.1:%d" % sock.getsockname()[1]


def test_connect_that_hangs_is_504_after_timeout_connect(rpd):
    sock, fillers, addr = blackhole()
    d = rpd(plain(addr, route="timeout_connect = 300ms\nretries = 0"))
    start = time.monotonic()
    res = d.ask()
    assert res.status in (503, 504)
    assert res.has("Proxy-Status")
    assert 0.2 < time.monotonic() - start < patience(5)
    server = d.wait_stats(lambda s: s["routes"]["all"]["status_5xx"] == 1)
    server = server["backends"]["pool"]["servers"]["s0"]
    assert server["timeouts"] == 1 and server["last_error"] == "connect timeout"
    assert sock and fillers


def test_connect_that_hangs_is_tried_on_another_server(rpd, origin):
    sock, fillers, addr = blackhole()
    d = rpd(plain(addr, origin(), route="timeout_connect = 200ms"), workers=1)
    assert [d.ask().status for _ in range(4)] == [200] * 4
    assert sock and fillers


def test_tcp_session_ends_after_silence(rpd, origin):
    o = origin(tcp_echo)
    d = rpd(plain(o, listener="mode = tcp", route="timeout_stream = 300ms"))
    with d.client() as client:
        client.send(b"x")
        assert client.exact(1) == b"x"
        assert ended_after(client, 0.2) == b""
    wait_until(lambda: not o.open_connections())


def test_client_that_takes_nothing_is_ended_after_timeout_idle(rpd, origin):
    o = origin()
    d = rpd(plain(o, listener="timeout_idle = 500ms"), workers=1)
    with d.client(rcvbuf=4096) as client:
        client.send(request_bytes(target="/bytes/100000000"))
        wait_until(lambda: o.requests)
        wait_until(lambda: not o.open_connections(), 10, "the server connection to be freed")
    d.wait_stats(lambda s: s["listeners"]["web"]["connections_active"] == 0)


def test_proxy_header_that_does_not_come(rpd, origin):
    o = origin()
    d = rpd(plain(o, listener="accept_proxy = on\ntimeout_header = 300ms"))
    with d.client() as client:
        client.send("PROXY TCP4 1.2.3.4 ")
        assert ended_after(client, 0.2) == b""
    d.wait_stats(lambda s: s["listeners"]["web"]["refused"] == 1)
    assert not o.connections


def test_waiting_clients_cost_no_processor_time(rpd, origin):
    """Timers must not spin: a second of idle connections uses next to nothing."""
    d = rpd(plain(origin()), workers=1)
    clients = [d.client() for _ in range(50)]
    for client in clients:
        assert client.ask().status == 200

    def ticks():
        from harness.util import proc_fields
        fields = proc_fields(d.worker_pids()[0])
        return int(fields[11]) + int(fields[12])
    before = ticks()
    holds_for(lambda: True, 1.0)
    assert ticks() - before < 10, "hundredths of a second of processor time in a second of rest"
