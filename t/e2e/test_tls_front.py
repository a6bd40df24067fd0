"""What a listener with tls = on makes of its connections: whose ClientHello is good, which name is
served by whom, what is counted and logged; TLS ended here in http and in tcp mode."""

import contextlib
import re
import signal
import ssl
import struct
import subprocess

import pytest

from harness import proxyproto
from harness.certs import Authority
from harness.client import request_bytes
from harness.origin import tcp_echo
from harness.tls import (DECODE_ERROR, ILLEGAL_PARAMETER, PROTOCOL_VERSION, RECORD_OVERFLOW,
                         UNEXPECTED_MESSAGE, UNRECOGNIZED_NAME, TlsClient, alert, client_context,
                         hello, in_two, one_by_one, raw, records)
from harness.util import (is_sanitized, kernel_buffers, memory, pattern, pieces, sha,
                          stands_still, wait_until)


class Names:
    """An authority and what it issued."""

    def __init__(self, folder):
        self.ca = Authority(folder)
        self.www = self.ca.issue("www.test", "*.www.test")
        self.other = self.ca.issue("other.test")
        self.client = self.ca.issue(common_name="somebody", label="client")
        self.trusting = client_context(self.ca.bundle)
        self.careless = client_context()


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    return Names(tmp_path_factory.mktemp("certs"))


def ending(names, o, listener="", route="", more=""):
    """TLS is ended here, for www.test (the default) and other.test."""
    return (f"[listener web]\nbind = @web@\ntls = on\ncertificate = www, other\n{listener}\n"
            f"{names.www.section('www')}{names.other.section('other')}"
            f"[route all]\nbackend = pool\n{'listener = web' if 'mode = tcp' in listener else ''}\n"
            f"{route}\n[backend pool]\nserver = {o.addr} name=s0\n{more}\n")


def web(d):
    return d.stats()["listeners"]["web"]


def failures(d):
    """The counters of failed handshakes that are not 0."""
    return {k[len("tls_failed_"):]: v for k, v in web(d).items() if "tls_failed_" in k and v}


def wait_failures(d, **expected):
    d.wait_stats(lambda s: s["listeners"]["web"]["tls_failed"] == sum(expected.values()))
    assert failures(d) == expected


@pytest.fixture(scope="module")
def up(shared_rpd, shared_origin, names):
    o = shared_origin()
    d = shared_rpd(ending(names, o), workers=1)
    d.origin = o
    return d


# ---- good ones ----

def test_hello_split_at_every_byte(up, names):
    step = 7 if is_sanitized() else 1
    before = web(up)["tls_handshakes"]
    places = range(1, len(hello("www.test")), step)
    for at in places:
        with TlsClient(up.addr(), names.trusting, shape=in_two(at)) as client:
            assert client.ask(host="www.test").status == 200
    assert web(up)["tls_handshakes"] == before + len(places)


@pytest.mark.parametrize("size", [1, 3, 64, 500])
@pytest.mark.parametrize("shape", [None, one_by_one])
def test_hello_in_records_of_any_size(up, names, size, shape):
    with TlsClient(up.addr(), names.trusting, shape=lambda data: (shape or (lambda x: [x]))(
            records(data, size))) as client:
        assert client.ask(host="www.test").status == 200


def test_request_in_the_same_packet_as_the_last_flight(up, names):
    """What comes right behind the handshake is not lost in it."""
    sock = up.client().sock
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = names.trusting.wrap_bio(incoming, outgoing, server_hostname="www.test")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    sock.sendall(outgoing.read())
    while True:
        incoming.write(sock.recv(65536))
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
            break
    tls.write(request_bytes(host="www.test"))
    sock.sendall(outgoing.read())
    got = b""
    while b"\r\n\r\n" not in got:
        incoming.write(sock.recv(65536))
        with contextlib.suppress(ssl.SSLWantReadError):
            got += tls.read(65536)
    assert got.startswith(b"HTTP/1.1 200 OK\r\n")
    sock.close()


@pytest.mark.parametrize("name, expected", [
    ("www.test", "www.test"), ("a.www.test", "www.test"), ("WWW.TEST", "www.test"),
    ("other.test", "other.test"), ("b.a.www.test", "www.test"), ("nobody.test", "www.test"),
    (None, "www.test"), ("192.0.2.1", "www.test"),
])
def test_name_picks_the_certificate(up, names, name, expected):
    leaf = {"www.test": names.www, "other.test": names.other}[expected]
    with TlsClient(up.addr(), names.careless, name) as client:
        assert client.sock.getpeercert(True) == ssl.PEM_cert_to_DER_cert(leaf.cert.read_text())
        assert client.ask().status == 200


def test_openssl_and_curl_agree(up, names):
    port = str(up.ports["web"])
    done = subprocess.run(["curl", "-sS", "--cacert", names.ca.bundle, "--resolve",
                           f"a.www.test:{port}:127.0.0.1",
                           f"https://a.www.test:{port}/bytes/70000"],
                          capture_output=True, timeout=60, check=True)
    assert sha(done.stdout) == sha(pattern(70000))
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "other.test",
         "-CAfile", names.ca.bundle, "-verify_return_error", "-verify_hostname", "other.test",
         "-quiet", "-ign_eof"], capture_output=True, timeout=60, check=False,
        input=b"GET /x HTTP/1.1\r\nHost: other.test\r\nConnection: close\r\n\r\n")
    assert done.stdout.startswith(b"HTTP/1.1 200 OK\r\n"), done


# ---- bad ones ----

def changed(data, at, *values):
    return data[:at] + bytes(values) + data[at + len(values):]


def cut(n):
    """A whole message whose body ends early."""
    body = hello()[9:9 + n]
    message = b"\x01" + struct.pack("!I", len(body))[1:] + body
    return b"\x16\x03\x01" + struct.pack("!H", len(message)) + message


GARBAGE = {
    "http": (b"GET / HTTP/1.1\r\nHost: www.test\r\n\r\n", UNEXPECTED_MESSAGE),
    "a byte": (b"G", UNEXPECTED_MESSAGE),
    "ssh": (b"SSH-2.0-OpenSSH_9.2\r\n", UNEXPECTED_MESSAGE),
    "zeros": (b"\0" * 5000, UNEXPECTED_MESSAGE),
    "ssl 2": (b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + b"x" * 37, PROTOCOL_VERSION),
    "record of version 2": (b"\x16\x02\x00\x00\x10", PROTOCOL_VERSION),
    "alert": (b"\x15\x03\x03\x00\x02\x01\x00", UNEXPECTED_MESSAGE),
    "data": (b"\x17\x03\x03\x00\x05hello", UNEXPECTED_MESSAGE),
    "empty record": (b"\x16\x03\x01\x00\x00", UNEXPECTED_MESSAGE),
    "long record": (b"\x16\x03\x01\x40\x01", RECORD_OVERFLOW),
    "server hello": (b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", UNEXPECTED_MESSAGE),
    "long message": (b"\x16\x03\x01\x00\x04\x01\x00\x40\x01", ILLEGAL_PARAMETER),
    "hello of version 2": (changed(hello(), 9, 2), PROTOCOL_VERSION),
    "long session id": (changed(hello(), 43, 33), DECODE_ERROR),
    "nothing in it": (cut(0), DECODE_ERROR),
    "ends in its session id": (cut(40), DECODE_ERROR),
    "ends in its extensions": (cut(200), DECODE_ERROR),
    "NUL in the name": (hello().replace(b"www.test", b"www\0test"), ILLEGAL_PARAMETER),
    "no ASCII in the name": (hello().replace(b"www.test", b"ww\xff.test"), ILLEGAL_PARAMETER),
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_bad_hello_gets_an_alert_and_no_reset(up, kind):
    data, description = GARBAGE[kind]
    reason = "version" if description == PROTOCOL_VERSION else "hello"
    before = failures(up)
    assert raw(up.addr(), data) == alert(description)
    up.wait_stats(lambda s: s["listeners"]["web"]["connections_active"] == 0)
    after = failures(up)
    assert {k: v - before.get(k, 0) for k, v in after.items() if v != before.get(k, 0)} \
        == {reason: 1}


def test_who_goes_on_sending_hears_the_alert_too(up):
    with up.client() as client:
        with contextlib.suppress(OSError):
            for _ in range(20):
                client.send(b"GET / " + b"x" * 20000)
        assert client.exact(7) == alert(UNEXPECTED_MESSAGE)


def test_half_a_hello_and_gone(up, names):
    before = failures(up).get("closed", 0)
    for n in (0, 1, 100, len(hello()) - 1):
        with up.client() as client:
            client.send(hello()[:n])
            client.shutdown_write()
            assert client.is_closed()
    with up.client() as client:
        client.send(hello()[:100])
        up.wait_stats(lambda s: s["listeners"]["web"]["connections_active"] == 1)
        client.reset()
    up.wait_stats(lambda s: s["listeners"]["web"]["tls_failed_closed"] == before + 5)


def test_half_a_handshake_and_gone(up, names):
    """After our flight: an end, a reset, nonsense."""
    before = failures(up)
    for what in ("end", "reset", "nonsense"):
        with up.client() as client:
            client.send(hello())
            client.exact(100)
            if what == "end":
                client.shutdown_write()
                client.until_eof()
            elif what == "reset":
                client.reset()
            else:
                client.send(b"\x17\x03\x03\x00\x20" + b"n" * 32)
                client.until_eof()
    up.wait_stats(lambda s: s["listeners"]["web"]["connections_active"] == 0)
    after = failures(up)
    assert after.get("closed", 0) == before.get("closed", 0) + 2, after
    assert sum(after.values()) == sum(before.values()) + 3


# ---- which names ----

@pytest.mark.parametrize("name, is_served", [
    ("www.test", True), ("x.www.test", True), ("other.test", True), ("routed.test", True),
    ("a.wild.test", True), ("nobody.test", False), ("b.a.www.test", False), (None, False),
    ("192.0.2.1", False),
])
@pytest.mark.parametrize("strict", ["off", "on"])
def test_strict_sni(rpd, origin, names, strict, name, is_served):
    """Known by a certificate, or by a route; any name, and none, without strict_sni."""
    o = origin()
    d = rpd(ending(names, o, listener=f"strict_sni = {strict}", more="""
[route named]
host = routed.test, *.wild.test
backend = pool
"""), workers=1)
    if is_served or strict == "off":
        with TlsClient(d.addr(), names.careless, name) as client:
            assert client.ask().status == 200
        assert failures(d) == {}
    else:
        assert raw(d.addr(), hello(name)) == alert(UNRECOGNIZED_NAME)
        wait_failures(d, name=1)


# ---- requests ----

def test_host_of_a_passthrough_route_is_misdirected(rpd, origin, names):
    """A browser takes one connection for all names of a certificate: this one is not ours."""
    o = origin()
    config = ending(names, o, more=f"""
[route through]
host = deep.www.test, *.through.test
tls = passthrough
backend = real
[backend real]
server = {origin(tcp_echo).addr}
""")
    d = rpd(config)
    with TlsClient(d.addr(), names.trusting) as client:
        assert client.ask(host="www.test").status == 200
        for host in ("deep.www.test", "DEEP.www.test:443", "deep.www.test.", "a.through.test"):
            res = client.ask(host=host)
            assert res.status == 421 and res.reason == "Misdirected Request"
            assert "http_request_denied" in res.get("Proxy-Status")
        assert client.ask(host="else.test").status == 200
        d.reload(config.replace("host = deep.www.test, ", "host = "))
        assert client.ask(host="deep.www.test").status == 200
    assert len(o.requests) == 3


def test_variables_and_fields_tell_of_it(rpd, origin, names, tmp_path):
    log = tmp_path / "access"
    o = origin()
    d = rpd(ending(names, o, route="""
response_header = set X-Tls: $tls_version $tls_cipher $sni $scheme $tls_client_verify
request_header = set X-Cipher: $tls_cipher"""), workers=1, globals_=f"""
        access_log = {log}
        access_log_format = $scheme $sni $tls_version $tls_resumed $status
        """)
    context, session = client_context(names.ca.bundle, ssl.TLSVersion.TLSv1_2), None
    for turn in range(2):
        sock = context.wrap_socket(d.client().sock, server_hostname="a.www.test", session=session)
        session = sock.session
        sock.sendall(request_bytes(host="www.test"))
        got = sock.recv(65536).decode()
        cipher = sock.cipher()[0]
        assert f"X-Tls: TLSv1.2 {cipher} a.www.test https none\r\n" in got
        assert o.last().get("X-Forwarded-Proto") == "https"
        assert o.last().get("X-Cipher") == cipher
        assert sock.session_reused == bool(turn)
        sock.close()
    wait_until(lambda: log.read_text() == "https a.www.test TLSv1.2 - 200\n"
                                          "https a.www.test TLSv1.2 1 200\n")


def test_scheme_is_that_of_the_connection(rpd, origin, names):
    """Whatever the request says that it came by."""
    o = origin()
    d = rpd(ending(names, o, more="[listener clear]\nbind = @clear@\n"))
    with TlsClient(d.addr(), names.trusting) as client:
        assert client.ask("http://www.test/").status == 200
        assert o.last().get("X-Forwarded-Proto") == "https"
    d.ask("https://www.test/", listener="clear")
    assert o.last().get("X-Forwarded-Proto") == "http"


def test_proxy_header_before_tls(rpd, origin, names):
    d = rpd(ending(names, origin(), listener="accept_proxy = on",
                   route="response_header = set X-Client: $client_ip $client_port $server_port"))
    for header in (proxyproto.v1(), proxyproto.v2(tlvs=b"\x04\x00\x03abc" * 20)):
        for at in (1, len(header), len(header) + 1, len(header) + 9, len(header) + 200):
            with TlsClient(d.addr(), names.trusting, prefix=header, shape=in_two(at)) as client:
                assert client.ask().get("X-Client") == "1.2.3.4 1111 2222"
    assert raw(d.addr(), hello()) == b""
    assert (web(d)["refused"], web(d)["tls_failed"], web(d)["tls_handshakes"]) == (1, 0, 10)


# ---- tcp ----

def tcp_sites(names, *origins):
    """Each name its own server; one that no route has goes to the last."""
    return f"""
[listener web]
bind = @web@
mode = tcp
tls = on
certificate = www, other
default_backend = rest
{names.www.section("www")}{names.other.section("other")}
[route www]
listener = web
host = www.test, *.www.test
backend = first
[route other]
listener = web
host = other.test
backend = second
[backend first]
server = {origins[0].addr} name=s0
[backend second]
server = {origins[1].addr} name=s0
[backend rest]
server = {origins[2].addr} name=s0
"""


def speaker(text):
    def handler(conn):
        conn.send(text)
        tcp_echo(conn)
    return handler


def test_name_picks_the_route_of_a_tcp_listener(rpd, origin, names):
    config = tcp_sites(names, *(origin(speaker(t)) for t in (b"1", b"2", b"3")))
    d = rpd(config)
    for name, expected in (("www.test", b"1"), ("x.www.test", b"1"), ("other.test", b"2"),
                           ("nobody.test", b"3"), (None, b"3")):
        with TlsClient(d.addr(), names.careless, name) as client:
            assert client.exact(1) == expected
            client.send(pattern(70000))
            assert client.exact(70000) == pattern(70000)
    d.reload(config.replace("default_backend = rest", "").replace("[backend rest]", "[backend x]"))
    assert raw(d.addr(), hello("nobody.test")) == alert(UNRECOGNIZED_NAME)
    with TlsClient(d.addr(), names.careless, "other.test") as client:
        assert client.exact(1) == b"2"
    stats = d.wait_stats(lambda s: s["listeners"]["web"]["requests_total"] == 6)
    assert stats["routes"]["www"]["requests_total"] == 2
    assert stats["routes"]["other"]["requests_total"] == 2
    assert failures(d) == {"name": 1}


def test_tcp_session_log_has_what_tls_came_to(rpd, origin, names, tmp_path):
    log = tmp_path / "access"
    d = rpd(ending(names, origin(tcp_echo), listener="mode = tcp"), workers=1, globals_=f"""
        access_log = {log}
        access_log_format = $route $sni $tls_version $bytes_in $bytes_out $end_reason
        """)
    with TlsClient(d.addr(), names.trusting) as client:
        client.send(b"12345")
        assert client.exact(5) == b"12345"
        client.shutdown_write()
        assert client.is_closed()
    wait_until(lambda: log.read_text() == "all www.test TLSv1.3 5 5 ok\n")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_much_both_ways_over_tcp(rpd, origin, names, version):
    total = 50 << 20
    got = []

    def handler(conn):
        taken = conn.exact(total)
        got.append(sha(taken))
        for piece in pieces(total):
            conn.send(piece)
    d = rpd(ending(names, origin(handler), listener="mode = tcp"))
    context = client_context(names.ca.bundle, version)
    sock = context.wrap_socket(d.client(timeout=60).sock, server_hostname="www.test")
    for piece in pieces(total):
        sock.sendall(piece)
    back = bytearray()
    while len(back) < total:
        back += sock.recv(1 << 20)
    sock.close()
    assert got == [sha(pattern(total))] and sha(back) == got[0]
    stats = d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 1)
    server = stats["backends"]["pool"]["servers"]["s0"]
    for a, b in (("bytes_in", "bytes_out"), ("bytes_out", "bytes_in")):
        assert stats["listeners"]["web"][a] == stats["routes"]["all"][a] == server[b] == total


@pytest.mark.parametrize("first", ["client", "server"])
def test_half_close_of_a_tcp_session(rpd, origin, names, first):
    """close_notify one way says nothing of the other."""
    def handler(conn):
        if first == "client":
            conn.send(b"end seen after: " + conn.until_eof())
        else:
            conn.send(b"bye")
            conn.shutdown_write()
            assert conn.until_eof() == b"last words"
    d = rpd(ending(names, origin(handler), listener="mode = tcp"))
    with TlsClient(d.addr(), names.trusting) as client:
        if first == "client":
            client.send(b"last words")
            client.shutdown_write()
            assert client.until_eof() == b"end seen after: last words"
        else:
            assert client.until_eof() == b"bye"
            client.send(b"last words")
            client.shutdown_write()
    d.wait_stats(lambda s: s["listeners"]["web"]["connections_active"] == 0)


def test_slow_reader_of_a_tcp_session_holds_the_server_back(rpd, origin, names):
    sent = [0]

    def handler(conn):
        while True:
            conn.send(b"x" * 65536)
            sent[0] += 65536
    d = rpd(ending(names, origin(handler), listener="mode = tcp"), workers=1)
    pid = d.worker_pids()[0]
    with TlsClient(d.addr(), names.trusting, rcvbuf=16384) as client:
        client.exact(1)
        before = memory(pid)
        assert stands_still(lambda: sent[0]) < kernel_buffers()
        if not is_sanitized():
            assert memory(pid) - before < 1 << 20
        client.exact(1 << 20)


# ---- time ----

def test_all_of_it_is_within_timeout_header(rpd, origin, names):
    d = rpd(ending(names, origin(), listener="timeout_header = 400ms"))
    with d.client() as silent, d.client() as half, d.client() as stalled:
        half.send(hello()[:100])
        stalled.send(hello())
        assert silent.is_closed() and half.is_closed()
        stalled.until_eof()
    wait_failures(d, timeout=3)


def test_drip_does_not_hold_it_open(rpd, origin, names):
    """The time is that of the whole, not from byte to byte."""
    d = rpd(ending(names, origin(), listener="timeout_header = 500ms"))
    with d.client() as client:
        client.sock.settimeout(0.05)
        data = iter(hello())

        def is_over():
            with contextlib.suppress(TimeoutError):
                client.send(bytes([next(data)]))
                return client.sock.recv(100) == b""
            return False
        with contextlib.suppress(ConnectionError):
            wait_until(is_over, 5)
    wait_failures(d, timeout=1)


# ---- counted and logged ----

def test_counters_are_exact(rpd, origin, names):
    d = rpd(ending(names, origin(), listener="strict_sni = on", more=f"""
[route through]
host = through.test
tls = passthrough
backend = echoes
[backend echoes]
server = {origin(tcp_echo).addr}
"""), globals_="log_level = info", workers=1)
    v12, v13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    for version, times in ((v12, 3), (v13, 4)):
        context, session = client_context(names.ca.bundle, version), None
        for _ in range(times):
            sock = context.wrap_socket(d.client().sock, server_hostname="www.test",
                                       session=session)
            sock.sendall(request_bytes(host="www.test"))
            assert sock.recv(65536).startswith(b"HTTP/1.1 200")
            session = sock.session
            sock.close()
    raw(d.addr(), hello("nobody.test"))
    raw(d.addr(), b"nonsense")
    with pytest.raises(ssl.SSLError):  # does not trust us
        TlsClient(d.addr(), ssl.create_default_context())
    old = raw(d.addr(), changed(hello(version=v12), 9, 3, 2))  # TLS 1.1 is all it speaks
    assert (old[0], old[-1]) == (21, PROTOCOL_VERSION)
    weak = client_context(version=v12)
    weak.set_ciphers("AES128-SHA:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        TlsClient(d.addr(), weak)
    with d.client() as client:
        client.send(hello("through.test"))
        client.exact(len(hello("through.test")))
    wait_failures(d, name=1, hello=1, alert=1, version=1, cipher=1)
    stats = d.wait_stats(lambda s: s["listeners"]["web"]["connections_active"] == 0)
    now = stats["listeners"]["web"]
    assert {k: now[k] for k in ("connections_total", "tls_handshakes", "tls_resumed", "tls_v12",
                                "tls_v13", "tls_passthrough", "refused", "requests_total")} == {
        "connections_total": 13, "tls_handshakes": 7, "tls_resumed": 5, "tls_v12": 3,
        "tls_v13": 4, "tls_passthrough": 1, "refused": 0, "requests_total": 8}
    lines = re.findall(r"listener web: TLS with 127.0.0.1 port \d+, name (\S+): (.+)", d.stderr())
    assert [name for name, _ in lines] == [
        "nobody.test", "-", "www.test", "www.test", "www.test"]
    assert "unknown ca" in lines[2][1].lower() or "certificate" in lines[2][1].lower()


# ---- over changes ----

def test_reload_in_the_middle_of_hello_and_handshake(rpd, origin, names):
    o = origin()
    config = ending(names, o)
    d = rpd(config)

    def reloading(data):
        yield data[:100]
        d.wait_stats(lambda s: s["listeners"]["web"]["connections_active"] == 1)
        d.reload(config.replace("certificate = www, other", "certificate = other"))
        yield data[100:]
    with TlsClient(d.addr(), names.trusting, shape=reloading) as client:
        assert client.ask(host="www.test").status == 200
    with TlsClient(d.addr(), names.trusting, "other.test") as client:
        assert client.ask(host="www.test").status == 200
        with d.client() as half:
            half.send(hello("other.test"))
            half.exact(100)  # our flight is there: its handshake is under way
            d.reload(config.replace("tls = on", "tls = off").replace(
                "certificate = www, other", ""))
            assert client.ask(host="www.test").status == 200
    assert d.ask().status == 200  # in the clear now
    d.wait_stats(lambda s: s["listeners"]["web"]["connections_active"] == 0)
    assert failures(d) == {"closed": 1}


def test_a_listener_gone_finishes_its_hellos(rpd, origin, names):
    o = origin()
    d = rpd(ending(names, o))

    def reloading(data):
        yield data[:100]
        d.wait_stats(lambda s: s["listeners"]["web"]["connections_active"] == 1)
        d.reload(f"[listener else]\nbind = @else@\ndefault_backend = b\n"
                 f"[backend b]\nserver = {o.addr}\n")
        yield data[100:]
    with TlsClient(d.addr(), names.trusting, shape=reloading) as client:
        res = client.ask(host="www.test")
        assert res.status == 200 and "close" in res.options("Connection")


def test_retiring_waits_for_hellos_in_progress_and_not_for_silent_ones(rpd, origin, names):
    d = rpd(ending(names, origin(), listener="timeout_header = 20s"), workers=1)
    silent = d.client()

    def quitting(data):
        yield data[:100]
        d.wait_stats(lambda s: s["listeners"]["web"]["connections_active"] == 2)
        d.signal(signal.SIGQUIT)
        assert silent.is_closed()
        yield data[100:]
    with TlsClient(d.addr(), names.trusting, shape=quitting) as client:
        assert client.ask(host="www.test").status == 200
    d.wait_exit(10)


# ---- bounds ----

def padded(size):
    """A hello's message, made so long by one more extension."""
    body = hello()[9:]
    at = 2 + 32 + 1 + body[34]                                # ciphers
    at += 2 + struct.unpack("!H", body[at:at + 2])[0]         # compressions
    at += 1 + body[at]                                        # extensions
    more = size - len(body) - 4
    listed = body[at + 2:] + b"\x7f\x7f" + struct.pack("!H", more) + bytes(more)
    body = body[:at] + struct.pack("!H", len(listed)) + listed
    return b"\x01" + struct.pack("!I", len(body))[1:] + body


@pytest.mark.release_only
def test_memory_is_bounded_by_what_was_sent(rpd, origin, names):
    """The most that a client can make us keep: a hello as large as may be, in records of a byte."""
    d = rpd(ending(names, origin(), listener="timeout_header = 30s"), workers=1)
    data = b"".join(b"\x16\x03\x01\x00\x01" + bytes([byte]) for byte in padded(16384))
    pid = d.worker_pids()[0]
    before = memory(pid)
    clients = [d.client() for _ in range(50)]
    for client in clients:
        client.send(data[:-1])
    d.wait_stats(lambda s: s["workers"][0]["buffers"] >= 50 * len(data) // 16056)
    assert memory(pid) - before < 50 * 130 * 1024
    for client in clients:
        client.send(data[-1:])
        client.exact(100)
        client.close()
    d.wait_stats(lambda s: s["workers"][0]["buffers"] == 0)
