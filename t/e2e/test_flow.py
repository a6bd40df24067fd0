"""Back-pressure, clients and servers that leave or hurry, bounded memory."""

import socket
import threading

import pytest

from harness.client import request_bytes
from harness.daemon import plain
from harness.origin import chunked
from harness.util import (is_sanitized, kernel_buffers, memory, pattern, stands_still,
                          wait_until)
from harness.wire import Eof



class Flood:
    """An origin that sends without end and counts what it could."""

    def __init__(self, head):
        self.head, self.sent = head, 0

    def __call__(self, conn):
        conn.request()
        conn.send(self.head)
        piece = chunked(b"x" * 65536)[:-5] if b"chunked" in self.head else b"x" * 65536
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        while True:
            conn.send(piece)
            self.sent += len(piece)


@pytest.mark.parametrize("head", [
    b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
], ids=["length", "chunked", "close", "tunnel"])
def test_slow_reader_holds_the_server_back(rpd, origin, head):
    flood = Flood(head)
    o = origin(flood)
    d = rpd(plain(o), workers=1)
    pid = d.worker_pids()[0]
    before = memory(pid)
    with d.client(rcvbuf=65536) as client:
        headers = [("Connection", "upgrade"), ("Upgrade", "x")] if b"101" in head else []
        client.send(request_bytes(headers=headers))
        wait_until(lambda: flood.sent > 0)
        sent = stands_still(lambda: flood.sent)
        assert sent < kernel_buffers(), sent
        if not is_sanitized():
            assert memory(pid) - before < 1 << 20
        got = 0
        while got < sent:  # and it goes on when the client reads again
            got += len(client.some())
        wait_until(lambda: flood.sent > sent)
    wait_until(lambda: not o.open_connections())


def test_many_slow_readers_hold_only_their_buffers(rpd, origin):
    flood = Flood(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n")
    o = origin(flood)
    d = rpd(plain(o), workers=1)
    pid = d.worker_pids()[0]
    before = memory(pid)
    clients = [d.client(rcvbuf=16384) for _ in range(30)]
    for client in clients:
        client.send(request_bytes())
    wait_until(lambda: len(o.requests) == 30)
    stands_still(lambda: flood.sent)
    if not is_sanitized():
        assert memory(pid) - before < 4 << 20
    for client in clients:
        client.close()
    wait_until(lambda: not o.open_connections())
    d.wait_stats(lambda s: s["backends"]["pool"]["servers"]["s0"]["active"] == 0)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_slow_server_holds_the_client_back(rpd, origin, framing):
    gate = threading.Event()

    def handler(conn):
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        req = conn.request_head()
        gate.wait(30)
        conn.body(req)
        conn.reply(str(req.length))
    d = rpd(plain(origin(handler)), workers=1)
    pid = d.worker_pids()[0]
    before = memory(pid)
    total = kernel_buffers() + (40 << 20)
    sent = [0]
    with d.client(timeout=60) as client:
        def send():
            if framing == "length":
                client.send(request_bytes("POST", "/", [("Content-Length", total)]))
            else:
                client.send(request_bytes("POST", "/", [("Transfer-Encoding", "chunked")]))
            for _ in range(total // 65536):
                piece = b"x" * 65536
                client.send(piece if framing == "length" else chunked(piece)[:-5])
                sent[0] += 65536
            if framing == "chunked":
                client.send("0\r\n\r\n")
        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        wait_until(lambda: sent[0] > 0)
        assert stands_still(lambda: sent[0]) < kernel_buffers()
        if not is_sanitized():
            assert memory(pid) - before < 1 << 20
        gate.set()
        assert client.response().body == str(total).encode()
        thread.join(20)


@pytest.mark.parametrize("way", ["close", "reset"])
def test_client_that_leaves_frees_the_server_connection(rpd, origin, way):
    o = origin(lambda conn: (conn.request(), conn.wait_end()))
    d = rpd(plain(o))
    client = d.client()
    client.send(request_bytes())
    wait_until(lambda: o.requests)
    getattr(client, way)()
    wait_until(lambda: not o.open_connections(), 5, "the server connection to be closed")
    stats = d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 1
                         and s["routes"]["all"]["active"] == 0)
    assert stats["routes"]["all"]["aborted"] == 1
    assert stats["backends"]["pool"]["servers"]["s0"]["failures"] == 0


def test_client_that_leaves_in_the_middle_of_an_answer(rpd, origin):
    flood = Flood(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n")
    o = origin(flood)
    d = rpd(plain(o))
    with d.client() as client:
        client.send(request_bytes())
        client.exact(200000)
    wait_until(lambda: not o.open_connections(), 5)
    d.wait_stats(lambda s: s["routes"]["all"]["aborted"] == 1)


def test_client_that_leaves_in_the_middle_of_its_body(rpd, origin):
    o = origin()
    d = rpd(plain(o))
    with d.client() as client:
        client.send(request_bytes("POST", "/", [("Content-Length", 1000)]) + b"abc")
        wait_until(lambda: o.heads)
    wait_until(lambda: not o.open_connections(), 5)
    assert not o.requests
    d.wait_stats(lambda s: s["backends"]["pool"]["servers"]["s0"]["active"] == 0)


def test_client_that_leaves_with_pipelined_requests_waiting(rpd, origin):
    o = origin(lambda conn: (conn.request(), conn.wait_end()))
    d = rpd(plain(o))
    client = d.client()
    client.send(request_bytes() * 5)
    wait_until(lambda: o.requests)
    client.reset()
    wait_until(lambda: not o.open_connections(), 5)
    d.wait_stats(lambda s: s["listeners"]["web"]["connections_active"] == 0)


def test_early_answer_is_heard_while_the_body_is_still_sent(rpd, origin):
    def handler(conn):
        conn.request_head()
        conn.reply(b"too much", "403 Forbidden", [("Connection", "close")])
        conn.wait_end()
    o = origin(handler)
    d = rpd(plain(o))
    with d.client() as client:
        client.send(request_bytes("POST", "/", [("Content-Length", 1 << 30)]) + pattern(100000))
        res = client.response()
        assert (res.status, res.body) == (403, b"too much")
    wait_until(lambda: not o.open_connections())


def test_early_answer_then_close_by_the_server_is_heard(rpd, origin):
    """The server answers and closes with bytes unread: its reset must not eat the answer."""
    def handler(conn):
        conn.request_head()
        conn.reply(b"no", "413 Content Too Large", [("Connection", "close")])
        conn.shutdown_write()
        conn.wait_end()
    d = rpd(plain(origin(handler)))
    with d.client() as client:
        client.send(request_bytes("POST", "/", [("Transfer-Encoding", "chunked")]))
        stop = threading.Event()

        def send():
            try:
                while not stop.is_set():
                    client.send(chunked(b"x" * 65536)[:-5])
            except OSError:
                pass
        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        assert client.response().status == 413
        stop.set()
    thread.join(20)


def test_early_answer_and_the_body_then_finished_keeps_in_step(rpd, origin):
    """The whole body comes after all: the next request is answered or the connection closed."""
    answered = threading.Event()

    def handler(conn):
        while True:
            req = conn.request_head()
            conn.reply(req.target)
            answered.set()
            conn.body(req)
    d = rpd(plain(origin(handler)))
    with d.client() as client:
        client.send(request_bytes("POST", "/first", [("Content-Length", 100000)]) + pattern(50000))
        res = client.response()
        assert res.body == b"/first"
        try:
            client.send(pattern(100000)[50000:])
            client.send(request_bytes(target="/second"))
            assert client.response().body == b"/second"
        except (Eof, ConnectionError):
            pass


def test_both_sides_stream_at_once(rpd, origin):
    """An echo that answers while the request is still coming (full duplex)."""
    def handler(conn):
        conn.request_head()
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            data = conn.some()
            conn.send(chunked(data)[:-5])
            if data.endswith(b"0\r\n\r\n"):
                conn.send("0\r\n\r\n")
                return
    d = rpd(plain(origin(handler)))
    with d.client() as client:
        client.send(request_bytes("POST", "/", [("Transfer-Encoding", "chunked")]))
        client.send(chunked(b"ping 0")[:-5])
        assert client.response_head().status == 200
        for n in range(1, 20):
            while b"ping %d" % (n - 1) not in client.buf:
                client.fill()
            client.send(chunked(b"ping %d" % n)[:-5])


@pytest.mark.release_only  # a sanitizer keeps what was freed; leaks show in its own report
def test_worker_memory_returns_after_load(rpd, origin):
    d = rpd(plain(origin()), workers=1)
    pid = d.worker_pids()[0]

    def burst():
        clients = [d.client() for _ in range(100)]
        for client in clients:
            client.send(request_bytes(target="/bytes/200000"))
        for client in clients:
            client.response()
            client.close()
        d.wait_stats(lambda s: s["listeners"]["web"]["connections_active"] == 0)

    d.ask()
    before = memory(pid)
    for _ in range(20):
        burst()
    loaded = memory(pid)
    try:
        wait_until(lambda: memory(pid) - before < 3 << 18)
    finally:
        print(before, loaded, memory(pid))  # pools give back what they do not need
    print(before, loaded, memory(pid))
    assert d.worker_total("buffers") == 0
