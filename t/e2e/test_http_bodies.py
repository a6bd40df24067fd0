"""Bodies of every framing and size arrive whole both ways, and framed as they should be."""

import hashlib
import json
import threading

import pytest

from harness.client import request_bytes
from harness.daemon import plain
from harness.origin import canned, chunked
from harness.util import pattern, pattern_sha, pieces
from harness.wire import Eof

SIZES = [0, 1, 16383, 16384, 16385, 1 << 20]
BIG = 50 << 20


@pytest.fixture(scope="module")
def up(shared_rpd, shared_origin):
    o = shared_origin()
    d = shared_rpd(plain(o))
    d.origin = o
    return d


def send_body(client, framing, n, headers=()):
    """POST with n bytes of the pattern, from a thread of its own: answers may come before."""
    def run():
        if framing == "length":
            client.send(request_bytes("POST", "/x", [*headers, ("Content-Length", n)]))
            for piece in pieces(n):
                client.send(piece)
        else:
            client.send(request_bytes("POST", "/x", [*headers, ("Transfer-Encoding", "chunked")]))
            for piece in pieces(n):
                client.send(chunked(piece)[:-5])
            client.send("0\r\n\r\n")
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_request_body_arrives_whole(up, framing, n):
    with up.client() as client:
        send_body(client, framing, n)
        seen = json.loads(client.response().body)
        assert (seen["framing"], seen["length"], seen["sha"]) == (framing, n, pattern_sha(n))


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("framing", ["bytes", "chunked", "close"])
def test_response_body_arrives_whole(up, framing, n):
    with up.client() as client:
        res = client.ask(f"/{framing}/{n}")
        assert (res.length, res.sha) == (n, pattern_sha(n))
        assert res.framing == ("length" if framing == "bytes" else "chunked")
        assert client.ask("/bytes/1").length == 1, "the connection is still good"


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_big_request_body_arrives_whole(up, framing):
    with up.client(timeout=60) as client:
        send_body(client, framing, BIG)
        seen = json.loads(client.response().body)
        assert (seen["length"], seen["sha"]) == (BIG, pattern_sha(BIG))


@pytest.mark.parametrize("framing", ["bytes", "chunked", "close"])
def test_big_response_body_arrives_whole(up, framing):
    with up.client(timeout=60) as client:
        res = client.ask(f"/{framing}/{BIG}")
        assert (res.length, res.sha) == (BIG, pattern_sha(BIG))


def uneven(n):
    """The pattern's n bytes in chunks from one byte to a megabyte."""
    data, at, sizes = pattern(n), 0, [1 << 20, 7, 70000, 1, 300000, 65537]
    while at < n:
        size = sizes[at % len(sizes)]
        yield chunked(data[at:at + size])[:-5]
        at += size


def test_chunks_of_any_size_arrive_whole(shared_rpd, shared_origin):
    n = 9 << 20
    sent = b"".join(uneven(n)) + b"0\r\nX-Sum: 1\r\n\r\n"
    o = shared_origin(canned(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
                             b"Trailer: X-Sum\r\n\r\n" + sent))
    with shared_rpd(plain(o)).client(timeout=60) as client:
        for _ in range(2):
            res = client.ask("/")
            assert (res.length, res.sha) == (n, pattern_sha(n))


def test_chunks_of_a_request_of_any_size_arrive_whole(up):
    n = 9 << 20
    with up.client(timeout=60) as client:
        for _ in range(2):
            client.send(request_bytes("POST", "/x", [("Transfer-Encoding", "chunked")]))
            for piece in uneven(n):
                client.send(piece)
            client.send("0\r\n\r\n")
            seen = json.loads(client.response().body)
            assert (seen["length"], seen["sha"]) == (n, pattern_sha(n))


def test_trailers_of_a_request_reach_the_server(up):
    with up.client() as client:
        client.send(request_bytes("POST", "/x", [("Transfer-Encoding", "chunked"),
                                                 ("Trailer", "X-Sum, X-More")])
                    + chunked(b"abc", trailers=[("X-Sum", "1"), ("X-More", "2")]))
        seen = json.loads(client.response().body)
    assert seen["trailers"] == [["X-Sum", "1"], ["X-More", "2"]]


def test_trailers_of_a_response_reach_the_client(up):
    with up.client() as client:
        assert client.ask("/chunked/3000").trailers == [("X-Sum", "abc")]


def test_framing_fields_in_trailers_are_not_passed_on(up):
    with up.client() as client:
        client.send(request_bytes("POST", "/x", [("Transfer-Encoding", "chunked")])
                    + chunked(b"abc", trailers=[("Content-Length", "9"), ("X-Ok", "1"),
                                                ("Transfer-Encoding", "chunked"),
                                                ("Host", "evil")]))
        res = client.response()
        if res.status == 200:
            assert json.loads(res.body)["trailers"] in ([["X-Ok", "1"]], [])
        else:
            assert res.status == 400


def test_chunk_extensions_are_accepted_and_dropped(up):
    with up.client() as client:
        client.send(request_bytes("POST", "/echo", [("Transfer-Encoding", "chunked")])
                    + chunked(b"abc", b"def", ext=';name=value;q="a b"'))
        assert client.response().body == b"abcdef"


def test_chunks_of_one_byte(up):
    with up.client() as client:
        client.send(request_bytes("POST", "/echo", [("Transfer-Encoding", "chunked")])
                    + chunked(*[b"%d" % (n % 10) for n in range(5000)]))
        assert client.response().body == b"".join(b"%d" % (n % 10) for n in range(5000))


def test_chunk_size_in_any_case_and_with_leading_zeros(up):
    with up.client() as client:
        client.send(request_bytes("POST", "/echo", [("Transfer-Encoding", "chunked")])
                    + b"000A\r\n0123456789\r\n0a\r\n0123456789\r\n00\r\n\r\n")
        assert client.response().body == b"0123456789" * 2


def test_coding_name_in_any_case(up):
    with up.client() as client:
        client.send(request_bytes("POST", "/echo", [("TRANSFER-encoding", "Chunked")])
                    + chunked(b"abc"))
        assert client.response().body == b"abc"


def test_get_with_a_body_is_passed_on_with_it(up):
    with up.client() as client:
        client.send(request_bytes("GET", "/x", body=b"abc"))
        assert json.loads(client.response().body)["length"] == 3
        assert client.ask("/bytes/5").length == 5


def test_request_without_body_gets_no_framing_fields(up):
    seen = json.loads(up.ask().body)
    names = [n.lower() for n, _ in seen["headers"]]
    assert "content-length" not in names and "transfer-encoding" not in names


def test_post_without_body_says_so(up):
    with up.client() as client:
        client.send(request_bytes("POST", "/x", body=b""))
        seen = json.loads(client.response().body)
        assert (seen["framing"], seen["length"]) == ("length", 0)


@pytest.mark.parametrize("target", ["/bytes/100000", "/chunked/100000"])
def test_head_answers_without_body(up, target):
    with up.client() as client:
        res = client.ask(target, "HEAD")
        assert res.status == 200
        if "bytes" in target:
            assert res.get("Content-Length") == "100000"
        assert client.ask("/bytes/7").sha == pattern_sha(7)


@pytest.mark.parametrize("status", [204, 304])
def test_answers_that_have_no_body(up, status):
    with up.client() as client:
        res = client.ask(f"/status/{status}")
        assert res.status == status
        assert not res.has("Transfer-Encoding")
        if status == 204:
            assert not res.has("Content-Length")
        assert client.ask("/bytes/7").sha == pattern_sha(7)


def test_not_modified_keeps_its_content_length(rpd, origin):
    o = origin(canned(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 12345\r\nETag: x\r\n\r\n",
                      b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
    d = rpd(plain(o), workers=1)
    with d.client() as client:
        res = client.ask()
        assert (res.status, res.get("ETag")) == (304, "x")
        assert client.ask().body == b"ok"
    assert len(o.connections) == 1


def test_no_content_with_a_length_does_not_confuse_the_next(rpd, origin):
    o = origin(canned(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
                      b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
    d = rpd(plain(o), workers=1)
    with d.client() as client:
        assert client.ask().status == 204
        assert client.ask().body == b"ok"


@pytest.mark.parametrize("target", ["*", "/x"])
def test_options_is_passed_on(up, target):
    seen = json.loads(up.ask(target, "OPTIONS").body)
    assert (seen["method"], seen["target"]) == ("OPTIONS", target)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "PROPFIND", "REPORT", "PURGE"])
def test_methods_are_passed_on(up, method):
    assert json.loads(up.ask("/m", method).body)["method"] == method


def test_parts_of_a_stream_are_passed_on_as_they_come(rpd, origin):
    """Server-sent events: each part is read by the client before the next is made."""
    gate = threading.Semaphore(0)

    def handler(conn):
        conn.request()
        conn.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                  "Transfer-Encoding: chunked\r\n\r\n")
        for n in range(20):
            assert gate.acquire(timeout=20)
            conn.send(chunked(b"data: %d\n\n" % n)[:-5])
        conn.send("0\r\n\r\n")
    d = rpd(plain(origin(handler)))
    with d.client() as client:
        client.send(request_bytes())
        assert client.response_head().get("Content-Type") == "text/event-stream"
        got = b""
        for n in range(20):
            gate.release()
            while b"data: %d\n\n" % n not in got:
                got += client.some()


def test_parts_of_an_upload_are_passed_on_as_they_come(rpd, origin):
    seen = threading.Semaphore(0)

    def handler(conn):
        conn.request_head()
        for n in range(20):
            while b"part %d." % n not in conn.buf:
                conn.fill()
            seen.release()
        conn.reply(b"done")
    d = rpd(plain(origin(handler)))
    with d.client() as client:
        client.send(request_bytes("POST", "/x", [("Transfer-Encoding", "chunked")]))
        for n in range(20):
            client.send(chunked(b"part %d." % n)[:-5])
            assert seen.acquire(timeout=20)
        client.send("0\r\n\r\n")
        assert client.response().body == b"done"


def test_uploads_and_downloads_at_once(rpd, origin):
    d = rpd(plain(origin(), origin()))
    failed = []

    def run(n):
        try:
            with d.client(timeout=60) as client:
                for turn in range(4):
                    body = pattern(100000 * n + turn)
                    client.send(request_bytes("POST", "/echo", body=body))
                    res = client.response()
                    assert res.sha == hashlib.sha256(body).hexdigest()
        except Exception as error:
            failed.append(error)
    threads = [threading.Thread(target=run, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failed


@pytest.mark.parametrize("answer, framing", [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", "length"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", "chunked"),
])
def test_answer_cut_short_is_cut_short_for_the_client(rpd, origin, answer, framing):

    d = rpd(plain(origin(canned(answer, then_close=True))))
    with d.client() as client:
        client.send(request_bytes())
        with pytest.raises((Eof, ConnectionError)):
            client.response()
    stats = d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 1)
    assert stats["backends"]["pool"]["servers"]["s0"]["failures"] == 1


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("target", ["bytes", "chunked", "close"])
def test_http10_client_gets_whole_bodies(up, target, n):
    with up.client() as client:
        res = client.ask(f"/{target}/{n}", version="1.0")
        assert res.sha == pattern_sha(n)


@pytest.mark.parametrize("n", [1, 7])
def test_answer_in_small_pieces(rpd, origin, n):
    data = (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nX-A: b\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n" + chunked(b"hello", b"world" * 10,
                                                          trailers=[("X-Sum", "1")]))

    def handler(conn):
        while True:
            conn.request()
            for at in range(0, len(data), n):
                conn.send(data[at:at + n])
    o = origin(handler)
    d = rpd(plain(o), workers=1)
    with d.client() as client:
        for _ in range(3):
            res = client.ask()
            assert (res.body, res.trailers) == (b"hello" + b"world" * 10, [("X-Sum", "1")])
            assert res.interim[0].get("Link") == "</a>"
    assert len(o.connections) == 1


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_streamed_body_is_whole_when_the_first_server_is_gone(rpd, origin, framing):
    gone = origin()
    gone.close()
    d = rpd(plain(gone, origin()), workers=1)
    for _ in range(4):
        with d.client() as client:
            send_body(client, framing, 3 << 20)
            assert json.loads(client.response().body)["sha"] == pattern_sha(3 << 20)


def test_request_that_waits_in_the_queue_keeps_its_body(rpd, origin):
    gate = threading.Event()

    def handler(conn):
        while True:
            req = conn.request()
            if req.target == "/first":
                gate.wait(20)
            conn.reply(req.sha)
    o = origin(handler)
    d = rpd(plain(o, backend="max_conns = 1"), workers=1)
    with d.client() as first, d.client() as second:
        first.send(request_bytes(target="/first"))
        d.wait_stats(lambda s: s["backends"]["pool"]["active"] == 1 and len(o.requests) == 1)
        thread = send_body(second, "length", 2 << 20)
        d.wait_stats(lambda s: s["backends"]["pool"]["queued"] == 1)
        gate.set()
        assert first.response().status == 200
        assert second.response().body.decode() == pattern_sha(2 << 20)
        thread.join(20)
