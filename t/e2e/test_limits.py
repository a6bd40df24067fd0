"""Sizes that are bounded (413, 414, 431, 501, 505) and requests taken in whole first."""

import json
import pathlib
import threading

import pytest

from harness.client import request_bytes
from harness.daemon import plain
from harness.origin import chunked
from harness.util import holds_for, pattern, pattern_sha, pieces, wait_until
from harness.wire import Eof


def refused(client, status):
    res = client.response()
    assert res.status == status, res
    assert res.has("Proxy-Status")
    assert 0 < res.length < 1000
    assert "close" in res.options("Connection")
    assert client.is_closed()


@pytest.fixture(scope="module")
def up(shared_rpd, shared_origin):
    o = shared_origin()
    d = shared_rpd(plain(o, listener="max_header_size = 4k\nmax_body_size = 10k"), workers=1)
    d.origin = o
    return d


def test_body_over_the_limit_is_413_before_the_server_hears(up):
    heads = len(up.origin.heads)
    with up.client() as client:
        client.send(request_bytes("POST", "/", [("Content-Length", 10241)]))
        refused(client, 413)
    assert len(up.origin.heads) == heads


@pytest.mark.parametrize("n", [0, 1, 10239, 10240])
def test_body_up_to_the_limit_passes(up, n):
    for headers, body in (([("Content-Length", n)], pattern(n)),
                          ([("Transfer-Encoding", "chunked")], chunked(pattern(n)))):
        with up.client() as client:
            client.send(request_bytes("POST", "/", headers) + body)
            assert json.loads(client.response().body)["length"] == n


@pytest.mark.parametrize("sizes", [[10241], [5000, 5000, 241], [1] * 10241])
def test_chunked_body_over_the_limit_is_413(up, sizes):
    requests = len(up.origin.requests)
    with up.client() as client:
        try:
            client.send(request_bytes("POST", "/", [("Transfer-Encoding", "chunked")])
                        + chunked(*[b"x" * n for n in sizes]))
        except ConnectionError:
            pass
        refused(client, 413)
    assert len(up.origin.requests) == requests


def test_expecting_client_gets_413_in_place_of_100(up):
    with up.client() as client:
        client.send(request_bytes("POST", "/", [("Expect", "100-continue"),
                                                ("Content-Length", 99999)]))
        refused(client, 413)


@pytest.mark.parametrize("target, headers, status", [
    ("/" + "a" * 5000, [], 414),
    ("/", [("X", "y" * 5000)], 431),
    ("/", [(f"X-{n}", "y" * 20) for n in range(300)], 431),
    ("/", [("X" * 5000, "y")], 431),
    ("/?" + "a" * 100000, [], 414),
    ("/", [("Cookie", "y" * 200000)], 431),
], ids=["target", "field", "fields", "name", "long target", "long field"])
def test_head_over_the_limit(up, target, headers, status):
    heads = len(up.origin.heads)
    with up.client() as client:
        try:
            client.send(request_bytes("GET", target, headers))
        except ConnectionError:
            pass
        refused(client, status)
    assert len(up.origin.heads) == heads


def test_head_just_under_the_limit_passes(up):
    assert up.ask("/" + "a" * 1900, headers=[("X", "y" * 1900)]).status == 200


@pytest.mark.parametrize("size", ["32k", "256k"])
def test_head_may_be_larger_than_a_buffer(rpd, origin, size):
    kib = int(size[:-1])
    d = rpd(plain(origin(), listener=f"max_header_size = {size}"))
    value = "y" * ((kib - 2) * 1024 // 2)
    with d.client() as client:
        for _ in range(2):
            res = client.ask(headers=[("X-A", value), ("X-B", value)])
            got = dict(json.loads(res.body)["headers"])
            assert got["X-A"] == got["X-B"] == value
        client.send(request_bytes(headers=[("X", "y" * (kib + 1) * 1024)]))
        refused(client, 431)


def test_unsupported_version_is_505(up):
    with up.client() as client:
        client.send(b"GET / HTTP/2.0\r\nHost: test\r\n\r\n")
        refused(client, 505)


def test_unknown_transfer_coding_is_501(up):
    with up.client() as client:
        client.send(request_bytes("POST", "/", [("Transfer-Encoding", "gzip, chunked")])
                    + chunked(b"x"))
        refused(client, 501)


def test_error_to_head_request_has_no_body(up):
    with up.client() as client:
        client.send(request_bytes("HEAD", "/", [("Content-Length", 99999)]))
        res = client.response("HEAD")
        assert res.status == 413
        assert client.is_closed()


# ---- buffer_request ----

@pytest.fixture
def buffering(rpd, origin):
    o = origin()
    d = rpd(plain(o, route="buffer_request = on", listener="max_body_size = 4m"), workers=1)
    d.origin = o
    return d


def spilled(d):
    """Bytes of deleted or temporary files the workers hold: where a long body waits."""
    total = 0
    for pid in d.worker_pids():
        for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
            try:
                name = str(fd.readlink())
                if "(deleted)" in name and "memfd:" not in name and name.startswith("/"):
                    total += fd.stat().st_size
            except OSError:
                pass
    return total


@pytest.mark.parametrize("n", [1, 1000, 65536, 65537, 300000, 4 << 20])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_server_hears_nothing_before_the_body_is_whole(buffering, framing, n):
    o = buffering.origin
    with buffering.client() as client:
        if framing == "length":
            data = request_bytes("POST", "/", [("Content-Length", n)]) + pattern(n)
        else:
            data = request_bytes("POST", "/", [("Transfer-Encoding", "chunked")]) + chunked(
                *[pattern(n)[i:i + 9999] for i in range(0, n, 9999)])
        client.send(data[:-1])
        if n == 4 << 20:
            wait_until(lambda: spilled(buffering) >= n // 2, 10, "the body to be spilled")
        holds_for(lambda: not o.connections, 0.05)
        client.send(data[-1:])
        seen = json.loads(client.response().body)
    assert (seen["length"], seen["sha"], seen["framing"]) == (n, pattern_sha(n), "length")
    wait_until(lambda: spilled(buffering) == 0, 5, "the temporary file to go")


def test_buffered_body_over_the_limit_is_413_and_unheard(buffering):
    for headers in ([("Content-Length", (4 << 20) + 1)], [("Transfer-Encoding", "chunked")]):
        with buffering.client() as client:
            client.send(request_bytes("POST", "/", headers))
            try:
                for _ in range(6):
                    client.send(chunked(b"x" * (1 << 20))[:-5])
            except ConnectionError:
                pass
            refused(client, 413)
    assert not buffering.origin.connections


def test_client_that_leaves_a_buffered_body_is_never_heard_of(buffering):
    with buffering.client() as client:
        client.send(request_bytes("POST", "/", [("Content-Length", 1 << 20)]) + pattern(500000))
        wait_until(lambda: spilled(buffering) > 0)
    wait_until(lambda: spilled(buffering) == 0)
    buffering.wait_stats(lambda s: s["listeners"]["web"]["connections_active"] == 0)
    assert not buffering.origin.connections


def test_expecting_client_of_a_buffering_route_gets_100(buffering):
    with buffering.client() as client:
        client.send(request_bytes("POST", "/echo", [("Expect", "100-continue"),
                                                    ("Content-Length", 5)]))
        assert client.response_head().status == 100
        client.send(b"hello")
        assert client.response().body == b"hello"


def test_buffered_trailers_arrive(buffering):
    with buffering.client() as client:
        client.send(request_bytes("POST", "/x", [("Transfer-Encoding", "chunked")])
                    + chunked(b"abc", trailers=[("X-Sum", "1")]))
        seen = json.loads(client.response().body)
    assert seen["length"] == 3
    assert seen["trailers"] in ([["X-Sum", "1"]], [])


def test_buffered_body_is_sent_again_to_another_server(rpd, origin):
    o = origin()
    dead = origin()
    dead.close()
    d = rpd(plain(dead, o, route="buffer_request = on\nretries = 1"), workers=1)
    for _ in range(4):
        with d.client() as client:
            client.send(request_bytes("POST", "/echo", body=pattern(200000)))
            assert client.response().sha == pattern_sha(200000)


def test_pipelined_requests_on_a_buffering_route(buffering):
    with buffering.client() as client:
        client.send(b"".join(request_bytes("POST", "/echo", body=pattern(n * 30000))
                             for n in range(6)))
        for n in range(6):
            assert client.response().sha == pattern_sha(n * 30000)


def test_many_buffered_bodies_at_once(rpd, origin):
    d = rpd(plain(origin(), route="buffer_request = on"))
    failed = []

    def run():
        try:
            with d.client(timeout=60) as client:
                client.send(request_bytes("POST", "/x", [("Content-Length", 5 << 20)]))
                for piece in pieces(5 << 20):
                    client.send(piece)
                assert json.loads(client.response().body)["sha"] == pattern_sha(5 << 20)
        except (Exception, Eof) as error:
            failed.append(error)
    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failed
