"""Paths in their normal form: what is routed, sent on, logged and refused."""

import pytest

from harness.client import request_bytes
from harness.util import wait_until

SITE = """
[listener web]
bind = @web@
default_backend = pool

[route api]
path = /api
backend = pool
response_header = set X-Route: api, set X-Path: $path, set X-Uri: $uri

[route admin]
path = /api/admin
respond = 403 no

[route raw]
path = /raw
raw_path = on
backend = pool
response_header = set X-Route: raw, set X-Path: $path

[route redirected]
path = /gone
redirect = 301 https://$host$uri

[route accents]
path = /café%2fx
respond = 200 accents

[backend pool]
server = POOL
"""


@pytest.mark.parametrize("target, sent, route", [
    ("/", "/", None),
    ("/api/x?q=%7e/../y", "/api/x?q=%7e/../y", "api"),
    ("/%61pi/%7Ex", "/api/~x", "api"),
    ("//api///x//", "/api/x/", "api"),
    ("/a/../api/./x", "/api/x", "api"),
    ("/api/admin/../x", "/api/x", "api"),
    ("/api/..", "/", None),
    ("/api/%2e%2E/x?/../", "/x?/../", None),
    ("/api/a%2fb%3a", "/api/a%2Fb%3A", "api"),
    ("/api%2fadmin", "/api%2Fadmin", None),
    ("/api/a\\b", "/api/a\\b", "api"),
    ("http://test/x/../api//%41", "/api/A", "api"),
    ("http://test", "/", None),
    ("http://test?a=//", "/?a=//", None),
])
def test_routed_and_sent_on_in_normal_form(up, server, target, sent, route):
    res = up.ask(target)
    assert res.status == 200
    assert server.last().target == sent
    assert res.get("X-Route") == route
    if route:
        assert res.get("X-Path") == sent.split("?")[0]
        assert res.get("X-Uri") == sent


@pytest.mark.parametrize("target", [
    "/api/admin", "/api//admin", "/api/./admin/x", "/api/x/../admin", "/%61pi/%61dmin",
    "/api/%2e/admin", "//api/admin/", "/x/%2e%2e/api/admin",
])
def test_no_way_around_a_route(up, target):
    assert up.ask(target).status == 403


@pytest.mark.parametrize("target", ["/raw//a/../b%7e?c=%7e", "/raw/%61%2f", "/x/..//raw/./"])
def test_raw_path_is_sent_as_it_came(up, server, target):
    res = up.ask(target)
    assert (res.status, res.get("X-Route")) == (200, "raw")
    assert server.last().target == target
    assert ".." not in res.get("X-Path"), "variables hold the normal form"


def test_redirect_goes_to_the_normal_form(up):
    res = up.ask("/gone//%7e/x/../?a=//")
    assert res.get("Location") == "https://test/gone/~/?a=//"


@pytest.mark.parametrize("target", ["/caf%c3%a9%2Fx", "/caf%C3%A9%2fx/y"])
def test_a_route_s_path_is_brought_into_the_same_form(up, target):
    assert up.ask(target).body.strip() == b"accents"


@pytest.mark.parametrize("target, why", [
    ("/..", "leads above"), ("/api/../../x", "leads above"), ("/%2e%2e/x", "leads above"),
    ("/..%2fx", "leads above"), ("/..\\x", "leads above"), ("/%5c../x", "leads above"),
    ("/..;/x", "leads above"), ("/raw/../..", "leads above"),
    ("http://test/..//x", "leads above"),
    ("/api/..%2fx", "hides a"), ("/api/..;/x", "hides a"), ("/raw/a\\..\\x", "hides a"),
    ("/%", "hexadecimal"), ("/api/%4", "hexadecimal"), ("/%zz?x", "hexadecimal"),
    ("/%00", "NUL"), ("/api/%00", "NUL"),
])
def test_refused(up, server, target, why):
    before = up.stats()["listeners"]["web"]["bad_requests"]
    asked = len(server.requests)
    res = up.ask(target)
    assert res.status == 400
    assert why in res.get("Proxy-Status")
    up.wait_stats(lambda s: s["listeners"]["web"]["bad_requests"] == before + 1)
    assert len(server.requests) == asked


def test_the_asterisk_has_no_normal_form(up, server):
    with up.client() as client:
        client.send(request_bytes("OPTIONS", "*"))
        assert client.response("OPTIONS").status == 200
    assert server.last().target == "*"


def test_the_log_has_the_normal_form_and_what_was_refused_as_it_came(rpd):
    d = rpd("""
        [global]
        access_log = @dir@/access.log
        access_log_format = $status $path $uri
        [listener web]
        bind = @web@
        [route all]
        respond = 200 ok
        """)
    d.ask("/a//%62/../c?d=//")
    d.ask("/..%2f?x")
    log = d.dir / "access.log"
    wait_until(lambda: log.exists() and len(log.read_text().splitlines()) == 2)
    assert sorted(log.read_text().splitlines()) == ["200 /a/c /a/c?d=//", "400 /..%2f /..%2f?x"]
