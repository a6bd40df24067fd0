"""Redirects: where they lead, by which status, and that nothing of a request breaks out of them."""

import pytest

SITE = """
[listener web]
bind = @web@
trusted_proxies = 127.0.0.1

[route https]
path = /
redirect = https

[route port]
path = /port
redirect = https:8443

[route header]
path = /h
redirect = 302 /next?to=$header_x_to&from=$uri

[route host]
path = /host
redirect = 307 http://www.$host/

[route plain]
path = /plain
redirect = 303 /elsewhere
"""


@pytest.fixture(scope="module")
def up(shared_rpd):
    return shared_rpd(SITE)


@pytest.mark.parametrize("method, status", [
    ("GET", 301), ("HEAD", 301), ("POST", 308), ("PUT", 308), ("DELETE", 308), ("OPTIONS", 308),
    ("PROPFIND", 308)])
def test_https_keeps_the_method_of_what_is_not_read(up, method, status):
    body = b"x" if method in ("POST", "PUT") else None
    res = up.ask("/a?b=c", method=method, body=body, host="app.test")
    assert (res.status, res.get("Location")) == (status, "https://app.test/a?b=c")
    assert res.body == b""


@pytest.mark.parametrize("target, host, want", [
    ("/", "app.test", "https://app.test/"),
    ("/a%2fb/../c//d?e=//f", "app.test:8080", "https://app.test/c/d?e=//f"),
    ("/x", "[2001:db8::1]", "https://[2001:db8::1]/x"),
    ("/x", "[2001:db8::1]:8080", "https://[2001:db8::1]/x"),
    ("/x", "192.0.2.1:80", "https://192.0.2.1/x"),
    ("http://other.test:81/x", "other.test:81", "https://other.test/x"),
    ("/port/x?y", "app.test:8080", "https://app.test:8443/port/x?y"),
    ("/port", "[::1]:1", "https://[::1]:8443/port"),
])
def test_https_keeps_host_path_and_query(up, target, host, want):
    assert up.ask(target, host=host).get("Location") == want


def test_https_of_the_asterisk(up):
    res = up.ask("*", method="OPTIONS", host="app.test")
    assert (res.status, res.get("Location")) == (308, "https://app.test")


def test_what_came_by_https_is_not_sent_round_for_ever(up):
    res = up.ask("/x", headers=[("X-Forwarded-Proto", "https")])
    assert res.status == 404 and not res.has("Location")
    assert "it came by https already" in res.get("Proxy-Status")


@pytest.mark.parametrize("target", ["/", "/port", "/host"])
def test_without_a_host_there_is_nowhere_to_go(up, target):
    res = up.ask(target, host=None, version="1.0")
    assert res.status == 400 and not res.has("Location")
    assert "the redirect needs a Host" in res.get("Proxy-Status")


def test_where_no_host_is_needed_none_is_asked_for(up):
    res = up.ask("/plain", host=None, version="1.0")
    assert (res.status, res.get("Location")) == (303, "/elsewhere")


@pytest.mark.parametrize("value, want", [
    ("/ok?a=1#b", "/ok?a=1#b"), ("a b\tc", "a%20b%09c"), ('"<x>"', "%22%3Cx%3E%22"),
    ("50%", "50%25"), ("\xe9", "%E9"), ("\\\\evil", "%5C%5Cevil")])
def test_values_are_escaped(up, value, want):
    res = up.ask("/h", headers=[("X-To", value)])
    assert res.get("Location") == f"/next?to={want}&from=/h"


def test_host_is_in_lower_case(up):
    assert up.ask("/host", host="App.Test:1").get("Location") == "http://www.app.test/"


def test_a_listener_with_tls_is_no_hindrance_beside_one_without(site, pki):
    certificate = pki.good
    text = f"""
        [listener web]
        bind = @web@
        [listener tls]
        bind = @tls@
        tls = on
        certificate = c
        [certificate c]
        cert = {certificate.chain}
        key = {certificate.key}
        [route all]
        redirect = https
        """
    done = site(text).check()
    assert done.returncode == 0, done.stderr
    done = site(text.replace("redirect", "listener = tls\n        redirect")).check()
    assert done.returncode == 1
    assert "[route all] redirect: leads back here for ever" in done.stderr
