"""The harness against itself: what it accepts and refuses decides what the other tests mean."""

import pytest

from harness.client import Client, request_bytes
from harness.daemon import unindent
from harness.origin import canned, tcp_echo, upgrade_echo
from harness.util import pattern, pattern_sha, sha
from harness.wire import BadMessage, Eof, chunked


def direct(origin):
    return Client(("127.0.0.1", origin.port))


@pytest.mark.parametrize("n", [0, 1, 65537, 1 << 20])
@pytest.mark.parametrize("kind", ["bytes", "chunked", "close"])
def test_origin_sends_bodies_of_every_framing(origin, kind, n):
    with direct(origin()) as client:
        res = client.ask(f"/{kind}/{n}")
        assert (res.status, res.length, res.sha) == (200, n, pattern_sha(n))
        assert sha(pattern(n)) == pattern_sha(n)


def test_origin_reads_bodies_and_keeps_the_connection(origin):
    o = origin()
    with direct(o) as client:
        client.send(request_bytes("POST", "/echo", body=b"abc"))
        client.send(request_bytes("POST", "/echo", [("Transfer-Encoding", "chunked")])
                    + chunked(b"de", b"f", trailers=[("X-T", "1")]))
        assert client.response().body == b"abc"
        assert client.response().body == b"def"
    assert o.requests[1].trailers == [("X-T", "1")]
    assert len(o.connections) == 1


def test_head_has_no_body(origin):
    with direct(origin()) as client:
        assert client.ask("/bytes/10", "HEAD").get("Content-Length") == "10"
        assert client.ask("/bytes/3").length == 3


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX : 1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n",
    b"HTTP/2 200 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\n",
])
def test_client_reads_strictly(origin, answer):
    with direct(origin(canned(answer, then_close=True))) as client:
        with pytest.raises(BadMessage):
            client.ask()


def test_a_short_body_is_an_end(origin):
    with direct(origin(canned(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
                              then_close=True))) as client:
        with pytest.raises(Eof):
            client.ask()


def test_interim_answers_are_kept(origin):
    with direct(origin(canned(b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"
                              b"HTTP/1.1 204 No\r\n\r\n"))) as client:
        res = client.ask()
        assert res.status == 204 and [r.status for r in res.interim] == [103]


def test_tcp_and_upgrade_echo(origin):
    with direct(origin(tcp_echo)) as client:
        client.send(b"hello")
        assert client.exact(5) == b"hello"
        client.shutdown_write()
        assert client.is_closed()
    with direct(origin(upgrade_echo)) as client:
        res = client.ask(headers=[("Connection", "upgrade"), ("Upgrade", "websocket")])
        assert res.status == 101
        client.send(b"frame")
        assert client.exact(5) == b"frame"


def test_a_handlers_failed_assertion_is_kept(origin):
    def handler(conn):
        conn.request()
        assert False, "seen"
    o = origin(handler)
    with direct(o) as client:
        client.send(request_bytes())
        assert client.is_closed()
    assert "seen" in str(o.errors.pop())


def test_indentation_of_continuation_lines_survives():
    assert unindent("\n    [a]\n    x = 1\n      2\n") == "[a]\nx = 1\n  2\n"
