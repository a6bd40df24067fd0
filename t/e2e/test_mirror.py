"""mirror: copies of requests for another backend, of which the client never feels anything."""

import signal
import threading
import time

import pytest

from harness.client import request_bytes
from harness.daemon import plain
from harness.moods import Holder, Moody
from harness.origin import answer, upgrade_echo
from harness.util import pattern, pattern_sha, patience, wait_until
from harness.wire import chunked

BIG = 10 << 20


def shadowed(o, shadow, mirror="", **kw):
    """plain() of o, whose requests are copied to shadow (an origin, or an address)."""
    addr = shadow if isinstance(shadow, str) else shadow.addr
    kw["route"] = f"mirror = shade {mirror}\n" + kw.get("route", "")
    return plain(o, **kw) + f"[backend shade]\nserver = {addr} name=m0\n"


@pytest.fixture
def pair(rpd, origin):
    """pair(handler of the shadow, ...) -> (daemon, origin, shadow)."""
    def make(handler=None, main=None, workers=1, **kw):
        o, shadow = origin(main), origin(handler)
        return rpd(shadowed(o, shadow, **kw), workers=workers), o, shadow
    return make


def settled(d, mirrored, failed=0):
    """Waits until copies are counted so, and none is under way."""
    return d.wait_stats(lambda s: s["routes"]["all"]["mirrored"] == mirrored
                        and s["routes"]["all"]["mirror_failed"] == failed
                        and s["backends"]["shade"]["active"] == 0)


def taken(conn):
    """Takes what comes, says nothing, until the other end breaks off."""
    conn.wait_end()


def deaf(conn):
    """Reads nothing, ever."""
    conn.origin.shut.wait(30)


# ---- what is copied ----

def test_the_copy_is_what_the_server_gets(pair):
    d, o, shadow = pair(route="request_header = set X-Rule: $backend, remove X-Gone\n"
                              "response_header = set X-Resp: 1")
    res = d.ask("/a//b/../c?d=e", method="POST", body=b"hello", host="shop.test",
                headers=[("X-Gone", "1"), ("Cookie", "a=b"), ("Expect", "100-continue")])
    assert res.status == 200 and '"origin": "o0"' in res.body.decode()
    settled(d, 1)
    got, copy = o.last(), shadow.last()
    assert (copy.method, copy.target, copy.body) == (got.method, got.target, got.body)
    mine = [h for h in copy.headers if h[0] != "X-Rpd-Mirror"]
    assert sorted(mine) == sorted(h for h in got.headers if h[0] != "Expect")
    assert copy.get("X-Rpd-Mirror") == "1" and copy.get("Host") == "shop.test"
    assert copy.get("X-Rule") == "pool" and not copy.has("X-Gone")
    s = d.stats()
    assert s["backends"]["shade"]["requests_total"] == 1
    assert s["backends"]["shade"]["servers"]["m0"]["status_2xx"] == 1
    assert s["routes"]["all"]["requests_total"] == s["routes"]["all"]["status_2xx"] == 1


def test_a_rewritten_path_is_copied(pair):
    d, o, shadow = pair(route="path = /api\nrewrite = prefix /v1")
    d.ask("/api/x?y")
    settled(d, 1)
    assert o.last().target == shadow.last().target == "/v1/x?y"


def test_host_of_the_server_is_its_own(pair):
    d, o, shadow = pair(route="host_header = server")
    d.ask("/")
    settled(d, 1)
    assert o.last().get("Host") == o.addr and shadow.last().get("Host") == shadow.addr


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "BREW"])
def test_without_a_body(pair, method):
    d, _, shadow = pair()
    assert d.ask("/x", method=method).status == 200
    settled(d, 1)
    assert shadow.last().method == method and shadow.last().framing == "none"


@pytest.mark.parametrize("n", [0, 1, 70_000, 1_000_000])  # of which 1 MiB may wait
@pytest.mark.parametrize("how", ["length", "chunked", "buffered", "kept"])
def test_bodies(pair, n, how):
    route = {"buffered": "buffer_request = on",
             "kept": "retry_on = reset\nretry_buffer = 64m"}.get(how, "")
    d, o, shadow = pair(route=route)
    is_chunked = how in ("chunked", "buffered")
    body = pattern(n)
    head = f"Content-Length: {n}"
    if is_chunked:
        head = "Transfer-Encoding: chunked"
        body = chunked(*[body[i:i + 50_000] for i in range(0, n, 50_000)],
                       trailers=[("X-Sum", "7")])
    with d.client() as client:
        client.send(f"PUT /x HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n".encode() + body)
        assert client.response().status == 200
        assert client.ask("/next").status == 200
    settled(d, 2)
    got = o.requests[0]
    after, copy = sorted(shadow.requests, key=lambda req: req.target)
    for req in (got, copy):
        assert (req.length, req.sha) == (n, pattern_sha(n))
    assert (copy.framing, copy.trailers) == (got.framing, got.trailers)
    if how == "chunked":
        assert copy.trailers == [("X-Sum", "7")]
    assert after.target == "/next"


@pytest.mark.parametrize("how", ["length", "chunked", "kept"])
def test_a_large_body(pair, how):
    d, o, shadow = pair(route="retry_on = reset\nretry_buffer = 64m" if how == "kept" else "")
    step = 500_000
    head = "Transfer-Encoding: chunked" if how == "chunked" else f"Content-Length: {BIG}"
    body = pattern(BIG)
    with d.client() as client:
        client.send(f"PUT /x HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n")
        for at in range(0, BIG, step):
            piece = body[at:at + step]
            client.send(b"%x\r\n%s\r\n" % (len(piece), piece) if how == "chunked" else piece)
            wait_until(lambda n=at: shadow.heads and shadow.heads[0].length >= n)
        if how == "chunked":
            client.send(b"0\r\n\r\n")
        assert client.response().status == 200
    settled(d, 1)
    assert o.last().sha == shadow.last().sha == pattern_sha(BIG)


def test_a_copy_that_falls_behind_is_no_matter(pair):
    d, o, shadow = pair(route="buffer_request = on")
    for i in range(3):
        assert d.ask("/", method="POST", body=pattern(BIG)).status == 200
        assert o.last().sha == pattern_sha(BIG)
    d.wait_stats(lambda s: s["backends"]["shade"]["active"] == 0)
    failed = d.route_count(field="mirror_failed")
    assert len(shadow.requests) == 3 - failed
    assert {req.sha for req in shadow.requests} <= {pattern_sha(BIG)}


def test_small_pieces(pair):
    d, o, shadow = pair()
    with d.client() as client:
        client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for i in range(300):
            client.send(b"1\r\n%c\r\n" % (65 + i % 26))
        client.send(b"0\r\n\r\n")
        assert client.response().status == 200
    settled(d, 1)
    assert shadow.last().body == o.last().body and len(shadow.last().body) == 300


def test_connections_are_kept(pair):
    d, _, shadow = pair()
    with d.client() as client:
        for i in range(5):
            assert client.ask(f"/{i}", method="POST", body=b"x" * i).status == 200
            settled(d, i + 1)
    assert len(shadow.connections) == 1 and len(shadow.requests) == 5


@pytest.mark.parametrize("share, n", [("10%", 30), ("50%", 150), ("0.5%", 1), ("100%", 300)])
def test_a_share(pair, share, n):
    d, _, shadow = pair(mirror=share)
    with d.client() as client:
        for _ in range(300):
            assert client.ask("/").status == 200
    s = d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 300)
    mirrored = s["routes"]["all"]["mirrored"]
    assert abs(mirrored - n) <= 2
    settled(d, mirrored)
    assert len(shadow.requests) == mirrored


def test_a_request_that_is_tried_again_is_copied_once(rpd, origin):
    servers, shadow = [origin(Moody(503)), origin()], origin()
    text = plain(*servers, route="retry_on = 503, reset\nretry_buffer = 1m\nmirror = shade")
    d = rpd(text + f"[backend shade]\nserver = {shadow.addr}\n", workers=1)
    for i in range(6):
        assert d.ask("/", method="PUT", body=pattern(200_000)).status == 200
        settled(d, i + 1)
    assert d.stats()["backends"]["pool"]["retries"] > 0
    assert len(shadow.requests) == 6
    assert {req.sha for req in shadow.requests} == {pattern_sha(200_000)}


def test_upgrades_are_not_copied(pair):
    d, _, shadow = pair(main=upgrade_echo)
    with d.client() as client:
        client.send(request_bytes(headers=[("Connection", "upgrade"), ("Upgrade", "x")]))
        assert client.response().status == 101
        client.send(b"ping")
        assert client.exact(4) == b"ping"
    assert d.ask("/").status == 200
    settled(d, 1)
    assert len(shadow.requests) == 1


def test_default_backend_has_one_too(rpd, origin):
    o, shadow = origin(), origin()
    d = rpd("[listener web]\nbind = @web@\ndefault_backend = pool\n[defaults route]\n"
            f"mirror = shade\n[backend pool]\nserver = {o.addr}\n"
            f"[backend shade]\nserver = {shadow.addr}\n")
    assert d.ask("/").status == 200
    shadow.wait_requests(1)


# ---- whose end nobody feels ----

@pytest.mark.parametrize("mood", ["reset", "close", "garbage", 500])
def test_a_bad_shadow(pair, mood):
    d, o, _ = pair(Moody(mood))
    with d.client() as client:
        for _ in range(3):
            assert client.ask("/", method="POST", body=b"x").status == 200
    s = settled(d, 3, 0 if mood == 500 else 3)
    assert len(o.connections) == 1 and len(o.requests) == 3
    assert s["routes"]["all"]["status_2xx"] == 3 and s["routes"]["all"]["status_5xx"] == 0
    assert s["backends"]["shade"]["retries"] == 0


def test_nobody_there(rpd, origin):
    o, gone = origin(), origin()
    gone.close()
    d = rpd(shadowed(o, gone.addr), workers=1)
    with d.client() as client:
        for _ in range(3):
            assert client.ask("/", method="POST", body=pattern(300_000)).status == 200
    settled(d, 3, 3)
    d.ctl("server", "shade/m0", "drain", check=True)
    assert d.ask("/").status == 200
    settled(d, 4, 4)


def test_a_shadow_that_never_answers(pair):
    d, _, shadow = pair(taken, route="timeout_response = 1s")
    with d.client() as client:
        for _ in range(20):
            assert client.ask("/", method="POST", body=b"x").status == 200
    s = settled(d, 20, 20)
    assert s["backends"]["shade"]["servers"]["m0"]["timeouts"] > 0
    for conn in shadow.connections:
        assert conn.is_ended.wait(10)


def test_a_shadow_that_answers_forever(pair):
    def handler(conn):
        conn.request()
        conn.send("HTTP/1.1 200 OK\r\n\r\n")
        while True:
            conn.send(b"x" * 100)
            time.sleep(0.05)
    d, _, _ = pair(handler, route="timeout_response = 1s")
    assert d.ask("/").status == 200
    settled(d, 1, 1)


def test_a_shadow_that_never_reads(pair):
    d, o, shadow = pair(deaf)
    shadow.shut = threading.Event()
    n = 64 << 20
    with d.client() as client:
        client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % n)
        for at in range(0, n, 1 << 20):
            client.send(pattern(1 << 20))
        assert client.response().status == 200
    assert o.last().length == n
    s = settled(d, 1, 1)
    assert s["backends"]["shade"]["servers"]["m0"]["failures"] == 0, "it was given up, no more"
    shadow.shut.set()


def test_there_are_only_so_many_at_a_time(pair):
    let_go = threading.Event()

    def held(conn):
        conn.request()
        let_go.wait(patience(60))
    d, _, _ = pair(held)
    with d.client() as client:
        for _ in range(300):
            assert client.ask("/").status == 200
        s = d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 300)
        assert s["routes"]["all"]["mirrored"] == 256 == s["backends"]["shade"]["active"]
        assert s["routes"]["all"]["mirror_failed"] == 44
        let_go.set()
        settled(d, 256, 300)
        assert client.ask("/").status == 200
        settled(d, 257, 301)


def test_an_early_answer(pair):
    def handler(conn):
        conn.request_head()
        conn.reply(b"enough", "413 Too Large")
        conn.shutdown_write()
        conn.wait_end()
    d, o, _ = pair(handler)
    body = pattern(BIG)
    with d.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % BIG)
        client.send(body[:1000])
        s = settled(d, 1)
        assert s["backends"]["shade"]["servers"]["m0"]["status_4xx"] == 1
        client.send(body[1000:])
        assert client.response().status == 200
    assert o.last().sha == pattern_sha(BIG)
    settled(d, 1)


def test_a_client_that_leaves_within_its_body(pair):
    d, _, shadow = pair()
    client = d.client()
    client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
    d.wait_stats(lambda s: s["backends"]["shade"]["active"] == 1)
    client.reset()
    s = settled(d, 1)
    assert not shadow.requests and s["routes"]["all"]["active"] == 0
    assert s["backends"]["shade"]["servers"]["m0"]["failures"] == 0


def test_a_copy_outlives_its_request(pair):
    d, o, shadow = pair(Holder())
    with d.client() as client:
        assert client.ask("/x", method="POST", body=b"hello").status == 200
    d.wait_stats(lambda s: s["routes"]["all"]["active"] == 0)
    shadow.wait_requests(1)
    d.reload(plain(o, route="request_header = set X-New: 1")
             + f"[backend shade]\nserver = {shadow.addr} name=m0\n")
    assert d.ask("/").status == 200 and o.last().has("X-New")
    shadow.handler.gate.release()
    s = settled(d, 1)
    assert s["backends"]["shade"]["servers"]["m0"]["status_2xx"] == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_nobody_waits_for_copies_at_the_end(pair, number):
    d, _, shadow = pair(taken)
    for _ in range(3):
        assert d.ask("/", method="POST", body=b"x").status == 200
    d.wait_stats(lambda s: s["backends"]["shade"]["active"] == 3)
    begun = time.monotonic()
    d.signal(number)
    d.wait_exit()
    assert time.monotonic() - begun < patience(10), "and not timeout_response"


def test_the_primary_fails(rpd, origin):
    o, shadow = origin(Moody("close")), origin()
    d = rpd(shadowed(o, shadow), workers=1)
    assert d.ask("/", method="POST", body=b"hello").status == 502
    settled(d, 1)
    assert shadow.last().body == b"hello"


def test_with_auth_request(rpd, origin):
    def yes(conn):
        while True:
            conn.request()
            conn.reply(b"", headers=[("X-User", "ann")])
    o, shadow, auth = origin(), origin(), origin(yes)
    d = rpd(shadowed(o, shadow, route="auth_request = gate\nauth_request_header = X-User")
            + f"[backend gate]\nserver = {auth.addr}\n", workers=1)
    assert d.ask("/", headers=[("X-User", "root")]).status == 200
    settled(d, 1)
    assert shadow.last().all("X-User") == o.last().all("X-User") == ["ann"]


def test_many_at_once(pair):
    def slow(conn):
        while True:
            req = conn.request()
            if not answer(conn, req):
                return
    d, o, shadow = pair(slow, workers=2)

    def run(n):
        with d.client() as client:
            for i in range(20):
                res = client.ask(f"/{n}/{i}", method="PUT", body=pattern(1000 * i + n))
                assert res.status == 200
    threads = [threading.Thread(target=run, args=(n,)) for n in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    settled(d, 160)

    def seen(requests):
        return sorted((req.target, req.sha) for req in requests)
    assert seen(shadow.requests) == seen(o.requests)
