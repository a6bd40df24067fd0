"""auth_request: a server of another backend says whether a request may go on."""

import signal
import threading

import pytest

from harness.client import request_bytes
from harness.daemon import plain
from harness.moods import Holder, Moody
from harness.util import holds_for, is_alive, pattern, pattern_sha
from harness.wire import chunked

WHO = "auth_request_header = X-User, X-Groups"


def door(o, auth, route="", backend="", more=""):
    """plain() behind auth_request: `auth` is an origin, or an address, of the backend gate."""
    addr = auth if isinstance(auth, str) else auth.addr
    return (plain(o, route=route if "auth_request =" in route else "auth_request = gate\n" + route)
            + f"[backend gate]\nserver = {addr} name=g0\n{backend}\n{more}")


class Gate:
    """An auth server's handler: `says` is (status, fields, body), or a function of the request."""

    def __init__(self, status="200 OK", headers=(), body=b""):
        self.says = (status, headers, body)

    def __call__(self, conn):
        while True:
            req = conn.request()
            says = self.says(req) if callable(self.says) else self.says
            conn.reply(says[2], says[0], says[1])


@pytest.fixture
def stand(rpd, origin):
    """stand(gate=Gate(), ...) -> (daemon, origin, auth origin, gate)."""
    def make(gate=None, workers=1, **kw):
        gate = gate or Gate()
        o, auth = origin(), origin(gate)
        return rpd(door(o, auth, **kw), workers=workers), o, auth, gate
    return make


def count(d, field, n, route="all"):
    d.wait_stats(lambda s: s["routes"][route][field] == n)


def test_who_is_counted_is_who_the_server_says(stand):
    d, o, _, _ = stand(Gate(headers=[("X-User", "alice")]), route=WHO + "\nlimit = each",
                       more="[limit each]\nkey = $header_X_User\nrate = 1/h\nburst = 2\n")
    forged = [d.ask(headers=[("X-User", f"u{n}")]).status for n in range(5)]
    assert forged == [200, 200, 429, 429, 429]
    assert {r.get("X-User") for r in o.requests} == {"alice"}


# ---- yes ----

def test_what_is_asked(stand):
    d, o, auth, _ = stand()
    res = d.ask("/a/b?c=d", method="POST", body=b"hello", host="shop.test", headers=[
        ("Cookie", "sid=1"), ("Authorization", "Bearer x"), ("X-Mine", "kept"),
        ("Range", "bytes=0-1"), ("If-None-Match", '"x"'), ("Content-Type", "text/plain"),
        ("Content-Encoding", "identity"), ("X-Forwarded-For", "9.9.9.9")])
    assert res.status == 200
    asked, got = auth.last(), o.last()
    assert (asked.method, asked.target, asked.framing) == ("GET", "/a/b?c=d", "none")
    assert asked.get("Host") == "shop.test"
    assert asked.get("Cookie") == "sid=1" and asked.get("Authorization") == "Bearer x"
    assert asked.get("X-Mine") == "kept" and asked.get("Content-Type") == "text/plain"
    for name in ("Range", "If-None-Match", "Content-Length", "Content-Encoding"):
        assert not asked.has(name), name
    assert asked.get("X-Forwarded-Method") == "POST"
    assert asked.get("X-Forwarded-Uri") == "/a/b?c=d"
    assert asked.get("X-Forwarded-For") == "127.0.0.1"
    assert asked.get("X-Forwarded-Host") == "shop.test"
    assert asked.get("X-Request-Id") == got.get("X-Request-Id")
    assert got.method == "POST" and got.body == b"hello" and got.get("Range") == "bytes=0-1"
    assert not got.has("X-Forwarded-Uri")


def test_a_path_of_its_own(stand):
    d, o, auth, _ = stand(route="auth_request = gate /verify?app=x")
    assert d.ask("/a/../b//c").status == 200
    assert auth.last().target == "/verify?app=x"
    assert auth.last().get("X-Forwarded-Uri") == o.last().target == "/b/c"


def test_a_raw_path_is_asked_about_as_it_is(stand):
    d, o, auth, _ = stand(route="raw_path = on")
    assert d.ask("/a//b").status == 200
    assert auth.last().target == auth.last().get("X-Forwarded-Uri") == o.last().target == "/a//b"


def test_it_is_asked_about_the_path_before_a_rewrite(stand):
    d, o, auth, _ = stand(route="path = /api\nrewrite = prefix /v1")
    assert d.ask("/api/x?y").status == 200
    assert auth.last().get("X-Forwarded-Uri") == auth.last().target == "/api/x?y"
    assert o.last().target == "/v1/x?y"


def test_connections_are_kept(stand):
    d, o, auth, gate = stand()
    gate.says = lambda req: ("200 OK", (), b"a body that nobody reads")
    with d.client() as client:
        for _ in range(5):
            assert client.ask("/").status == 200
    assert len(auth.requests) == 5 and len(auth.connections) == 1 and len(o.connections) == 1
    s = d.wait_stats(lambda s: s["backends"]["gate"]["requests_total"] == 5)
    assert s["backends"]["gate"]["servers"]["g0"]["connections_reused"] == 4
    assert s["backends"]["gate"]["servers"]["g0"]["status_2xx"] == 5
    assert s["backends"]["gate"]["active"] == 0


def test_its_fields_and_no_others_reach_the_server(stand):
    d, o, _, _ = stand(Gate(headers=[("X-User", "ann"), ("X-Secret", "s")]), route=WHO)
    forged = [("X-User", "root"), ("x-user", "root"), ("X_User", "root"), ("X-Groups", "wheel"),
              ("x_groups", "wheel"), ("X-User-Id", "7"), ("X-Secret", "mine")]
    assert d.ask("/", headers=forged).status == 200
    got = o.last()
    assert got.all("X-User") == ["ann"]
    assert not got.has("X-Groups") and not got.has("X_User") and not got.has("x_groups")
    assert got.get("X-User-Id") == "7" and got.get("X-Secret") == "mine"


def test_several_values_and_known_fields(stand):
    d, o, _, _ = stand(Gate(headers=[("X-Groups", "a"), ("X-Groups", "b"),
                                     ("Authorization", "Bearer inner")]),
                       route="auth_request_header = X-Groups, Authorization")
    assert d.ask("/", headers=[("Authorization", "Basic outer")]).status == 200
    assert o.last().all("X-Groups") == ["a", "b"]
    assert o.last().get("Authorization") == "Bearer inner"


def test_trailers_are_no_way_around(stand):
    d, o, _, _ = stand(route=WHO)
    with d.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
                    b"Trailer: X-User, X-Sum\r\n\r\n"
                    + chunked(b"x", trailers=[("X-User", "root"), ("X_Groups", "w"),
                                              ("X-Sum", "1")]))
        assert client.response().status == 200
    assert [n for n, _ in o.last().trailers] == ["X-Sum"]


def test_what_names_the_request_cannot_be_forged(stand):
    d, _, auth, _ = stand()
    d.ask("/secret", headers=[(n, "/public") for n in (
        "X-Forwarded-Uri", "X-Original-URL", "X-Original-URI", "x_original_uri",
        "X-Forwarded-Method", "X-Original-Method")])
    asked = auth.last()
    assert asked.all("X-Forwarded-Uri") == ["/secret"]
    assert asked.all("X-Forwarded-Method") == ["GET"]
    assert not [n for n, v in asked.headers if "original" in n.lower()]


def test_a_renewed_session_goes_to_the_client(stand):
    cookies = [("Set-Cookie", "sid=2; Path=/"), ("Set-Cookie", "t=1"), ("X-Other", "1")]
    d, o, _, _ = stand(Gate(headers=cookies))
    res = d.ask("/")
    assert res.all("Set-Cookie") == ["sid=2; Path=/", "t=1"] and not res.has("X-Other")
    assert not o.last().has("Set-Cookie")


@pytest.mark.parametrize("n, is_chunked", [(0, False), (5, False), (10 << 20, True),
                                           (10 << 20, False)])
def test_the_body_waits_and_is_whole(stand, n, is_chunked):
    d, o, auth, _ = stand()
    head = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {n}"
    body = pattern(n)
    if is_chunked:
        body = chunked(*[body[i:i + 100_000] for i in range(0, n, 100_000)])
    with d.client() as client:
        client.send(f"POST /x HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n".encode() + body)
        assert client.response().status == 200
    assert o.last().length == n and o.last().sha == pattern_sha(n)
    assert auth.last().framing == "none"


def test_a_body_goes_nowhere_before_the_answer(stand):
    d, o, auth, holder = stand(Holder())
    with d.client() as client:
        client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
        auth.wait_requests(1)
        holds_for(lambda: not o.connections, 0.1)
        holder.gate.release()
        assert client.response().status == 200
    assert o.last().body == b"hello"


def test_routes_answered_here_are_kept_too(rpd, origin):
    gate = Gate("401 No", body=b"no")
    auth = origin(gate)
    d = rpd("[listener web]\nbind = @web@\n[route a]\nrespond = 200 in\nauth_request = gate\n"
            f"[backend gate]\nserver = {auth.addr}\n")
    assert d.ask("/").status == 401
    gate.says = ("204 Yes", [("Set-Cookie", "a=b")], b"")
    res = d.ask("/")
    assert (res.status, res.body, res.get("Set-Cookie")) == (200, b"in", "a=b")


def test_default_backend_keeps_to_the_defaults(rpd, origin):
    o, auth = origin(), origin(Gate("403 No"))
    d = rpd("[listener web]\nbind = @web@\ndefault_backend = pool\n[defaults route]\n"
            f"auth_request = gate\n[backend pool]\nserver = {o.addr}\n"
            f"[backend gate]\nserver = {auth.addr}\n")
    assert d.ask("/").status == 403 and not o.connections


# ---- no ----

@pytest.mark.parametrize("status, headers", [
    ("401 Unauthorized", [("WWW-Authenticate", 'Bearer realm="x"')]),
    ("403 Forbidden", []),
    ("302 Found", [("Location", "https://login.test/?rd=1"), ("Set-Cookie", "state=1"),
                   ("Set-Cookie", "n=2")]),
    ("404 Not Found", []), ("429 Too Many Requests", [("Retry-After", "7")]),
])
def test_its_refusal_is_the_answer(stand, status, headers):
    d, o, _, _ = stand(Gate(status, [*headers, ("Content-Type", "text/html")], b"<p>no</p>"))
    with d.client() as client:
        res = client.ask("/", method="POST", body=b"x")
        assert res.status == int(status[:3]) and res.body == b"<p>no</p>"
        for name, value in [*headers, ("Content-Type", "text/html")]:
            assert value in res.all(name)
        assert res.has("Date") and res.has("Via")
    with d.client() as client:
        res = client.ask("/", method="HEAD")
        assert res.status == int(status[:3]) and res.get("Content-Length") == "9"
        assert client.ask("/").body == b"<p>no</p>", "the connection goes on"
    assert not o.connections
    count(d, "auth_request_denied", 3)
    s = d.stats()["routes"]["all"]
    assert s["auth_request_failed"] == 0 and s["requests_total"] == 3 and s["aborted"] == 0
    assert s["status_3xx"] + s["status_4xx"] == 3


def test_response_rules_are_the_routes(stand):
    d, _, _, _ = stand(Gate("401 No", [("Server", "gate")]),
                       route="response_header = remove Server, set X-By: $route")
    res = d.ask("/")
    assert res.status == 401 and not res.has("Server") and res.get("X-By") == "all"


@pytest.mark.parametrize("length", [65536, 65537])
def test_an_answer_is_bounded(stand, length):
    d, _, _, _ = stand(Gate("401 No", body=pattern(length)))
    res = d.ask("/")
    if length <= 65536:
        assert res.status == 401 and res.body == pattern(length)
    else:
        assert res.status == 502 and "longer than 64 KiB" in res.get("Proxy-Status")
        assert d.ask("/").status == 502, "and again"
        count(d, "auth_request_failed", 2)


def test_a_long_yes_is_a_yes(stand):
    d, _, auth, _ = stand(Gate(body=pattern(1 << 20)))
    assert d.ask("/").status == 200
    s = d.wait_stats(lambda s: s["backends"]["gate"]["requests_total"] == 1)
    assert s["backends"]["gate"]["servers"]["g0"]["failures"] == 0


# ---- neither ----

def test_5xx_is_no_yes(stand):
    d, o, _, gate = stand()
    for status in ("500 Oops", "503 Busy"):
        gate.says = (status, [("X-User", "root")], b"trace")
        res = d.ask("/")
        assert res.status == 502 and b"trace" not in res.body and not res.has("X-User")
        assert "auth_request failed" in res.get("Proxy-Status")
    assert not o.connections
    count(d, "auth_request_failed", 2)
    assert d.route_count(field="auth_request_denied") == 0


@pytest.mark.parametrize("mood", ["reset", "close", "garbage"])
def test_a_broken_answer_is_no_yes(stand, mood):
    d, o, _, _ = stand(Moody(mood))
    res = d.ask("/")
    assert res.status == 502 and not o.connections
    count(d, "auth_request_failed", 1)


def test_nobody_there(rpd, origin):
    o = origin()
    gone = origin()
    gone.close()
    d = rpd(door(o, gone.addr))
    res = d.ask("/")
    assert res.status == 503 and "connect refused" in res.get("Proxy-Status")
    assert not o.connections
    count(d, "auth_request_failed", 1)
    d.ctl("server", "gate/g0", "drain", check=True)
    res = d.ask("/")
    assert res.status == 503 and "no server" in res.get("Proxy-Status") and not o.connections


def test_no_answer_in_time(stand):
    d, o, auth, _ = stand(Moody("hang"), route="auth_request_timeout = 200ms")
    with d.client() as client:
        res = client.ask("/", method="POST", body=b"hello")
        assert res.status == 504 and "auth_request failed: server timeout" in res.get(
            "Proxy-Status")
    assert not o.connections
    s = d.wait_stats(lambda s: s["routes"]["all"]["auth_request_failed"] == 1
                     and s["backends"]["gate"]["active"] == 0)
    assert s["backends"]["gate"]["servers"]["g0"]["timeouts"] == 1
    auth.connections[0].is_ended.wait(10)


def test_an_answer_that_never_ends(stand):
    def dribble(conn):
        conn.request()
        conn.send("HTTP/1.1 401 No\r\nContent-Length: 10\r\n\r\nabc")
        conn.wait_end()
    d, o, _, _ = stand(dribble, route="auth_request_timeout = 200ms")
    assert d.ask("/").status == 504 and not o.connections


def test_too_long_in_the_queue(stand):
    d, _, auth, holder = stand(Holder(), route="auth_request_timeout = 300ms",
                               backend="max_conns = 1")
    with d.client() as first, d.client() as second:
        first.send(request_bytes())
        auth.wait_requests(1)
        second.send(request_bytes())
        assert first.response().status == 504
        assert second.response().status in (503, 504)
    s = d.wait_stats(lambda s: s["routes"]["all"]["auth_request_failed"] == 2)
    assert s["backends"]["gate"]["queued"] == 0


def test_another_server_is_asked(rpd, origin):
    o, bad, good = origin(), origin(Moody(503)), origin(Gate())
    gone = origin()
    gone.close()
    d = rpd(door(o, bad, route="retries = 2\nretry_on = connect-failure, 503, reset",
                 backend=f"server = {gone.addr} name=g1\nserver = {good.addr} name=g2"), workers=1)
    for _ in range(6):
        assert d.ask("/").status == 200
    s = d.wait_stats(lambda s: s["backends"]["gate"]["requests_total"] == 6)
    assert s["backends"]["gate"]["retries"] > 0 and s["routes"]["all"]["retries"] == 0


def test_a_kept_connection_that_died(stand):
    def once(conn):
        conn.request()
        conn.reply(b"")
        conn.request()
    d, _, auth, _ = stand(once)
    for _ in range(4):
        assert d.ask("/").status == 200
    assert len(auth.connections) == 4 and len(auth.requests) == 7
    s = d.wait_stats(lambda s: s["backends"]["gate"]["requests_total"] == 4)
    assert s["backends"]["gate"]["servers"]["g0"]["failures"] == 0


# ---- the client leaves, the worker too ----

def test_a_client_that_leaves_frees_everything(stand):
    d, o, auth, _ = stand(Moody("hang"))
    for i in range(3):
        client = d.client()
        client.send(request_bytes("POST", body=b"x"))
        auth.wait_requests(i + 1)
        client.reset()
    s = d.wait_stats(lambda s: s["backends"]["gate"]["active"] == 0
                     and s["routes"]["all"]["active"] == 0)
    assert s["routes"]["all"]["requests_total"] == 3
    assert s["backends"]["gate"]["servers"]["g0"]["failures"] == 0
    assert s["routes"]["all"]["auth_request_failed"] == 0
    assert not o.connections
    for conn in auth.connections:
        assert conn.is_ended.wait(10)


def test_a_reload_and_a_stop_meanwhile(stand):
    d, o, auth, holder = stand(Holder())
    pid = d.worker_pids()[0]
    with d.client() as client:
        client.send(request_bytes())
        auth.wait_requests(1)
        d.reload(door(o, auth, route="deny = 10.0.0.0/8"))
        d.reload(plain(o))  # its backend is there no more
        holder.gate.release()
        assert client.response().status == 200
        assert is_alive(pid)
    with d.client() as client:
        d.reload(door(o, auth))
        client.send(request_bytes())
        auth.wait_requests(2)
        d.signal(signal.SIGTERM)
        d.wait_exit()


def test_many_at_once(stand):
    d, o, auth, gate = stand(workers=2, route=WHO)
    gate.says = lambda req: (
        ("200 OK", [("X-User", req.target)], b"") if int(req.target[1:]) % 3
        else ("403 No", (), req.target.encode()))
    bad = []

    def run(base):
        with d.client() as client:
            for i in range(base, base + 50):
                res = client.ask(f"/{i}", headers=[("X-User", "root")])
                if i % 3 == 0 and (res.status, res.body) != (403, f"/{i}".encode()):
                    bad.append((i, res))
                if i % 3 and (res.status != 200 or f'["X-User", "/{i}"]' not in res.body.decode()
                              or "root" in res.body.decode()):
                    bad.append((i, res))
    threads = [threading.Thread(target=run, args=(n * 50,)) for n in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not bad
    s = d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 400)
    assert s["routes"]["all"]["auth_request_denied"] == 134
    assert s["backends"]["gate"]["requests_total"] == 400


def test_over_tls(rpd, origin, pki):
    o, auth = origin(), origin(Gate(headers=[("X-User", "ann")]), leaf=pki.good)
    d = rpd(door(o, auth, route=WHO, backend="tls = on\ntls_verify = off"))
    assert d.ask("/").status == 200 and o.last().get("X-User") == "ann"
