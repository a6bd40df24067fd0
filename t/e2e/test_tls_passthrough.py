"""Routes with tls = passthrough: the name in the ClientHello says where the stream goes, and
nothing else is looked at."""

import contextlib
import json
import ssl
import subprocess
import threading

import pytest

from harness import proxyproto
from harness.certs import Authority
from harness.origin import tcp_echo
from harness.tls import (TlsClient, UNRECOGNIZED_NAME, alert, client_context, hello, in_two,
                         one_by_one, raw, records, secured, server_context)
from harness.util import (holds_for, is_sanitized, kernel_buffers, memory, pattern, pieces, sha,
                          stands_still, wait_until)

COUNTERS = ("tls_handshakes", "tls_passthrough", "tls_failed", "refused")


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certs"))


@pytest.fixture(scope="module")
def real(ca):
    """What the real servers have; rpd never sees it."""
    return ca.issue("www.test", "*.www.test")


@pytest.fixture
def trusting(ca):
    return client_context(ca.bundle)


def passing(*origins, listener="", route="host = www.test, *.www.test", backend="", more=""):
    servers = "\n".join(f"server = {o.addr} name=s{i}" for i, o in enumerate(origins))
    return (f"[listener web]\nbind = @web@\ntls = on\n{listener}\n"
            f"[route all]\ntls = passthrough\nbackend = pool\n{route}\n"
            f"[backend pool]\n{servers}\n{backend}\n{more}")


def greet(conn):
    conn.send(b"the real one\n")
    tcp_echo(conn)


def check_echo(client, n=1000):
    client.send(pattern(n))
    assert client.exact(n) == pattern(n)


def counts(d, *more):
    web = d.stats()["listeners"]["web"]
    return {key: web[key] for key in (*COUNTERS, *more) if web[key]}


# ---- whose TLS it is ----

def test_client_verifies_the_real_server_and_rpd_has_no_certificate(rpd, origin, real, trusting):
    d = rpd(passing(origin(secured(real, greet))))
    with TlsClient(d.addr(), trusting) as client:
        assert client.exact(13) == b"the real one\n"
        assert dict(client.sock.getpeercert()["subject"][0])["commonName"] == "www.test"
        assert client.sock.version() == "TLSv1.3"
        check_echo(client, 100000)
        client.shutdown_write()
        assert client.is_closed()
    d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 1)
    assert counts(d) == {"tls_passthrough": 1}


def test_openssl_agrees(rpd, origin, ca, real):
    def handler(conn):
        conn.send(b"the real one\n" + conn.exact(6))
    d = rpd(passing(origin(secured(real, handler))))
    done = subprocess.run(
        ["openssl", "s_client", "-connect", "127.0.0.1:%d" % d.ports["web"], "-servername",
         "a.www.test", "-CAfile", ca.bundle, "-verify_return_error", "-verify_hostname",
         "a.www.test", "-quiet"], input=b"hello\n", capture_output=True, timeout=60, check=False)
    assert done.stdout == b"the real one\nhello\n", done


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_session_of_the_servers_is_resumed(rpd, origin, ca, real, version):
    d = rpd(passing(origin(secured(real, greet))))
    context, session = client_context(ca.bundle, version), None
    for turn in range(3):
        sock = context.wrap_socket(d.client().sock, server_hostname="www.test", session=session)
        assert sock.recv(13) == b"the real one\n"
        assert sock.session_reused == (turn > 0)
        session = sock.session
        sock.close()


def test_each_name_goes_its_own_way(rpd, origin, ca, real, trusting):
    """Two servers' TLS passed through, a third name ended here, all on one port."""
    other, ours = ca.issue("other.test"), ca.issue("ours.test")
    d = rpd(passing(origin(secured(real, greet)), listener="certificate = ours", more=f"""
{ours.section("ours")}
[route other]
host = other.test
tls = passthrough
backend = others
[backend others]
server = {origin(secured(other, tcp_echo)).addr}
[route ours]
backend = plain
[backend plain]
server = {origin().addr}
"""))
    with TlsClient(d.addr(), trusting) as client:
        assert client.exact(13) == b"the real one\n"
    with TlsClient(d.addr(), trusting, "other.test") as client:
        check_echo(client)
    with TlsClient(d.addr(), trusting, "ours.test") as client:
        assert client.ask(host="ours.test").status == 200
    with TlsClient(d.addr(), client_context(), "unknown.test") as client:
        assert client.ask().status == 200
        assert client.sock.getpeercert(True) == ssl.PEM_cert_to_DER_cert(ours.cert.read_text())
    d.wait_stats(lambda s: s["listeners"]["web"]["requests_total"] == 4)
    assert counts(d) == {"tls_passthrough": 2, "tls_handshakes": 2}


def test_passthrough_beside_a_tcp_listener_of_its_own(rpd, origin, ca, real, trusting):
    """mode = tcp: the same, with another route that ends TLS here."""
    ours = ca.issue("ours.test")
    d = rpd(passing(origin(secured(real, greet)), listener="mode = tcp\ncertificate = ours",
                    route="listener = web\nhost = www.test", more=f"""
{ours.section("ours")}
[route ours]
listener = web
host = ours.test
backend = plain
[backend plain]
server = {origin(tcp_echo).addr}
"""))
    with TlsClient(d.addr(), trusting) as client:
        assert client.exact(13) == b"the real one\n"
    with TlsClient(d.addr(), trusting, "ours.test") as client:
        check_echo(client)


# ---- how the ClientHello comes ----

def test_hello_split_at_every_byte(rpd, origin, real, trusting):
    d = rpd(passing(origin(secured(real, greet))))
    step = 7 if is_sanitized() else 1
    places = range(1, len(hello("www.test")), step)
    for at in places:
        with TlsClient(d.addr(), trusting, shape=in_two(at)) as client:
            assert client.exact(13) == b"the real one\n"
    assert counts(d) == {"tls_passthrough": len(places)}


@pytest.mark.parametrize("size", [1, 2, 5, 64, 500])
@pytest.mark.parametrize("shape", [None, one_by_one])
def test_hello_in_records_of_any_size(rpd, origin, real, trusting, size, shape):
    d = rpd(passing(origin(secured(real, greet))))
    with TlsClient(d.addr(), trusting, shape=lambda data: (shape or (lambda x: [x]))(
            records(data, size))) as client:
        assert client.exact(13) == b"the real one\n"


def test_large_hello(rpd, origin, ca, real):
    """As large as one with the key shares to come, and larger."""
    d = rpd(passing(origin(secured(real, greet))))
    for n in (10, 100, 400):
        context = client_context(ca.bundle, alpn=[f"protocol-of-some-length-{i}" for i in range(n)])
        for shape in (None, in_two(1400)):
            with TlsClient(d.addr(), context, shape=shape) as client:
                assert client.exact(13) == b"the real one\n"


@pytest.mark.parametrize("name", ["WWW.Test", "www.test"])
def test_case_of_the_name_does_not_matter(rpd, origin, name):
    d = rpd(passing(origin(tcp_echo)))
    with d.client() as client:
        client.send(hello(name))
        assert client.exact(len(hello(name))) == hello(name)


def test_bytes_go_through_untouched(rpd, origin):
    """What follows the hello is the server's: not even TLS has to come."""
    d = rpd(passing(origin(tcp_echo)))
    data = hello() + b"\x00\xffno TLS at all\r\n" + bytes(range(256)) * 300
    with d.client() as client:
        client.send(data)
        assert client.exact(len(data)) == data


@pytest.mark.parametrize("name", [None, "192.0.2.1", "nobody.test"])
def test_name_that_no_route_has(rpd, origin, name):
    """Without a certificate there is nobody else to answer; with a route for any host there is."""
    d = rpd(passing(origin(tcp_echo)))
    assert raw(d.addr(), hello(name)) == alert(UNRECOGNIZED_NAME)
    assert counts(d, "tls_failed_name") == {"tls_failed": 1, "tls_failed_name": 1}
    d.reload(passing(origin(tcp_echo), route=""))
    with d.client() as client:
        client.send(hello(name))
        assert client.exact(len(hello(name))) == hello(name)


def test_strict_sni_leaves_passthrough_for_any_name_alone(rpd, origin):
    d = rpd(passing(origin(tcp_echo), listener="strict_sni = on", route=""))
    with d.client() as client:
        client.send(hello("nobody.test"))
        assert client.exact(len(hello("nobody.test"))) == hello("nobody.test")


# ---- as any tcp session ----

def test_much_both_ways(rpd, origin, real, ca):
    total = 50 << 20
    got = []

    def handler(conn):
        conn.sock = server_context(real).wrap_socket(conn.sock, server_side=True)
        taken = bytearray()
        while len(taken) < total:
            taken += conn.sock.recv(1 << 20)
        got.append(sha(taken))
        for piece in pieces(total):
            conn.sock.sendall(piece)
    d = rpd(passing(origin(handler)))
    sock = client_context(ca.bundle).wrap_socket(d.client(timeout=60).sock,
                                                 server_hostname="www.test")
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
        assert stats["listeners"]["web"][a] == stats["routes"]["all"][a] == server[b] > total


@pytest.mark.parametrize("first", ["client", "server"])
def test_half_close_is_kept(rpd, origin, first):
    def handler(conn):
        assert conn.exact(len(hello())) == hello()
        if first == "client":
            conn.send(b"end seen after: " + conn.until_eof())
        else:
            conn.send(b"bye")
            conn.shutdown_write()
            assert conn.until_eof() == b"last words"
    d = rpd(passing(origin(handler)))
    with d.client() as client:
        client.send(hello())
        if first == "client":
            client.send(b"last words")
            client.shutdown_write()
            assert client.until_eof() == b"end seen after: last words"
        else:
            assert client.until_eof() == b"bye"
            client.send(b"last words")
            client.shutdown_write()
    d.wait_stats(lambda s: s["listeners"]["web"]["connections_active"] == 0)


def test_end_right_behind_the_hello(rpd, origin):
    d = rpd(passing(origin(tcp_echo)))
    with d.client() as client:
        client.send(hello())
        client.shutdown_write()
        assert client.until_eof() == hello()


def test_slow_reader_holds_the_server_back(rpd, origin):
    sent = [0]

    def handler(conn):
        conn.exact(len(hello()))
        while True:
            conn.send(b"x" * 65536)
            sent[0] += 65536
    d = rpd(passing(origin(handler)), workers=1)
    pid = d.worker_pids()[0]
    before = memory(pid)
    with d.client(rcvbuf=16384) as client:
        client.send(hello())
        wait_until(lambda: sent[0] > 0)
        assert stands_still(lambda: sent[0]) < kernel_buffers()
        if not is_sanitized():
            assert memory(pid) - before < 1 << 20
        client.exact(1 << 20)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_proxy_headers_before_and_behind(rpd, origin, real, trusting, version):
    seen = []

    def handler(conn):
        seen.append(proxyproto.read(conn, version))
        assert not conn.buf or conn.buf[0] == 22
        first = bytes(conn.buf)
        conn.buf.clear()
        seen.append(first[:1] or conn.exact(1))
    d = rpd(passing(origin(handler), listener="accept_proxy = on",
                    backend=f"send_proxy = {version}"))
    with d.client() as client:
        client.send(getattr(proxyproto, version)() + hello())
        client.until_eof()
    assert seen == [(("1.2.3.4", 1111), ("5.6.7.8", 2222)), b"\x16"]


def test_proxy_header_then_hello_in_any_pieces(rpd, origin, real, trusting):
    d = rpd(passing(origin(secured(real, greet)), listener="accept_proxy = on"))
    for header in (proxyproto.v1(), proxyproto.v2(tlvs=b"\x04\x0f\x00" + b"a" * 3840)):
        whole = len(header) + len(hello())
        for at in (1, len(header) - 1, len(header), len(header) + 1, len(header) + 5, whole - 1):
            with TlsClient(d.addr(), trusting, prefix=header, shape=in_two(at)) as client:
                assert client.exact(13) == b"the real one\n"
    assert raw(d.addr(), hello()) == b""
    assert counts(d) == {"tls_passthrough": 12, "refused": 1}


def test_another_server_is_tried(rpd, origin, real, trusting):
    gone = origin()
    gone.close()
    d = rpd(passing(gone, origin(secured(real, greet))), workers=1)
    for _ in range(4):
        with TlsClient(d.addr(), trusting) as client:
            assert client.exact(13) == b"the real one\n"
    assert d.wait_stats(lambda s: s["routes"]["all"]["retries"] >= 1)


def test_max_conns_makes_sessions_wait(rpd, origin):
    d = rpd(passing(origin(tcp_echo), backend="max_conns = 1"), workers=1)
    with d.client() as first, d.client() as second:
        first.send(hello())
        first.exact(1)
        second.send(hello())
        d.wait_stats(lambda s: s["backends"]["pool"]["queued"] == 1)
        first.close()
        assert second.exact(len(hello())) == hello()


def test_no_server_closes_the_session(rpd, origin):
    gone = origin()
    gone.close()
    d = rpd(passing(gone))
    assert raw(d.addr(), hello()) == b""
    d.wait_stats(lambda s: s["routes"]["all"]["aborted"] == 1)


# ---- what is seen of it ----

def test_access_log_and_recorder_have_the_session(rpd, origin, tmp_path):
    log = tmp_path / "access"
    d = rpd(passing(origin(tcp_echo)), workers=1, globals_=f"""
        access_log = {log}
        access_log_format = $listener $route $server $sni $tls_version $scheme $bytes_in $bytes_out
        """)
    with d.client() as client:
        client.send(hello("A.www.test"))
        client.exact(len(hello("A.www.test")))
    n = len(hello("A.www.test"))
    wait_until(lambda: log.read_text() == f"web all s0 a.www.test - tcp {n} {n}\n")
    last = json.loads(d.ctl("-o", "json", "recent", check=True).stdout)[-1]
    assert (last["listener"], last["route"], last["bytes_in"]) == ("web", "all", n)
    assert (last["kind"], last["uri"]) == ("tcp", "a.www.test")
    assert "tcp a.www.test" in d.ctl("recent", check=True).stdout


def test_failure_is_logged_at_info(rpd, origin):
    d = rpd(passing(origin(tcp_echo)), globals_="log_level = info")
    raw(d.addr(), hello("nobody.test"))
    d.wait_log(r"info worker \d\[\d+\]: listener web: TLS with 127.0.0.1 port \d+, "
               r"name nobody.test: nobody serves that name")


# ---- over changes ----

def test_reload_while_a_hello_is_half_read(rpd, origin, real, trusting):
    """It goes on under the rules it began with; the next one has the new ones."""
    new = passing(origin(secured(real, tcp_echo))).replace("pool", "another")
    d = rpd(passing(origin(secured(real, greet))))

    def reloading(data):
        yield data[:100]
        d.wait_stats(lambda s: s["listeners"]["web"]["connections_active"] == 1)
        for _ in range(3):
            d.reload(new)
        yield data[100:]
    with TlsClient(d.addr(), trusting, shape=reloading) as client:
        assert client.exact(13) == b"the real one\n"
        check_echo(client)
        with TlsClient(d.addr(), trusting) as other:
            check_echo(other)


def test_session_lives_over_a_reload_that_takes_its_route_away(rpd, origin, real, trusting):
    d = rpd(passing(origin(secured(real, greet))))
    with TlsClient(d.addr(), trusting) as client:
        assert client.exact(13) == b"the real one\n"
        d.reload(passing(origin(tcp_echo), route="host = else.test"))
        check_echo(client)
        assert raw(d.addr(), hello()) == alert(UNRECOGNIZED_NAME)


def test_many_at_once(rpd, origin, real, trusting):
    d = rpd(passing(origin(secured(real, tcp_echo))))
    failed = []

    def run():
        try:
            for _ in range(5):
                with TlsClient(d.addr(), trusting, timeout=60) as client:
                    check_echo(client, 30000)
        except Exception as error:
            failed.append(error)
    threads = [threading.Thread(target=run) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not failed
    d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 50)
    assert counts(d) == {"tls_passthrough": 50}
    with contextlib.suppress(OSError):
        holds_for(lambda: not d.stats()["listeners"]["web"]["tls_failed"], 0.05)
