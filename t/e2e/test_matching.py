"""Every key by which a route is matched, and which goes first."""

import pytest

from harness.client import request_bytes
from harness.util import wait_until

SITE = """
[listener web]
bind = @web@

[defaults route]
respond = 200 $route

[route any]

[route prefix]
path = /shop

[route exact]
path_exact = /shop/cart

[route pattern]
path_regex = ^/(user|group)/[0-9]+$

[route written]
path = /shop
method = POST, PUT

[route beta]
header = X-Beta: yes, X-Region: ~^eu-

[route beta-there]
header = X-Beta

[route socket]
header = Upgrade: websocket

[route query]
query = v=~^[23]$, debug

[route one]
query = v=1

[route cookie]
cookie = group=b

[route site]
host = site.test
path = /only

[route wild]
host = *.site.test
"""


@pytest.fixture(scope="module")
def up(shared_rpd):
    return shared_rpd(SITE)


def taken(up, target="/", method="GET", headers=(), host="test"):
    res = up.ask(target, method=method, headers=headers, host=host)
    assert res.status == 200
    return res.body.decode().strip()


@pytest.mark.parametrize("target, route", [
    ("/", "any"), ("/shop", "prefix"), ("/shop/", "prefix"), ("/shop/x", "prefix"),
    ("/shopping", "any"), ("/shop/cart", "exact"), ("/shop/cart/", "prefix"),
    ("/shop/cart?x", "exact"), ("/shop//c%61rt", "exact"), ("/user/17", "pattern"),
    ("/group/1?x", "pattern"), ("/user/x", "any"), ("/x/user/17", "any"),
    ("/?v=1", "one"), ("/?v=2", "any"), ("/?debug&v=2", "query"), ("/?v=%33&debug=on", "query"),
    ("/shop?v=1", "prefix"), ("/x?w=1&v=1&v=4", "one"),
])
def test_paths_and_queries(up, target, route):
    assert taken(up, target) == route


@pytest.mark.parametrize("method, target, route", [
    ("POST", "/shop", "written"), ("PUT", "/shop/x", "written"), ("DELETE", "/shop", "prefix"),
    ("POST", "/shop/cart", "exact"), ("POST", "/", "any"),
])
def test_methods(up, method, target, route):
    assert taken(up, target, method) == route


@pytest.mark.parametrize("headers, route", [
    ([("X-Beta", "yes")], "beta-there"),
    ([("x-beta", "yes"), ("X-REGION", "eu-west")], "beta"),
    ([("X-Beta", "no"), ("X-Beta", "yes"), ("X-Region", "eu-west")], "beta"),
    ([("X-Beta", "yes"), ("X-Region", "us-east")], "beta-there"),
    ([("X-Beta", "Yes"), ("X-Region", "eu-west")], "beta-there"),
    ([("Cookie", "a=1; group=b")], "cookie"),
    ([("Cookie", "a=1"), ("Cookie", "group=b")], "cookie"),
    ([("Cookie", "group=c")], "any"),
    ([("X-Beta", "yes"), ("Cookie", "group=b")], "beta-there"),
])
def test_fields_and_cookies(up, headers, route):
    assert taken(up, headers=headers) == route


def test_a_field_of_the_connection_that_routes_may_ask_for(up):
    with up.client() as client:
        client.send(request_bytes(headers=[("Connection", "Upgrade"), ("Upgrade", "websocket")]))
        assert client.response("GET").body.strip() == b"socket"


def test_a_host_without_a_route_for_the_path_leaves_it_to_the_next(up):
    assert taken(up, "/only", host="site.test") == "site"
    assert taken(up, "/shop", host="site.test") == "prefix"
    assert taken(up, "/shop", host="a.site.test") == "wild"


def test_what_no_route_takes_is_404_or_default_backend(rpd, origin):
    o = origin()
    text = """
        [listener web]
        bind = @web@
        {}
        [route posts]
        method = POST
        backend = pool
        [backend pool]
        server = {}
        """
    d = rpd(text.format("", o.addr))
    assert d.ask().status == 404
    assert d.ask(method="POST", body=b"x").status == 200
    d.reload(text.format("default_backend = pool", o.addr))
    assert d.ask().status == 200


def test_routes_count_what_they_took(rpd):
    d = rpd(SITE)
    for target in ("/shop", "/user/1", "/user/2", "/?v=1"):
        d.ask(target)
    stats = d.wait_stats(lambda s: s["listeners"]["web"]["requests_total"] == 4)
    took = {name: r["requests_total"] for name, r in stats["routes"].items()
            if r["requests_total"]}
    assert took == {"prefix": 1, "pattern": 2, "one": 1}


def test_a_pattern_without_end_is_given_up_and_told_once(rpd):
    d = rpd("""
        [listener web]
        bind = @web@
        [defaults route]
        respond = 200 $route
        [route heavy]
        path_regex = ^(/|/a|a|a|aa)*$
        [route rest]
        """, workers=1)
    target = "/" + "a" * 400 + "!"
    for _ in range(3):
        assert taken(d, target) == "rest"
    assert taken(d, "/aaa") == "heavy"
    wait_until(lambda: "[route heavy]: a pattern takes more work" in d.stderr())
    assert d.stderr().count("a pattern takes more work") == 1


def test_what_a_pattern_caught_may_stand_in_values(rpd, origin):
    o = origin()
    d = rpd(f"""
        [listener web]
        bind = @web@
        [route old]
        path_regex = ^/old/(?:([a-z]+)/)?([0-9]+)$
        redirect = 301 https://new.test/$2/$1?from=$0
        [route sent]
        path_regex = ^/(\\w+)/api(/.*)?$
        request_header = set X-Tenant: $1
        response_header = set X-Rest: <$2>
        rewrite = regex ^/\\w+/(.*)$ /$1
        backend = pool
        [backend pool]
        server = {o.addr}
        """)
    assert d.ask("/old/abc/12").get("Location") == "https://new.test/12/abc?from=/old/abc/12"
    assert d.ask("/old/12").get("Location") == "https://new.test/12/?from=/old/12"
    res = d.ask("/acme/api/%78?q")
    assert res.get("X-Rest") == "</x>"
    assert o.last().get("X-Tenant") == "acme" and o.last().target == "/api/x?q"
    assert d.ask("/acme/api").get("X-Rest") == "<>"


def test_a_reload_changes_what_is_matched(rpd):
    text = """
        [listener web]
        bind = @web@
        [defaults route]
        respond = 200 $route
        [route a]
        header = X-A: {}
        [route b]
        """
    d = rpd(text.format("~^1"))
    assert taken(d, headers=[("X-A", "12")]) == "a"
    d.reload(text.format("~^2"))
    assert taken(d, headers=[("X-A", "12")]) == "b"
    assert taken(d, headers=[("X-A", "2")]) == "a"


def test_the_running_configuration_shows_the_keys(rpd):
    d = rpd(SITE)
    shown = d.ctl("config").stdout
    for line in ("path_exact = /shop/cart", "path_regex = ^/(user|group)/[0-9]+$",
                 "method = POST", "method = PUT", "header = X-Beta: yes", "header = X-Beta",
                 "header = X-Region: ~^eu-", "query = v=~^[23]$", "query = debug",
                 "cookie = group=b"):
        assert f"\n{line}\n" in shown, line
