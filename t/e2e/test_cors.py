"""CORS: preflights are answered here, answers say who may read them, and nobody else does."""

import socket

import pytest

SITE = """
[listener web]
bind = @web@

[route api]
path = /api
cors = https://app.test, https://*.example.com, http://localhost:3000
cors_methods = GET, PUT, DELETE
cors_headers = Content-Type, X-Token
cors_expose = X-Total, ETag
cors_credentials = on
cors_max_age = 10m
backend = pool

[route open]
path = /open
cors = *
backend = pool

[route text]
path = /text
cors = https://app.test
cors_headers =
respond = 200 hi
response_header = set X-Own: 1, set Access-Control-Max-Age: 1

[route stripped]
path = /stripped
cors = https://app.test
request_header = remove Origin
backend = pool

[route denied]
path = /denied
cors = https://app.test
deny = all
backend = pool

[route down]
path = /down
cors = https://app.test
backend = down

[route put]
path = /put
method = PUT
cors = https://app.test
cors_methods = PUT
auth_request = down
backend = pool

[route none]
path = /none
backend = pool

[backend pool]
server = POOL
[backend down]
server = DOWN
"""
APP = "https://app.test"
NAMES = ("Allow-Origin", "Allow-Credentials", "Allow-Methods", "Allow-Headers", "Expose-Headers",
         "Max-Age")


def says_all(conn):
    """An origin that has its own idea of CORS."""
    while True:
        req = conn.request()
        conn.reply("ok", headers=[
            ("Access-Control-Allow-Origin", "https://other.test"),
            ("access-control-allow-credentials", "yes"), ("Access-Control-Expose-Headers", "*"),
            ("Access-Control-Allow-Methods", "X"), ("Access-Control-Allow-Headers", "X"),
            ("Access-Control-Max-Age", "9"), ("Vary", req.get("X-Vary", "Accept"))])


@pytest.fixture(scope="module")
def server(shared_origin):
    return shared_origin(says_all)


@pytest.fixture(scope="module")
def up(shared_rpd, server):
    with socket.socket() as held:  # bound and not listening: refused
        held.bind(("127.0.0.1", 0))
        yield shared_rpd(SITE.replace("POOL", server.addr)
                         .replace("DOWN", f"127.0.0.1:{held.getsockname()[1]}"))


def cors(res):
    """What it says of CORS, each at most once."""
    got = {}
    for name in NAMES:
        values = res.all("Access-Control-" + name)
        assert len(values) <= 1
        if values:
            got[name] = values[0]
    return got


def preflight(up, path, origin, method="PUT", headers=()):
    return up.ask(path, method="OPTIONS", headers=[
        ("Origin", origin), ("Access-Control-Request-Method", method), *headers])


def vary(res):
    return [item.strip() for value in res.all("Vary") for item in value.split(",")]


def test_a_preflight_is_answered_here(up, server):
    before, seen = up.stats()["routes"]["api"]["preflights"], len(server.heads)
    res = preflight(up, "/api/x", APP)
    assert (res.status, res.body, vary(res)) == (204, b"", ["Origin"])
    assert not res.has("Content-Length") and not res.has("Content-Type")
    assert cors(res) == {
        "Allow-Origin": APP, "Allow-Credentials": "true", "Allow-Methods": "GET, PUT, DELETE",
        "Allow-Headers": "Content-Type, X-Token", "Max-Age": "600"}
    assert len(server.heads) == seen
    up.wait_stats(lambda s: s["routes"]["api"]["preflights"] == before + 1)


def test_preflights_on_one_connection(up):
    with up.client() as client:
        for _ in range(3):
            res = client.ask("/open", method="OPTIONS", headers=[
                ("Origin", APP), ("Access-Control-Request-Method", "GET")])
            assert res.status == 204
        assert client.ask("/open").status == 200


def test_a_preflight_is_for_the_route_of_what_it_asks_for(up):
    res = preflight(up, "/put", APP)
    assert (res.status, cors(res)["Allow-Methods"]) == (204, "PUT")
    assert preflight(up, "/put", APP, "DELETE").status == 404
    assert up.ask("/put", method="OPTIONS").status == 404
    res = up.ask("/put", method="PUT", body=b"x", headers=[("Origin", APP)])
    assert res.status in (502, 503) and cors(res)["Allow-Origin"] == APP


def test_defaults_of_a_preflight(up):
    res = preflight(up, "/open", "https://any.test")
    assert cors(res) == {"Allow-Origin": "*", "Allow-Methods": "GET, HEAD, POST",
                         "Allow-Headers": "Content-Type", "Max-Age": "3600"}
    assert vary(res) == []


def test_rules_have_the_last_word(up):
    res = preflight(up, "/text", APP)
    assert cors(res) == {"Allow-Origin": APP, "Allow-Methods": "GET, HEAD, POST", "Max-Age": "1"}
    assert res.get("X-Own") == "1"


@pytest.mark.parametrize("method, headers", [
    ("OPTIONS", [("Origin", APP)]),
    ("OPTIONS", [("Access-Control-Request-Method", "PUT")]),
    ("GET", [("Origin", APP), ("Access-Control-Request-Method", "PUT")]),
])
def test_what_is_no_preflight_goes_to_the_server(up, server, method, headers):
    seen = len(server.requests)
    assert up.ask("/api", method=method, headers=headers).body == b"ok"
    assert server.wait_requests(seen + 1)[seen].method == method


@pytest.mark.parametrize("origin", [
    APP, "https://a.example.com", "https://a.b-c.example.com", "http://localhost:3000"])
def test_answers_to_who_may_read_them(up, origin):
    res = up.ask("/api", headers=[("Origin", origin)])
    assert (res.status, res.body) == (200, b"ok")
    assert cors(res) == {"Allow-Origin": origin, "Allow-Credentials": "true",
                         "Expose-Headers": "X-Total, ETag"}
    assert vary(res) == ["Accept", "Origin"]


@pytest.mark.parametrize("origin", [
    "https://app.test:443", "http://app.test", "https://app.test.evil", "https://example.com",
    "https://.example.com", "https://evil-example.com", "http://a.example.com", "null", "*",
    "https://a.example.com:8443", "https://evil.test/.example.com", "https://x@a.example.com",
    "https://APP.test", "http://localhost", "http://localhost:30000", "https://*.example.com", ""])
def test_others_are_told_nothing(up, server, origin):
    res = up.ask("/api", headers=[("Origin", origin)])
    assert (res.status, cors(res), vary(res)) == (200, {}, ["Accept", "Origin"])
    seen = len(server.heads)
    res = preflight(up, "/api", origin)
    assert (res.status, cors(res), vary(res)) == (204, {}, ["Origin"])
    assert len(server.heads) == seen


def test_without_an_origin_the_answer_varies_all_the_same(up):
    res = up.ask("/api")
    assert (cors(res), vary(res)) == ({}, ["Accept", "Origin"])
    assert cors(up.ask("/open")) == {"Allow-Origin": "*"}


@pytest.mark.parametrize("said, want", [
    ("origin, Accept", ["origin", "Accept"]), ("*", ["*"]), ("X-Origin", ["X-Origin", "Origin"])])
def test_vary_says_it_once(up, said, want):
    res = up.ask("/api", headers=[("Origin", APP), ("X-Vary", said)])
    assert vary(res) == want


def test_an_answer_made_here_may_be_read(up):
    res = up.ask("/text", headers=[("Origin", APP)])
    assert (res.body, vary(res)) == (b"hi", ["Origin"])
    assert cors(res)["Allow-Origin"] == APP


@pytest.mark.parametrize("path, status", [("/denied", 403), ("/down", 503)])
def test_errors_made_here_may_be_read(up, path, status):
    res = up.ask(path, headers=[("Origin", APP)])
    assert res.status == status and cors(res) == {"Allow-Origin": APP}
    assert cors(up.ask(path, headers=[("Origin", "https://evil.test")])) == {}


def test_what_rules_take_from_the_server_is_known_here(up, server):
    res = up.ask("/stripped", headers=[("Origin", APP)])
    assert cors(res)["Allow-Origin"] == APP
    assert not server.last().has("Origin")


def test_a_route_without_it_passes_on_what_the_server_says(up, server):
    res = up.ask("/none", headers=[("Origin", APP)])
    assert cors(res)["Allow-Origin"] == "https://other.test" and vary(res) == ["Accept"]
    seen = len(server.heads)
    assert preflight(up, "/none", APP).body == b"ok" and len(server.heads) == seen + 1


def test_a_default_backend_has_it_by_the_defaults(rpd, origin):
    o = origin()
    d = rpd(f"""
        [listener web]
        bind = @web@
        default_backend = pool
        [defaults route]
        cors = https://app.test
        [backend pool]
        server = {o.addr}
        """)
    assert preflight(d, "/x", APP).status == 204 and not o.heads
    assert cors(d.ask("/x", headers=[("Origin", APP)])) == {"Allow-Origin": APP}
