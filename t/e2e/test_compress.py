"""Compression of responses: what is compressed and for whom, byte for byte, in bounded memory."""

import random
import socket

import pytest

from harness.client import request_bytes
from harness.codings import DECODERS, decode
from harness.daemon import plain
from harness.origin import canned, chunked
from harness.util import is_sanitized, kernel_buffers, memory, stands_still, wait_until
from harness.wire import Eof

ALL = "compress = zstd, br, gzip"
CODINGS = ["gzip", "zstd", "br"]
TEXT = b"the same again and again; " * 400
RANDOM = random.Random(7).randbytes


def head(*fields, status="200 OK", kind="text/html"):
    lines = [f"HTTP/1.1 {status}", *([f"Content-Type: {kind}"] if kind else []), *fields]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def whole(body, *fields, **kw):
    return head(f"Content-Length: {len(body)}", *fields, **kw) + body


def saying(answers):
    """An origin whose answer to /N is answers[N]."""
    def handler(conn):
        while True:
            req = conn.request()
            said = answers[int(req.target[1:])]
            conn.send(said.split(b"\r\n\r\n")[0] + b"\r\n\r\n" if req.method == "HEAD" else said)
    return handler


def ask(d, coding, target="/", **kw):
    return d.ask(target, headers=[("Accept-Encoding", coding)] if coding else [], **kw)


# ---- byte for byte ----

BODIES = {
    "text": TEXT, "zeros": bytes(3 << 20), "random": RANDOM(700001), "one": b"x",
    "mixed": b"".join(RANDOM(997) + b"y" * 5003 for _ in range(300)),
}


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_round_trip(rpd, origin, coding, name, framing):
    body = BODIES[name]
    if framing == "length":
        said = whole(body)
    elif framing == "chunked":
        said = head("Transfer-Encoding: chunked") + chunked(
            *[body[i:i + 30000] for i in range(0, len(body), 30000)])
    else:
        said = head() + body
    o = origin(canned(said, then_close=framing == "close"))
    d = rpd(plain(o, route=ALL + "\ncompress_min = 0"), workers=1)
    res = ask(d, coding)
    assert res.get("Content-Encoding") == coding and res.get("Vary") == "Accept-Encoding"
    assert not res.has("Content-Length") and res.framing == "chunked"
    assert decode(coding, res.body) == body
    route = d.wait_stats(lambda s: s["routes"]["all"]["compressed"] == 1)["routes"]["all"]
    assert route["compressed_in"] == len(body) and route["compressed_out"] == len(res.body)
    if name == "zeros":
        assert len(res.body) < len(body) / 100


def test_many_on_one_connection(rpd, origin):
    o = origin(canned(*[whole(TEXT[i:]) for i in range(60)]))
    d = rpd(plain(o, route=ALL), workers=1)
    with d.client() as client:
        for i in range(60):
            coding = CODINGS[i % 3]
            res = client.ask(headers=[("Accept-Encoding", coding)])
            assert decode(coding, res.body) == TEXT[i:]


@pytest.mark.parametrize("names", [["X-Sum"], ["X-Sum", "Content-Digest"]])
def test_trailers_come_after_it_unless_they_would_be_wrong(rpd, origin, names):
    said = head("Transfer-Encoding: chunked", "Trailer: X-Sum") + chunked(
        TEXT, trailers=[(name, "42") for name in names])
    d = rpd(plain(origin(canned(said)), route=ALL))
    res = ask(d, "gzip")
    assert decode("gzip", res.body) == TEXT
    assert res.trailers == ([("X-Sum", "42")] if names == ["X-Sum"] else [])


def test_http_1_0_gets_it_until_the_end(rpd, origin):
    d = rpd(plain(origin(canned(whole(TEXT))), route=ALL))
    res = ask(d, "gzip", version="1.0")
    assert res.framing == "close" and decode("gzip", res.body) == TEXT


def test_answers_made_here_are_compressed_too(rpd):
    d = rpd("[listener web]\nbind = @web@\n[route all]\ncompress = gzip\n"
            f"respond = 200 {'again and ' * 300}\n[route big]\npath = /big\ncompress = gzip\n"
            "respond_file = @dir@/rpd.ini\ncompress_min = 0\nrespond_type = text/plain\n")
    assert decode("gzip", ask(d, "gzip").body) == b"again and " * 299 + b"again and"
    res = ask(d, "gzip", "/big")
    assert decode("gzip", res.body) == d.config.read_bytes()
    assert res.get("ETag").startswith('W/"')
    res = d.ask("/big", headers=[("Accept-Encoding", "gzip"), ("If-None-Match", res.get("ETag"))])
    assert res.status == 304 and res.get("ETag").startswith('W/"')


# ---- for whom ----

@pytest.mark.parametrize("said, coding", [
    ("gzip", "gzip"), ("gzip, deflate, br, zstd", "zstd"), ("br;q=1.0, zstd;q=0.9", "br"),
    ("*", "zstd"), ("*;q=0.1, zstd;q=0", "br"), ("identity", None), ("gzip;q=0", None),
    ("GZIP ; Q=0.5", "gzip"), ("identity;q=1, gzip;q=0.5", None), ("identity;q=0, *", "zstd"),
    ("x-gzip", "gzip"), ("", None), (None, None), ("gzip;q=2", None), ("deflate", None),
])
def test_who_gets_what(rpd, origin, said, coding):
    d = rpd(plain(origin(canned(whole(TEXT, 'ETag: "v1"', "Accept-Ranges: bytes"))), route=ALL))
    res = d.ask(headers=[("Accept-Encoding", said)] if said is not None else [])
    assert res.get("Content-Encoding") == coding
    assert res.get("Vary") == "Accept-Encoding"
    assert res.get("ETag") == ('W/"v1"' if coding else '"v1"')
    assert res.has("Accept-Ranges") == (not coding)
    assert (decode(coding, res.body) if coding else res.body) == TEXT


def test_a_client_that_wants_it_as_it_is(rpd, origin):
    d = rpd(plain(origin(canned(whole(TEXT))), route=ALL))
    res = d.ask(headers=[("Accept-Encoding", "gzip"), ("Cache-Control", "no-transform")])
    assert not res.has("Content-Encoding") and res.get("Vary") == "Accept-Encoding"


# ---- what ----

LEFT = {
    "coded": whole(TEXT, "Content-Encoding: br"), "another type": whole(TEXT, kind="image/png"),
    "no type": whole(TEXT, kind=None), "short": whole(TEXT[:1023]), "empty": whole(b""),
    "no-transform": whole(TEXT, "Cache-Control: public, No-Transform"),
    "range": whole(TEXT, "Content-Range: bytes 0-10399/20000", status="416 Range Not Satisfiable"),
    "repr-digest": whole(TEXT, "Repr-Digest: sha-256=:YQ==:"),
    "md5": whole(TEXT, "content-md5: YQ=="), "204": head(status="204 No Content"),
    "digest to come": head("Transfer-Encoding: chunked", "Trailer: X, Digest") + chunked(
        TEXT, trailers=[("Digest", "md5=YQ==")]),
}


@pytest.mark.parametrize("case", LEFT)
def test_left_as_it_is(rpd, origin, case):
    said = LEFT[case]
    d = rpd(plain(origin(canned(said)), route=ALL))
    res = ask(d, "gzip, br, zstd")
    assert res.get("Content-Encoding") in (None, "br") and not res.has("Vary")
    if res.framing != "chunked":
        assert res.body == said.split(b"\r\n\r\n", 1)[1]
    assert res.trailers == ([("Digest", "md5=YQ==")] if res.framing == "chunked" else [])
    assert d.stats()["routes"]["all"]["compressed"] == 0


@pytest.mark.parametrize("kind", ["text/css", "Text/HTML; charset=utf-8", "application/json",
                                  "image/svg+xml", "application/problem+json"])
def test_types_by_default(rpd, origin, kind):
    d = rpd(plain(origin(canned(whole(TEXT, kind=kind))), route=ALL))
    assert ask(d, "gzip").get("Content-Encoding") == "gzip"


def test_own_types_and_levels(rpd, origin):
    d = rpd(plain(origin(canned(whole(TEXT, kind="font/ttf"), whole(TEXT))), route="""
        compress = gzip
        compress_types = font/*
        compress_level = 9"""))
    with d.client() as client:
        assert decode("gzip", client.ask(headers=[("Accept-Encoding", "gzip")]).body) == TEXT
        assert client.ask(headers=[("Accept-Encoding", "gzip")]).body == TEXT


@pytest.mark.parametrize("vary, want", [
    ("Origin", ["Origin", "Accept-Encoding"]), ("accept-encoding, Origin",
                                                ["accept-encoding, Origin"]), ("*", ["*"]),
])
def test_vary_that_is_there(rpd, origin, vary, want):
    d = rpd(plain(origin(canned(whole(TEXT, f"Vary: {vary}"))), route=ALL))
    assert ask(d, "gzip").all("Vary") == want


def test_head_says_what_get_would(rpd, origin):
    d = rpd(plain(origin(saying([whole(TEXT, 'ETag: "v1"'), whole(b"x"),
                                 head("Transfer-Encoding: chunked") + chunked(TEXT)])),
                  route=ALL))
    for n, is_compressed in [(0, True), (1, False), (2, True)]:
        got = ask(d, "gzip", f"/{n}")
        res = ask(d, "gzip", f"/{n}", method="HEAD")
        names = ("Content-Encoding", "Vary", "ETag", "Content-Length", "Content-Type")
        assert [res.get(k) for k in names] == [got.get(k) for k in names]
        assert res.has("Content-Encoding") == is_compressed
    assert d.stats()["routes"]["all"]["compressed"] == 2


@pytest.mark.parametrize("had, want", [('W/"v1"', 'W/"v1"'), ('"v1"', '"v1"'),
                                       ('"a,b", W/"v1"', 'W/"v1"'), ('W/"v12"', '"v1"')])
def test_a_304_has_the_tag_that_the_client_has(rpd, origin, had, want):
    d = rpd(plain(origin(canned(head('ETag: "v1"', status="304 Not Modified", kind=None))),
                  route=ALL))
    res = d.ask(headers=[("Accept-Encoding", "gzip"), ("If-None-Match", had)])
    assert res.status == 304 and res.get("ETag") == want
    assert res.get("Vary") == "Accept-Encoding" and not res.has("Content-Encoding")


def test_a_range_is_as_it_is_and_told_to_vary(rpd, origin):
    said = whole(TEXT, "Content-Range: bytes 0-10399/20000", 'ETag: "v1"',
                 status="206 Partial Content")
    res = ask(rpd(plain(origin(canned(said)), route=ALL)), "gzip")
    assert res.status == 206 and res.body == TEXT and res.get("ETag") == '"v1"'
    assert res.get("Vary") == "Accept-Encoding" and not res.has("Content-Encoding")


def test_the_server_may_be_kept_from_compressing(rpd, origin):
    """What the client takes is decided before the route's rules change its request."""
    o = origin(canned(whole(TEXT)))
    d = rpd(plain(o, route=ALL + "\nrequest_header = remove Accept-Encoding\n"
                  "request_header = set Cache-Control: no-transform"))
    assert decode("br", ask(d, "br").body) == TEXT
    assert not o.requests[-1].has("Accept-Encoding")
    res = d.ask(headers=[("Accept-Encoding", "br"), ("Cache-Control", "no-transform")])
    assert res.body == TEXT


def test_an_upgrade_is_a_tunnel(rpd, origin):
    def handler(conn):
        conn.request()
        conn.send(head("Connection: upgrade", "Upgrade: x", status="101 Switching Protocols"))
        conn.send(b"plain")
    d = rpd(plain(origin(handler), route=ALL))
    with d.client() as client:
        client.send(request_bytes(headers=[("Connection", "upgrade"), ("Upgrade", "x"),
                                           ("Accept-Encoding", "gzip")]))
        assert client.response_head().status == 101 and client.exact(5) == b"plain"


# ---- streams ----

@pytest.mark.parametrize("coding", CODINGS)
def test_events_arrive_when_they_are_sent(rpd, origin, coding):
    def handler(conn):
        conn.request()
        conn.send(head("Transfer-Encoding: chunked", kind="text/event-stream"))
        while conn.line():  # one for each that the client has seen
            conn.send(chunked(b"data: tick\n\n")[:-5])
    o = origin(handler)
    d = rpd(plain(o, route=ALL))
    decoder, buf = DECODERS[coding](), b""
    with d.client() as client:
        client.send(request_bytes(headers=[("Accept-Encoding", coding)]))
        assert client.response_head().get("Content-Encoding") == coding
        server = wait_until(lambda: o.connections and o.connections[-1])
        for _ in range(20):
            server.send(chunked(b"data: tick\n\n")[:-5])
            while not buf.endswith(b"\n\n"):
                size = int(client.line(), 16)
                buf += decoder.feed(client.exact(size))
                client.exact(2)
            assert buf == b"data: tick\n\n"
            buf = b""


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("kind", ["zeros", "random"])
def test_slow_reader_holds_the_server_back(rpd, origin, coding, kind):
    block = bytes(4 << 20) if kind == "zeros" else RANDOM(4 << 20)  # repeats beyond any window
    class Flood:
        sent = 0

        def __call__(self, conn):
            conn.request()
            conn.send(head("Transfer-Encoding: chunked"))
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
            while Flood.sent < 64 << 20:
                at = Flood.sent % len(block)
                conn.send(chunked(block[at:at + 65536])[:-5])
                Flood.sent += 65536
            conn.send(b"0\r\n\r\n")
    flood = Flood()
    d = rpd(plain(origin(flood), route=ALL), workers=1)
    pid = d.worker_pids()[0]
    before = memory(pid)
    with d.client(rcvbuf=65536, timeout=60) as client:
        client.send(request_bytes(headers=[("Accept-Encoding", coding)]))
        if kind == "random":
            wait_until(lambda: Flood.sent > 0)
            assert stands_still(lambda: Flood.sent) < kernel_buffers()
            if not is_sanitized():
                assert memory(pid) - before < 4 << 20
        else:
            res = client.response()
            decoder = DECODERS[coding]()
            assert decoder.feed(res.body).count(b"\0") == 64 << 20 and decoder.is_done()
            if not is_sanitized():
                assert memory(pid) - before < 4 << 20
    d.wait_stats(lambda s: s["routes"]["all"]["active"] == 0)


def test_a_server_that_breaks_off_is_seen(rpd, origin):
    said = head("Content-Length: 100000") + TEXT
    d = rpd(plain(origin(canned(said, then_close=True)), route=ALL))
    with d.client() as client:
        client.send(request_bytes(headers=[("Accept-Encoding", "gzip")]))
        with pytest.raises(Eof):
            client.response()
    stats = d.wait_stats(lambda s: s["routes"]["all"]["active"] == 0
                         and s["routes"]["all"]["requests_total"] == 1)
    assert stats["routes"]["all"]["aborted"] == 1


def test_a_client_that_leaves(rpd, origin):
    def handler(conn):
        conn.request()
        conn.send(head("Transfer-Encoding: chunked"))
        while True:
            conn.send(chunked(RANDOM(65536))[:-5])
    o = origin(handler)
    d = rpd(plain(o, route=ALL), workers=1)
    for coding in CODINGS * 3:
        with d.client() as client:
            client.send(request_bytes(headers=[("Accept-Encoding", coding)]))
            client.exact(100000)
    wait_until(lambda: not o.open_connections())
    d.wait_stats(lambda s: s["routes"]["all"]["active"] == 0 and s["workers"][0]["buffers"] < 20)


@pytest.mark.slow
def test_beyond_the_bound_it_passes_as_it_is(rpd, origin):
    def handler(conn):
        conn.request()
        conn.send(head("Transfer-Encoding: chunked") + chunked(TEXT)[:-5])
        conn.wait_end()
    d = rpd(plain(origin(handler), route="compress = zstd"), workers=1)
    clients = [d.client() for _ in range(70)]
    got = []
    for client in clients:
        client.send(request_bytes(headers=[("Accept-Encoding", "zstd")]))
        got.append(client.response_head().get("Content-Encoding"))
    assert 40 < got.count("zstd") < 70
    for client in clients:
        client.close()
    d.wait_stats(lambda s: s["routes"]["all"]["active"] == 0)
    with d.client() as client:
        client.send(request_bytes(headers=[("Accept-Encoding", "zstd")]))
        assert client.response_head().get("Content-Encoding") == "zstd"
