"""PROXY protocol v1 and v2, from clients and to servers, for http and tcp."""

import json

import pytest

from harness import proxyproto
from harness.client import request_bytes
from harness.daemon import plain
from harness.origin import answer, keeps_alive, tcp_echo
from harness.util import wait_until


@pytest.fixture(scope="module")
def up(shared_rpd, shared_origin):
    o = shared_origin()
    d = shared_rpd(plain(o, listener="accept_proxy = on\ntimeout_header = 500ms", route="""
        response_header = set X-Client: $client_ip $client_port
        response_header = set X-Server: $server_ip $server_port
        """), workers=1)
    d.origin = o
    return d


@pytest.mark.parametrize("header, client, server", [
    (proxyproto.v1(), "1.2.3.4 1111", "5.6.7.8 2222"),
    (proxyproto.v1("2001:db8::1", "2001:db8::2"), "2001:db8::1 1111", "2001:db8::2 2222"),
    (proxyproto.v2(), "1.2.3.4 1111", "5.6.7.8 2222"),
    (proxyproto.v2("2001:db8::1", "2001:db8::2"), "2001:db8::1 1111", "2001:db8::2 2222"),
    (proxyproto.v2(tlvs=b"\x04\x00\x03abc" * 20), "1.2.3.4 1111", "5.6.7.8 2222"),
    (proxyproto.v2(tlvs=b"\x04" + (4000).to_bytes(2, "big") + b"a" * 4000), "1.2.3.4 1111", None),
])
def test_client_is_who_the_header_says(up, header, client, server):
    with up.client() as c:
        c.send(header + request_bytes())
        res = c.response()
        assert res.get("X-Client") == client
        assert server is None or res.get("X-Server") in (server, f"127.0.0.1 {up.ports['web']}")
        headers = dict(json.loads(res.body)["headers"])
        assert headers["X-Forwarded-For"] == client.split()[0]
        assert c.ask().get("X-Client") == client, "for the connection's whole life"


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", proxyproto.v2(command=0),
                                    b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 1 2\r\n"])
def test_header_without_addresses_leaves_the_real_ones(up, header):
    with up.client() as c:
        c.send(header + request_bytes())
        assert c.response().get("X-Client") == "127.0.0.1 %d" % c.name[1]


@pytest.mark.parametrize("header", [proxyproto.v1(), proxyproto.v2(tlvs=b"\x04\x00\x03abc")])
def test_header_may_come_byte_by_byte(up, header):
    with up.client() as c:
        for byte in header + request_bytes():
            c.send(bytes([byte]))
        assert c.response().get("X-Client") == "1.2.3.4 1111"


@pytest.mark.parametrize("data", [
    request_bytes(), b"\r\n", b"PROXY\r\n" + request_bytes(), b"PROXY TCP4\r\n",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 1111\r\n" + request_bytes(),
    b"PROXY TCP4 1.2.3.4 5.6.7.8 1111 2222 3\r\n" + request_bytes(),
    b"PROXY TCP4 1.2.3.4 5.6.7.8 1111 99999\r\n" + request_bytes(),
    b"PROXY TCP4 1.2.3.4 5.6.7.8 -1 2222\r\n" + request_bytes(),
    b"PROXY TCP4 1.2.3.444 5.6.7.8 1111 2222\r\n" + request_bytes(),
    b"PROXY TCP4 ::1 ::1 1111 2222\r\n" + request_bytes(),
    b"PROXY TCP6 1.2.3.4 5.6.7.8 1111 2222\r\n" + request_bytes(),
    b"PROXY TCP5 1.2.3.4 5.6.7.8 1111 2222\r\n" + request_bytes(),
    b"proxy TCP4 1.2.3.4 5.6.7.8 1111 2222\r\n" + request_bytes(),
    b"PROXY TCP4 1.2.3.4 5.6.7.8 1111 2222\n" + request_bytes(),
    b"PROXY TCP4  1.2.3.4 5.6.7.8 1111 2222\r\n" + request_bytes(),
    b"PROXY TCP4 1.2.3.4 5.6.7.8 1111 2222" + b" " * 200 + b"\r\n" + request_bytes(),
    b"PROXY UNKNOWN " + b"x" * 200 + b"\r\n" + request_bytes(),
    b"PROXY " + b"x" * 5000,
    proxyproto.SIGNATURE[:11] + b"\x00" + proxyproto.v2()[12:] + request_bytes(),
    proxyproto.v2(version=1) + request_bytes(),
    proxyproto.v2(version=3) + request_bytes(),
    proxyproto.v2(command=2) + request_bytes(),
    proxyproto.SIGNATURE + b"\x21\x11\x00\x04abcd" + request_bytes(),
    proxyproto.SIGNATURE + b"\x21\x21\x00\x0c" + b"a" * 12 + request_bytes(),
    bytes(range(256)), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,
])
def test_missing_or_bad_header_closes_the_connection(up, data):
    heads, refused = len(up.origin.heads), up.stats()["listeners"]["web"]["refused"]
    with up.client() as c:
        try:
            c.send(data)
        except ConnectionError:
            pass
        got = c.until_eof()
        assert b" 200 " not in got
    wait_until(lambda: up.stats()["listeners"]["web"]["refused"] == refused + 1)
    assert len(up.origin.heads) == heads


def proxied(version, seen):
    """The usual origin behind PROXY headers, one at each connection's start."""
    def handler(conn):
        seen.append(proxyproto.read(conn, version))
        while True:
            req = conn.request()
            if not answer(conn, req) or not keeps_alive(req):
                return
    return handler


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_header_to_the_server_names_the_client(rpd, origin, version):
    seen = []
    d = rpd(plain(origin(proxied(version, seen)), backend=f"send_proxy = {version}"), workers=1)
    with d.client() as c:
        assert c.ask().status == 200
        assert seen[0][0] == c.name
        assert seen[0][1] == d.addr()


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_server_connection_is_not_shared_by_clients_it_would_name_wrongly(rpd, origin, version):
    seen = []
    d = rpd(plain(origin(proxied(version, seen)), backend=f"send_proxy = {version}"), workers=1)
    names = []
    for _ in range(4):
        with d.client() as c:
            names.append(c.name)
            for _ in range(2):
                assert c.ask().status == 200
    assert [source for source, _ in seen if source not in names] == []
    assert set(names) == {source for source, _ in seen}


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_what_came_in_goes_out(rpd, origin, version):
    seen = []
    d = rpd(plain(origin(proxied(version, seen)), listener="accept_proxy = on",
                  backend=f"send_proxy = {version}"))
    with d.client() as c:
        c.send(proxyproto.v2("2001:db8::1", "2001:db8::2") + request_bytes())
        assert c.response().status == 200
    assert seen[0][0] == ("2001:db8::1", 1111)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_tcp_sessions_carry_headers_both_ways(rpd, origin, version):
    seen = []

    def handler(conn):
        seen.append(proxyproto.read(conn, version))
        if conn.buf:
            conn.send(conn.some())
        tcp_echo(conn)
    o = origin(handler)
    d = rpd(f"""
        [listener web]
        bind = @web@
        mode = tcp
        accept_proxy = on
        default_backend = pool
        [backend pool]
        server = {o.addr}
        send_proxy = {version}
        """)
    with d.client() as c:
        c.send(proxyproto.v1("9.8.7.6", "5.4.3.2", 10, 20) + b"hello")
        assert c.exact(5) == b"hello"
        c.send(b"more")
        assert c.exact(4) == b"more"
    assert seen[0][0] == ("9.8.7.6", 10)
    with d.client() as c:
        c.send(b"no header here at all, sorry\r\n")
        assert c.is_closed()
    assert len(o.connections) == 1
