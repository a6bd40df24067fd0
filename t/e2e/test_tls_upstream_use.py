"""TLS to servers: sessions, what is carried, tcp, other settings by a reload."""

import ssl
import threading

import pytest

from harness.client import request_bytes
from harness.daemon import plain
from harness.origin import answer, chunked, tcp_echo, upgrade_echo
from harness.tls import TlsClient, client_context
from harness.tls_origin import NAME, counts, server_context, server_of, tls
from harness.util import fd_count, memory, pattern, pattern_sha, times, wait_until
from harness.wire import Eof


# ---- sessions and connections ----

def test_sessions_are_resumed(rpd, origin, pki):
    o = origin(leaf=pki.good)
    d = rpd(plain(o, backend=tls(pki, keepalive=0)), workers=1)
    for _ in range(6):
        assert d.ask("/bytes/100").body == pattern(100)
    assert [h.is_resumed for h in o.handshakes] == [False] + 5 * [True]
    assert counts(d) == (6, 5, 0)


def test_many_at_a_time_resume_the_same_session(rpd, origin, pki):
    o = origin(leaf=pki.good)
    d = rpd(plain(o, backend=tls(pki, keepalive=0)), workers=1)
    assert d.ask().status == 200
    for _ in range(times(5)):
        clients = [d.client() for _ in range(20)]
        for client in clients:
            client.send(request_bytes(target="/bytes/10"))
        for client in clients:
            assert client.response().body == pattern(10)
            client.close()
    full = [h for h in o.handshakes if not h.is_resumed]
    assert len(full) == 1, len(full)


def test_a_kept_connection_needs_no_handshake(rpd, origin, pki):
    o = origin(leaf=pki.good)
    d = rpd(plain(o, backend=tls(pki)), workers=1)
    with d.client() as client:
        for _ in range(50):
            assert client.ask("/bytes/20000").sha == pattern_sha(20000)
    assert counts(d) == (1, 0, 0)
    assert server_of(d)["connections_reused"] == 49


def test_a_kept_connection_that_died_is_replaced(rpd, origin, pki):
    for is_rude in (False, True):
        def handler(conn, is_rude=is_rude):
            answer(conn, conn.request())
            conn.is_rude = is_rude
        o = origin(handler, leaf=pki.good)
        d = rpd(plain(o, backend=tls(pki)), workers=1)
        for _ in range(5):
            assert d.ask("/bytes/30").body == pattern(30)
        d.wait_stats(lambda s: s["routes"]["all"]["status_2xx"] == 5)


def test_a_session_the_server_forgot_costs_nothing_but_time(rpd, origin, pki):
    o = origin(leaf=pki.good)
    d = rpd(plain(o, backend=tls(pki, keepalive=0)), workers=1)
    assert d.ask().status == 200
    o.context = server_context(pki.good)  # new ticket keys
    assert d.ask().status == 200
    assert d.ask().status == 200
    assert [h.is_resumed for h in o.handshakes] == [False, False, True]


# ---- what is carried ----

@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3],
                         ids=["1.2", "1.3"])
def test_large_bodies_both_ways(rpd, origin, pki, version):
    o = origin(context=server_context(pki.good, version=version))
    d = rpd(plain(o, backend=tls(pki)), workers=1)
    n = 20 << 20
    for path in ("/bytes", "/chunked", "/close"):
        assert d.ask(f"{path}/{n}").sha == pattern_sha(n)
    body = pattern(n)
    res = d.ask("/x", "POST", body=body)
    assert res.status == 200 and o.last().sha == pattern_sha(n)
    with d.client() as client:
        client.send(request_bytes("POST", "/x", [("Transfer-Encoding", "chunked")]))
        client.send(chunked(*(body[i:i + 77777] for i in range(0, n, 77777))))
        assert client.response().status == 200
    assert o.last().sha == pattern_sha(n)


def test_a_body_that_is_cut_short_is_not_whole(rpd, origin, pki):
    """Without close_notify anybody could have ended it."""
    def handler(conn):
        conn.request()
        conn.send("HTTP/1.1 200 OK\r\n\r\n" + "x" * 5000)
        conn.is_rude = True
    o = origin(handler, leaf=pki.good)
    d = rpd(plain(o, backend=tls(pki)), workers=1)
    with d.client() as client:
        client.send(request_bytes())
        res = client.response_head()
        assert res.status == 200
        with pytest.raises((Eof, ConnectionError)):
            client.body(res)
    s = server_of(d)
    assert (s["failures"], s["last_error"]) == (1, "reset")
    assert d.route_count(field="aborted") == 1


def test_a_body_that_ends_with_a_goodbye_is_whole(rpd, origin, pki):
    def handler(conn):
        conn.request()
        conn.send("HTTP/1.1 200 OK\r\n\r\n" + "x" * 5000)
    o = origin(handler, leaf=pki.good)
    d = rpd(plain(o, backend=tls(pki)), workers=1)
    for _ in range(3):
        assert d.ask().body == b"x" * 5000
    assert server_of(d)["failures"] == 0


@pytest.mark.parametrize("is_rude", [False, True])
def test_an_early_answer_is_heard_though_the_rest_cannot_be_sent(rpd, origin, pki, is_rude):
    """The server answers and closes with bytes unread: its reset must not eat the answer."""
    def handler(conn):
        conn.request_head()
        conn.reply(b"no", "413 Content Too Large", [("Connection", "close")])
        conn.is_rude = is_rude
    o = origin(handler, leaf=pki.good)
    d = rpd(plain(o, backend=tls(pki)), workers=1)
    heard = 0
    for _ in range(times(10)):
        with d.client() as client:
            client.send(request_bytes("POST", "/", [("Content-Length", 1 << 30)]))
            try:
                for _ in range(40):
                    client.send(b"x" * 65536)
            except OSError:
                pass
            res = client.response()
            assert res.status in (413, 502)
            heard += res.status == 413
    assert heard >= times(10) - 1, heard


def test_the_server_is_told_goodbye(rpd, origin, pki):
    heard = []

    def handler(conn):
        conn.sock.suppress_ragged_eofs = False
        answer(conn, conn.request())
        heard.append(conn.sock.recv(100))
    o = origin(handler, leaf=pki.good)
    d = rpd(plain(o, backend=tls(pki, keepalive=0)), workers=1)
    assert d.ask().status == 200
    wait_until(lambda: heard)
    assert heard == [b""]


def test_an_upgrade_goes_through(rpd, origin, pki):
    o = origin(upgrade_echo, leaf=pki.good)
    d = rpd(plain(o, backend=tls(pki)), workers=1)
    with d.client() as client:
        client.send(request_bytes(headers=[("Connection", "Upgrade"), ("Upgrade", "websocket")]))
        assert client.response_head().status == 101
        for n in (1, 100, 70000, 1 << 20):
            threading.Thread(target=client.send, args=(pattern(n),)).start()
            assert client.exact(n) == pattern(n)
        client.shutdown_write()
        assert client.is_closed()
    wait_until(lambda: not o.open_connections())


def test_the_proxy_header_goes_first_and_in_the_clear(rpd, origin, pki):
    line = "PROXY TCP4 127.0.0.1 127.0.0.1 00000 00000\r\n"

    def handler(conn):
        seen.append(conn.preface)
        answer(conn, conn.request())
    seen = []
    d = rpd(plain("127.0.0.1:1", backend=tls(pki, send_proxy="v1")), workers=1)
    with d.client() as client:
        ports = f"{client.name[1]} {d.addr()[1]}"
        line = f"PROXY TCP4 127.0.0.1 127.0.0.1 {ports}\r\n"
        o = origin(handler, leaf=pki.good, before=len(line))
        d.write(plain(o, backend=tls(pki, send_proxy="v1")))
        d.ctl("reload", check=True)
        assert client.ask("/bytes/9").body == pattern(9)
    assert seen == [line.encode()]


@pytest.mark.parametrize("how, host", [("preserve", "asked.test"), ("other.test", "other.test")])
def test_the_host_field_is_as_in_the_clear(rpd, origin, pki, how, host):
    o = origin(leaf=pki.good)
    d = rpd(plain(o, backend=tls(pki), route=f"host_header = {how}"), workers=1)
    assert d.ask(host="asked.test").status == 200
    assert o.last().get("Host") == host
    assert o.handshakes[0].sni == NAME


# ---- tcp ----

def test_a_tcp_listener_with_servers_that_speak_tls(rpd, origin, pki):
    o = origin(tcp_echo, leaf=pki.good)
    d = rpd(plain(o, listener="mode = tcp", backend=tls(pki)), workers=1)
    with d.client() as client:
        for n in (1, 5000, 3 << 20):
            threading.Thread(target=client.send, args=(pattern(n),)).start()
            assert client.exact(n) == pattern(n)
    shake = o.handshakes[0]
    assert (shake.sni, shake.alpn) == (NAME, None)
    wait_until(lambda: not o.open_connections())
    assert counts(d) == (1, 0, 0)


def test_a_tcp_session_whose_server_is_not_believed(rpd, origin, pki):
    o = origin(tcp_echo, leaf=pki.wrong)
    d = rpd(plain(o, listener="mode = tcp", backend=tls(pki)), workers=1)
    with d.client() as client:
        client.send(b"hello")
        assert client.is_closed()
    assert server_of(d)["last_error"] == "certificate of another name"


def test_tls_on_both_sides_of_a_tcp_session(rpd, origin, pki):
    """Each side's end is told to the other; what was sent before arrives."""
    o = origin(tcp_echo, leaf=pki.good)
    listener = "mode = tcp\ntls = on\ncertificate = site"
    d = rpd(plain(o, listener=listener, backend=tls(pki)) + pki.good.section("site"), workers=1)
    with TlsClient(d.addr(), client_context(pki.ca.bundle)) as client:
        client.send(pattern(70000))
        assert client.exact(70000) == pattern(70000)
        client.send(pattern(100))
        client.shutdown_write()
        assert client.until_eof() == pattern(100)
    with TlsClient(d.addr(), client_context(pki.ca.bundle)) as client:
        for _ in range(8):
            client.send(pattern(100000))
            assert client.exact(100000) == pattern(100000)
    wait_until(lambda: not o.open_connections())
    assert counts(d) == (2, 1, 0)


def test_tls_on_both_sides_of_requests(rpd, origin, pki):
    o = origin(leaf=pki.good)
    listener = "tls = on\ncertificate = site"
    d = rpd(plain(o, listener=listener, backend=tls(pki)) + pki.good.section("site"), workers=1)
    with TlsClient(d.addr(), client_context(pki.ca.bundle)) as client:
        for n in (0, 1, 100000, 5 << 20):
            assert client.ask(f"/bytes/{n}").sha == pattern_sha(n)
        assert client.ask("/echo", "POST", body=pattern(100000)).sha == pattern_sha(100000)
        assert o.last().get("X-Forwarded-Proto") == "https"
    assert counts(d) == (1, 0, 0)


def test_a_tcp_session_cut_short_is_no_good_end(rpd, origin, pki, tmp_path):
    def handler(conn):
        conn.sock.recv(100)
        conn.send("some")
        conn.is_rude = True
    o = origin(handler, leaf=pki.good)
    log = tmp_path / "access"
    d = rpd(plain(o, listener="mode = tcp", backend=tls(pki)), workers=1,
            globals_=f"access_log = {log}\naccess_log_format = $bytes_out $end_reason")
    with d.client() as client:
        client.send(b"x")
        assert client.until_eof() == b"some"
    wait_until(lambda: log.exists() and log.read_text())
    assert log.read_text() == "4 server reset\n"


# ---- reload ----

def test_reload_turns_tls_on_and_off(rpd, origin, pki):
    clear, secret = origin(name="clear"), origin(leaf=pki.good, name="secret")
    d = rpd(plain(clear), workers=1)
    with d.client() as client:
        for _ in range(3):
            for o, lines in ((clear, ""), (secret, tls(pki))):
                d.write(plain(o, backend=lines))
                d.ctl("reload", check=True)
                assert o.name in client.ask().body.decode()


def test_a_kept_connection_of_other_rules_is_not_used(rpd, origin, pki):
    """The same server throughout; what changes is what is believed of it."""
    o = origin(leaf=pki.good)
    d = rpd(plain(o, backend=tls(pki)), workers=1)

    def becomes(lines, status):
        d.write(plain(o, backend=lines, route="retries = 0"))
        d.ctl("reload", check=True)
        assert d.ask().status == status
    assert d.ask().status == 200
    becomes(tls(pki), 200)
    assert counts(d) == (1, 0, 0)                         # nothing has changed
    becomes(tls(pki, ca=pki.other.bundle), 502)
    becomes(tls(pki), 200)
    becomes(tls(pki, name="strange.test"), 502)
    becomes(tls(pki, name="localhost"), 200)
    becomes("tls = on\ntls_verify = off", 200)
    becomes(tls(pki, ca=pki.other.bundle, name="strange.test"), 502)
    assert len(o.open_connections()) <= 1


def test_a_session_is_no_proof_under_other_rules(rpd, origin, pki):
    """What was not verified then is not believed now because it is resumed."""
    o = origin(leaf=pki.stranger)
    d = rpd(plain(o, backend="tls = on\ntls_verify = off\nkeepalive = 0"), workers=1)
    assert [d.ask().status for _ in range(2)] == [200, 200]
    assert o.handshakes[1].is_resumed
    d.write(plain(o, backend=tls(pki, keepalive=0), route="retries = 0"))
    d.ctl("reload", check=True)
    assert d.ask().status == 502
    assert server_of(d)["last_error"] == "certificate untrusted"


def test_a_connection_in_use_over_a_reload_is_not_kept(rpd, origin, pki):
    go = threading.Event()

    def handler(conn):
        req = conn.request()
        while True:
            if req.target == "/wait":
                go.wait(30)
            answer(conn, req)
            req = conn.request()
    o = origin(handler, leaf=pki.good)
    d = rpd(plain(o, backend=tls(pki)), workers=1)
    with d.client() as client:
        client.send(request_bytes(target="/wait"))
        wait_until(lambda: o.heads)
        d.write(plain(o, backend="tls = on\ntls_verify = off"))
        d.ctl("reload", check=True)
        go.set()
        assert client.response().status == 200
        assert client.ask("/again").status == 200
    assert counts(d) == (2, 0, 0)


def test_changed_cas_are_read_by_reload(rpd, origin, pki, tmp_path):
    bundle = tmp_path / "ca.pem"
    bundle.write_bytes(pki.other.bundle.read_bytes())
    o = origin(leaf=pki.good)
    d = rpd(plain(o, backend=tls(pki, ca=bundle), route="retries = 0"), workers=1)
    assert d.ask().status == 502
    bundle.write_bytes(pki.ca.bundle.read_bytes())
    d.ctl("reload", check=True)
    assert d.ask().status == 200


def test_servers_certificates_may_change_under_load(rpd, origin, pki):
    """No request fails while reloads change the rules to equally good ones."""
    o = origin(leaf=pki.good)
    d = rpd(plain(o, backend=tls(pki)), workers=2)
    stop, bad = threading.Event(), []

    def ask():
        with d.client() as client:
            while not stop.is_set():
                res = client.ask("/bytes/2000")
                if res.status != 200 or res.body != pattern(2000):
                    bad.append(res)
    threads = [threading.Thread(target=ask) for _ in range(4)]
    for t in threads:
        t.start()
    for i in range(times(10)):
        d.write(plain(o, backend=tls(pki, name=(NAME, "localhost")[i % 2])))
        d.ctl("reload", check=True)
    stop.set()
    for t in threads:
        t.join(30)
    assert not bad, bad[:3]
    s = server_of(d)
    assert s["failures"] == 0 and s["tls_handshakes"] > 2


@pytest.mark.release_only
def test_reloads_hold_no_memory(rpd, origin, pki):
    o = origin(leaf=pki.good)
    d = rpd(plain(o, backend=tls(pki)), workers=1)
    pid = d.worker_pids()[0]

    def reloads(n):
        for i in range(n):
            d.write(plain(o, backend=tls(pki, name=(NAME, "localhost")[i % 2])))
            d.ctl("reload", check=True)
            assert d.ask().status == 200
    reloads(30)
    before, fds = memory(pid, "Private_Dirty"), fd_count(pid)
    reloads(100)
    assert memory(pid, "Private_Dirty") - before < 300_000
    wait_until(lambda: fd_count(pid) <= fds + 1)  # a connection more or less is kept
