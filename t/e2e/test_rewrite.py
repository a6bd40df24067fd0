"""Rewritten paths: what the server gets, what everybody else still sees, and what is refused."""

import json

import pytest

from harness.util import wait_until

SITE = """
[global]
access_log = @dir@/access.log
access_log_format = $status $uri $path

[listener web]
bind = @web@

[route prefix]
path = /api/v1
rewrite = prefix /internal
backend = pool
request_header = set X-Uri: $uri
response_header = set X-Path: $path

[route strip]
path = /strip
rewrite = prefix /
backend = pool

[route root]
path = /
host = root.test
rewrite = prefix /all/
backend = pool

[route regex]
path = /shop
rewrite = regex ^/shop/(\\w+)/(.*)$ /item/$2.$1$$
backend = pool

[route query]
path = /q
rewrite = regex ^/q/([^/]*)(/keep)?$ /search?q=$1&from=$host&old=$query
backend = pool

[route bare]
path = /bare
rewrite = regex ^/bare(.*) /x$1?
backend = pool

[route values]
path = /v
rewrite = regex .* /by/$header_x_who/$0
backend = pool

[route slashes]
path = /s
rewrite = regex ^/s(.*) $1
backend = pool

[route leaky]
path = /leak
rewrite = regex ^/leak/(.*) /files$1
backend = pool

[route slow]
path = /slow
rewrite = regex ^/slow/(a+)+$ /fast
backend = pool

[backend pool]
server = POOL
"""


def sent(up, server, target, headers=(), host="test", method="GET"):
    """The target that the server got."""
    before = len(server.requests)
    assert up.ask(target, headers=headers, host=host, method=method).status == 200
    return server.wait_requests(before + 1)[before].target


@pytest.mark.parametrize("target, want", [
    ("/api/v1", "/internal"),
    ("/api/v1/", "/internal/"),
    ("/api/v1/users", "/internal/users"),
    ("/api/v1/users/?a=/api/v1&b", "/internal/users/?a=/api/v1&b"),
    ("/api/v1?a", "/internal?a"),
    ("/api/%761//users/./x%2fy", "/internal/users/x%2Fy"),
    ("/strip", "/"),
    ("/strip/", "/"),
    ("/strip?a=b", "/?a=b"),
    ("/strip/a/b?c", "/a/b?c"),
    ("//strip//a", "/a"),
])
def test_a_prefix_is_replaced_by_whole_segments(up, server, target, want):
    assert sent(up, server, target) == want


@pytest.mark.parametrize("target, want", [
    ("/", "/all/"), ("/?x", "/all/?x"), ("/a/b", "/all/a/b"),
])
def test_of_the_root_nothing_is_taken_away(up, server, target, want):
    assert sent(up, server, target, host="root.test") == want


@pytest.mark.parametrize("target, want", [
    ("/shop/shoes/7", "/item/7.shoes$"),
    ("/shop/shoes/7?size=42", "/item/7.shoes$?size=42"),
    ("/shop/shoes/7%20a%0d%0a", "/item/7%20a%0D%0A.shoes$"),
    ("/shop", "/shop"),
    ("/shop?x=/shop/a/b", "/shop?x=/shop/a/b"),
    ("/q/tea", "/search?q=tea&from=test&old="),
    ("/q/tea/keep?n=1&m=#", "/search?q=tea&from=test&old=n=1&m=%23"),
    ("/bare/y?gone", "/x/y"),
    ("/s/a", "/a"),
    ("/s/?x", "/?x"),
    ("/s", "/"),
])
def test_a_pattern_makes_the_path_and_its_query(up, server, target, want):
    if "#" in target:
        target = target.replace("#", "%23")
    assert sent(up, server, target) == want


@pytest.mark.parametrize("who, want", [
    ("me", "/by/me/v"),
    ("a b", "/by/a%20b/v"),
    ("a?b#c", "/by/a%3Fb%23c/v"),
    ("100%", "/by/100%25/v"),
    ("100%25", "/by/100%25/v"),
    ('"<\xff\t>', "/by/%22%3C%FF%09%3E/v"),
    ("/x//y", "/by/x/y/v"),
    ("", "/by/v"),
])
def test_values_stay_in_their_place(up, server, who, want):
    assert sent(up, server, "/v", headers=[("X-Who", who)]) == want


@pytest.mark.parametrize("who", ["..", "../../etc", "%2e%2E/x", ".", "a/./b", "%2f..", "a\\..\\b"])
def test_values_do_not_lead_elsewhere(up, server, who):
    before = len(server.heads)
    res = up.ask("/v", headers=[("X-Who", who)])
    assert res.status == 400
    assert 'details="bad request: its rewritten path leads elsewhere"' in res.get("Proxy-Status")
    assert len(server.heads) == before


def test_a_path_may_hold_dots_that_no_segment_is_made_of(up, server):
    assert sent(up, server, "/leak/a..b") == "/filesa..b"
    assert sent(up, server, "/leak/..%2e") == "/files..."


def test_a_costly_path_is_refused(up, server):
    before = up.stats()["listeners"]["web"]["bad_requests"]
    seen = len(server.heads)
    res = up.ask("/slow/" + "a" * 64 + "b")
    assert res.status == 400 and len(server.heads) == seen
    assert "costs the rewrite's pattern too much" in res.get("Proxy-Status")
    up.wait_stats(lambda s: s["listeners"]["web"]["bad_requests"] == before + 1)
    assert sent(up, server, "/slow/aaaa") == "/fast"


def test_all_but_the_server_see_what_the_client_asked_for(up, server):
    before = len(server.requests)
    res = up.ask("/api/v1/who%7E?a=1")
    assert res.get("X-Path") == "/api/v1/who~"
    got = server.wait_requests(before + 1)[before]
    assert (got.target, got.get("X-Uri")) == ("/internal/who~?a=1", "/api/v1/who~?a=1")
    log = up.dir / "access.log"
    wait_until(lambda: "200 /api/v1/who~?a=1 /api/v1/who~\n" in log.read_text())


def test_the_asterisk_stays(rpd, origin):
    o = origin()
    d = rpd(f"[listener web]\nbind = @web@\n[route all]\nrewrite = regex .* /x\n"
            f"backend = pool\n[backend pool]\nserver = {o.addr}\n")
    assert d.ask("*", method="OPTIONS").status == 200
    assert o.last().target == "*"
    assert d.ask("/").status == 200 and o.last().target == "/x"


def test_another_try_gets_the_same_path(rpd, origin):
    def bad(conn):
        conn.request()
        conn.reply(status="503 No")

    first, second = origin(bad), origin()
    d = rpd(f"[listener web]\nbind = @web@\n[route all]\npath = /a\nrewrite = prefix /b\n"
            f"retry_on = 503\nbackend = pool\nbuffer_request = on\n"
            f"[backend pool]\nserver = {first.addr}, {second.addr} backup\n")
    assert d.ask("/a/x", method="PUT", body=b"hello").status == 200
    assert first.last().target == second.last().target == "/b/x"


def test_a_reload_changes_it(rpd, origin):
    o = origin()
    text = (f"[listener web]\nbind = @web@\n[route all]\npath = /a\nrewrite = prefix /b\n"
            f"backend = pool\n[backend pool]\nserver = {o.addr}\n")
    d = rpd(text)
    with d.client() as client:
        assert client.ask("/a/x").status == 200 and o.last().target == "/b/x"
        d.reload(text.replace("prefix /b", "regex ^/a(.*) /c$1"))
        assert client.ask("/a/x").status == 200 and o.last().target == "/c/x"
        d.reload(text.replace("rewrite = prefix /b", "rewrite ="))
        assert client.ask("/a/x").status == 200 and o.last().target == "/a/x"
    assert json.dumps(d.stats()["routes"]["all"]["requests_total"]) == "3"
