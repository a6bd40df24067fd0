"""Header fields: what is removed, added, changed; Host; variables."""

import json
import re

import pytest

from harness.client import request_bytes
from harness.daemon import plain
from harness.origin import canned

FORWARDED = ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Request-Id"]


def fields(res, name):
    """Values of a field of the request as the echo origin saw it."""
    return [v for n, v in json.loads(res.body)["headers"] if n.lower() == name.lower()]


@pytest.fixture(scope="module")
def up(shared_rpd, shared_origin):
    return shared_rpd(plain(shared_origin()))


# ---- hop-by-hop ----

@pytest.mark.parametrize("name, value", [
    ("Connection", "keep-alive"), ("Keep-Alive", "timeout=5"), ("Proxy-Connection", "keep-alive"),
    ("TE", "gzip"), ("Upgrade", "foo/2"),
])
def test_hop_by_hop_field_of_a_request_ends_here(up, name, value):
    assert value not in fields(up.ask(headers=[(name, value)]), name)


def test_fields_named_by_connection_end_here(up):
    res = up.ask(headers=[("Connection", "X-Hop, close"), ("X-Hop", "1"), ("x-hop", "2"),
                          ("X-Stay", "3")])
    assert fields(res, "X-Hop") == []
    assert fields(res, "X-Stay") == ["3"]


def test_several_connection_fields_count(up):
    res = up.ask(headers=[("Connection", "X-A"), ("connection", " X-B ,,"), ("X-A", "1"),
                          ("X-B", "2")])
    assert fields(res, "X-A") == fields(res, "X-B") == []


@pytest.mark.parametrize("name", ["Host", "Content-Length", "Transfer-Encoding"])
def test_connection_cannot_remove_what_framing_and_routing_need(up, name):
    with up.client() as client:
        client.send(request_bytes("POST", "/x", [("Connection", name)], body=b"abc"))
        res = client.response()
    if res.status == 200:
        assert fields(res, "Host") == ["test"]
        assert json.loads(res.body)["length"] == 3
    else:
        assert res.status == 400


@pytest.mark.parametrize("name", [*FORWARDED, "Via"])
def test_connection_cannot_remove_what_rpd_adds(up, name):
    res = up.ask(headers=[("Connection", f"close, {name}")])
    assert len(fields(res, name)) == 1


def test_hop_by_hop_fields_of_a_response_end_here(rpd, origin):
    o = origin(canned(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: X-Hop, keep-alive\r\n"
                      b"Keep-Alive: timeout=99\r\nX-Hop: 1\r\nProxy-Connection: x\r\nX-Stay: 2\r\n"
                      b"Upgrade: h2c\r\n\r\nok"))
    with rpd(plain(o)).client() as client:
        res = client.ask()
        assert not res.has("X-Hop") and not res.has("Proxy-Connection")
        assert "timeout=99" not in res.all("Keep-Alive")
        assert "x-hop" not in res.options("Connection")
        assert res.get("X-Stay") == "2"
        assert client.ask().body == b"ok"


def test_te_trailers_is_kept_or_removed_but_never_other_codings(up):
    got = fields(up.ask(headers=[("TE", "trailers, deflate")]), "TE")
    assert got in ([], ["trailers"])


# ---- the others pass ----

def test_other_fields_pass_unchanged_and_in_order(up):
    sent = [("X-B", "1"), ("X-A", "a, b ,c"), ("X-B", "2"), ("Cookie", "a=b; c=d"),
            ("X-Empty", ""), ("Accept", "*/*"), ("X-Latin", "\xe9\xff"), ("x-lower", 'q="\t"')]
    got = json.loads(up.ask(headers=sent).body)["headers"]
    names = {n for n, _ in sent}
    assert [(n, v) for n, v in got if n in names] == [(n, v.strip()) for n, v in sent]


def test_response_fields_pass_unchanged_and_in_order(rpd, origin):
    o = origin(canned(b"HTTP/1.1 200 Fine By Me\r\nSet-Cookie: a=1\r\nX-Z: 1\r\n"
                      b"Set-Cookie: b=2\r\nServer: origin/1\r\nDate: x\r\n"
                      b"Content-Length: 0\r\n\r\n"))
    res = rpd(plain(o)).ask()
    assert res.all("Set-Cookie") == ["a=1", "b=2"]
    assert (res.reason, res.get("Server"), res.get("Date")) == ("Fine By Me", "origin/1", "x")


def test_a_hundred_fields_pass(up):
    sent = [(f"X-{n}", f"v{n}") for n in range(100)]
    got = json.loads(up.ask(headers=sent).body)["headers"]
    assert [(n, v) for n, v in got if re.match(r"X-\d", n)] == sent


# ---- what is always added ----

def test_forwarded_fields_say_who_asked(up):
    res = up.ask(host="Site.Example:81")
    assert fields(res, "X-Forwarded-For") == ["127.0.0.1"]
    assert fields(res, "X-Forwarded-Proto") == ["http"]
    assert fields(res, "X-Forwarded-Host") == ["Site.Example:81"]
    assert len(fields(res, "X-Request-Id")) == 1
    assert re.search(r"1\.1 \S+", fields(res, "Via")[0])


def test_request_ids_differ(up):
    with up.client() as client:
        ids = {fields(client.ask(), "X-Request-Id")[0] for _ in range(50)}
    assert len(ids) == 50


def test_forwarded_fields_of_strangers_are_replaced(up):
    res = up.ask(headers=[("X-Forwarded-For", "6.6.6.6"), ("x-forwarded-for", "7.7.7.7"),
                          ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "evil"),
                          ("X-Request-Id", "mine")])
    assert fields(res, "X-Forwarded-For") == ["127.0.0.1"]
    assert fields(res, "X-Forwarded-Proto") == ["http"]
    assert fields(res, "X-Forwarded-Host") == ["test"]
    assert fields(res, "X-Request-Id") != ["mine"] and len(fields(res, "X-Request-Id")) == 1


@pytest.fixture(scope="module")
def trusting(shared_rpd, shared_origin):
    return shared_rpd(plain(shared_origin(), listener="trusted_proxies = 10.0.0.0/8, 127.0.0.0/8",
                            route="response_header = set X-Client: $client_ip"))


def test_forwarded_fields_of_trusted_proxies_are_believed(trusting):
    res = trusting.ask(headers=[("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-Proto", "https"),
                                ("X-Forwarded-Host", "front.example"), ("X-Request-Id", "theirs")])
    assert ", ".join(fields(res, "X-Forwarded-For")) == "6.6.6.6, 127.0.0.1"
    assert fields(res, "X-Forwarded-Proto") == ["https"]
    assert fields(res, "X-Forwarded-Host") == ["front.example"]
    assert fields(res, "X-Request-Id") == ["theirs"]


@pytest.mark.parametrize("value, client", [
    ("6.6.6.6", "6.6.6.6"), ("5.5.5.5, 6.6.6.6", "6.6.6.6"), ("6.6.6.6, 10.1.2.3", "6.6.6.6"),
    ("5.5.5.5, 6.6.6.6, 10.1.2.3, 10.4.5.6", "6.6.6.6"), ("2001:db8::1", "2001:db8::1"),
])
def test_client_ip_is_the_last_address_that_is_not_a_trusted_proxy(trusting, value, client):
    assert trusting.ask(headers=[("X-Forwarded-For", value)]).get("X-Client") == client


@pytest.mark.parametrize("value", ["nonsense", "", "1.2.3", "6.6.6.6 7.7.7.7"])
def test_forwarded_for_that_is_no_address_is_not_believed(trusting, value):
    assert trusting.ask(headers=[("X-Forwarded-For", value)]).get("X-Client") == "127.0.0.1"


def test_trusted_proxy_that_says_nothing(trusting):
    res = trusting.ask()
    assert fields(res, "X-Forwarded-For") == ["127.0.0.1"]
    assert fields(res, "X-Forwarded-Proto") == ["http"]
    assert len(fields(res, "X-Request-Id")) == 1


def test_via_is_appended_both_ways(rpd, origin):
    o = origin(canned(b"HTTP/1.1 200 OK\r\nVia: 1.0 back\r\nContent-Length: 0\r\n\r\n"))
    d = rpd(plain(o))
    res = d.ask(headers=[("Via", "1.0 front")])
    assert re.match(r"1\.0 back, 1\.1 \S+", ", ".join(res.all("Via")))
    assert re.match(r"1\.0 front, 1\.1 \S+", ", ".join(o.last().all("Via")))
    res = d.ask(version="1.0")
    assert re.match(r"1\.0 \S+", ", ".join(o.last().all("Via")))


# ---- Host and targets ----

@pytest.mark.parametrize("rule, expected", [
    ("", "Asked.Example:8080"), ("host_header = preserve", "Asked.Example:8080"),
    ("host_header = fixed.example", "fixed.example"), ("host_header = server", None),
    ("host_header = $listener.example", "web.example"),
])
def test_host_header(rpd, origin, rule, expected):
    o = origin()
    d = rpd(plain(o, route=rule), workers=1)
    res = d.ask(host="Asked.Example:8080")
    assert fields(res, "Host") == [expected or o.addr]
    assert fields(res, "X-Forwarded-Host") == ["Asked.Example:8080"]


def test_absolute_form_names_the_host(rpd, origin):
    o = origin()
    d = rpd(plain(o) + "\n[route special]\nhost = special.example\nrespond = 200 special\n")
    assert d.ask("http://special.example/x", host="other.example").body.strip() == b"special"
    res = d.ask("http://Other.example:99/a?b=c", host="special.example")
    assert o.last().target == "/a?b=c"
    assert fields(res, "Host") == ["Other.example:99"]
    d.ask("http://other.example?q=1", host="x")
    assert o.last().target == "/?q=1"
    d.ask("http://other.example", host="x")
    assert o.last().target == "/"


def test_http10_without_host_gets_a_host_for_the_server(rpd, origin):
    o = origin()
    d = rpd(plain(o))
    assert d.ask(version="1.0", host=None).status == 200
    assert len(o.last().all("Host")) == 1


@pytest.mark.parametrize("target", [
    "/", "/%2F/%25%3B", "/?a=b&c=d?e", "/a;b=c,d@e:f!$&'()*+~", "/q?x=%20+%0d%0a/../%zz",
    "/" + "a" * 8000,
])
def test_target_in_normal_form_passes_unchanged(up, target):
    assert json.loads(up.ask(target).body)["target"] == target


@pytest.mark.parametrize("hops, seen", [("0", None), ("1", "0"), ("10", "9")])
def test_max_forwards_of_options_is_counted_down(rpd, origin, hops, seen):
    o = origin()
    res = rpd(plain(o)).ask("/x", "OPTIONS", [("Max-Forwards", hops)])
    assert res.status in (200, 204)
    assert [r.get("Max-Forwards") for r in o.requests] == ([] if seen is None else [seen])


def test_max_forwards_of_other_methods_is_left_alone(up):
    assert fields(up.ask(headers=[("Max-Forwards", "0")]), "Max-Forwards") == ["0"]


# ---- rules ----

def test_request_header_rules(rpd, origin):
    o = origin()
    d = rpd(plain(o, route="""
        request_header = set X-Set: new
        request_header = add X-Add: more
        request_header = remove X-Gone
        request_header = set User-Agent: rpd test
        """))
    d.ask(headers=[("X-Set", "old"), ("x-set", "older"), ("X-Add", "first"), ("x-gone", "1"),
                   ("X-Gone", "2"), ("User-Agent", "curl")])
    req = o.last()
    assert req.all("X-Set") == ["new"]
    assert req.all("X-Add") == ["first", "more"]
    assert not req.has("X-Gone")
    assert req.all("User-Agent") == ["rpd test"]


def test_response_header_rules(rpd, origin):
    o = origin(canned(b"HTTP/1.1 200 OK\r\nServer: secret\r\nX-Set: old\r\nX-Add: first\r\n"
                      b"Content-Length: 0\r\n\r\n"))
    res = rpd(plain(o, route="""
        response_header = remove Server
        response_header = set X-Set: new
        response_header = add X-Add: more
        """)).ask()
    assert not res.has("Server")
    assert res.all("X-Set") == ["new"]
    assert res.all("X-Add") == ["first", "more"]


def test_response_rules_apply_to_answers_made_here(rpd):
    d = rpd("""
        [listener web]
        bind = @web@
        [route all]
        respond = 200 hello
        response_header = set X-Here: yes
        """)
    assert d.ask().get("X-Here") == "yes"


def test_variables_in_rules(rpd, origin):
    o = origin()
    names = ["client_ip", "client_port", "server_ip", "server_port", "scheme", "method", "host",
             "uri", "path", "query", "header_x_thing", "cookie_id", "listener", "route", "backend",
             "server", "protocol", "referer", "user_agent"]
    d = rpd(plain(o, route="\n".join(f"request_header = set X-V-{n.replace('_', '-')}: <${n}>"
                                     for n in names)
                  + "\nrequest_header = set X-Dollar: $$host"
                  + "\nrequest_header = set X-Id: $request_id"
                  + "\nresponse_header = set X-Status: $status"))
    with d.client() as client:
        res = client.ask("/p/a?q=1&r=2", "POST", [("X-Thing", "thing"), ("Cookie", "a=1; id=42"),
                                                  ("Referer", "ref"), ("User-Agent", "ua")],
                         b"", host="Site.Example:81")
        port = client.name[1]
    req = o.last()
    got = {n: req.get(f"X-V-{n.replace('_', '-')}") for n in names}
    assert got == {n: f"<{v}>" for n, v in {
        "client_ip": "127.0.0.1", "client_port": port, "server_ip": "127.0.0.1",
        "server_port": d.ports["web"], "scheme": "http", "method": "POST",
        "host": "site.example", "uri": "/p/a?q=1&r=2", "path": "/p/a", "query": "q=1&r=2",
        "header_x_thing": "thing", "cookie_id": "42", "listener": "web", "route": "all",
        "backend": "pool", "server": "s0", "protocol": "HTTP/1.1", "referer": "ref",
        "user_agent": "ua"}.items()}
    assert req.get("X-Dollar") == "$host"
    assert req.get("X-Id") == req.get("X-Request-Id")
    assert res.get("X-Status") == "200"


def test_variable_without_value_does_not_break_the_field(rpd, origin):
    o = origin()
    d = rpd(plain(o, route="request_header = set X-None: a${RPD_NONE:-}b$header_absent!"))
    assert d.ask().status == 200
    assert o.last().get("X-None") in ("ab!", "ab-!")


def test_value_from_a_request_cannot_split_the_head(rpd, origin):
    d = rpd("""
        [listener web]
        bind = @web@
        [route all]
        redirect = 302 http://$host$uri
        """)
    res = d.ask("/a%0d%0aX-Evil:%201?b")
    assert res.get("Location") == "http://test/a%0D%0AX-Evil:%201?b"
    assert not res.has("X-Evil")
