"""TLS to servers: who is believed and who is not, and what a failure is called."""

import os
import signal
import ssl
import threading

import pytest

from harness.daemon import plain
from harness.tls_origin import HANDSHAKE_FAILURE, NAME, counts, server_context, server_of, tls
from harness.util import fd_count, pattern, pattern_sha, times, wait_until


# ---- good servers ----

def test_a_server_is_verified_by_name_and_chain(rpd, origin, pki):
    o = origin(leaf=pki.below)
    d = rpd(plain(o, backend=tls(pki)), workers=1)
    res = d.ask("/bytes/70000")
    assert (res.status, res.sha) == (200, pattern_sha(70000))
    shake = o.handshakes[0]
    assert (shake.sni, shake.alpn, shake.version) == (NAME, "http/1.1", "TLSv1.3")
    assert counts(d) == (1, 0, 0)


def test_a_wildcard_in_the_certificate_is_one_label(rpd, origin, pki):
    o = origin(leaf=pki.named)
    d = rpd(plain(o, backend=tls(pki, "a.wild.test")), workers=1)
    assert d.ask().status == 200
    d.write(plain(o, backend=tls(pki, "a.b.wild.test")))
    d.ctl("reload", check=True)
    assert d.ask().status == 502


def test_the_servers_host_is_its_name(rpd, origin, pki):
    o = origin(leaf=pki.good)
    d = rpd(plain(f"localhost:{o.port}", backend=tls(pki, name=None)), workers=1)
    assert d.ask().status == 200
    assert o.handshakes[0].sni == "localhost"


def test_an_address_is_verified_as_one_and_never_sent(rpd, origin, pki):
    o = origin(leaf=pki.good)
    d = rpd(plain(o, backend=tls(pki, name=None)), workers=1)
    assert d.ask().status == 200
    assert o.handshakes[0].sni is None
    only_named = origin(leaf=pki.named)
    d.write(plain(only_named, backend=tls(pki, name=None)))
    d.ctl("reload", check=True)
    assert "name" in d.ask().get("Proxy-Status")


def test_a_unix_socket_has_the_name_it_is_given(rpd, origin, pki, tmp_path):
    o = origin(leaf=pki.good, path=tmp_path / "sock")
    d = rpd(plain(o, backend=tls(pki)), workers=1)
    assert d.ask("/bytes/5").body == pattern(5)
    assert o.handshakes[0].sni == NAME


def test_without_tls_ca_it_is_the_systems_that_are_believed(rpd, origin, pki):
    o = origin(leaf=pki.good)
    d = rpd(plain(o, backend=f"tls = on\ntls_name = {NAME}"), workers=1,
            env={"SSL_CERT_FILE": str(pki.ca.bundle)})
    assert d.ask().status == 200
    d = rpd(plain(o, backend=f"tls = on\ntls_name = {NAME}"), workers=1,
            env={"SSL_CERT_FILE": str(pki.other.bundle)})
    assert d.ask().status == 502
    assert server_of(d)["last_error"] == "certificate untrusted"


def test_verification_can_be_turned_off(rpd, origin, pki):
    leaves = [pki.self_signed, pki.expired, pki.wrong, pki.stranger]
    for leaf in leaves:
        o = origin(leaf=leaf)
        d = rpd(plain(o, backend="tls = on\ntls_verify = off"), workers=1)
        assert d.ask().status == 200
        assert o.handshakes[0].sni is None
        assert counts(d) == (1, 0, 0)


def test_tls_1_2_will_do_and_resumes(rpd, origin, pki):
    o = origin(context=server_context(pki.good, version=ssl.TLSVersion.TLSv1_2))
    d = rpd(plain(o, backend=tls(pki, keepalive=0)), workers=1)
    for _ in range(3):
        assert d.ask("/bytes/3000").sha == pattern_sha(3000)
    assert [(h.version, h.is_resumed) for h in o.handshakes] == [
        ("TLSv1.2", False), ("TLSv1.2", True), ("TLSv1.2", True)]
    assert counts(d) == (3, 2, 0)


# ---- what is the matter with a server ----

REFUSED = {
    "wrong": ("server certificate of another name", "certificate of another name"),
    "expired": ("server certificate expired", "certificate expired"),
    "early": ("server certificate refused: certificate is not yet valid", "certificate refused"),
    "stranger": ("server certificate untrusted", "certificate untrusted"),
    "self_signed": ("server certificate untrusted: self-signed certificate",
                    "certificate untrusted"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_certificate_that_is_not_good(rpd, origin, pki, what):
    text, error = REFUSED[what]
    o = origin(leaf=getattr(pki, what))
    d = rpd(plain(o, backend=tls(pki), route="retries = 0"), workers=1)
    res = d.ask()
    assert res.status == 502
    status = res.get("Proxy-Status")
    assert status.startswith(f'rpd; error=tls_certificate_error; details="{text}'), status
    assert not o.requests and not o.handshakes
    wait_until(lambda: o.failures)
    assert "alert" in str(o.failures[0])  # it was told why
    assert counts(d) == (0, 0, 1)
    s = server_of(d)
    assert (s["last_error"], s["failures"], s["connect_errors"]) == (error, 1, 1)
    assert error in d.ctl("health", check=True).stdout
    d.wait_log(rf"backend pool: server s0: {text}")


def test_the_access_log_says_why(rpd, origin, pki, tmp_path):
    o = origin(leaf=pki.expired)
    log = tmp_path / "access"
    d = rpd(plain(o, backend=tls(pki)), workers=1,
            globals_=f"access_log = {log}\naccess_log_format = $status $server $end_reason")
    assert d.ask().status == 502
    wait_until(lambda: log.exists() and log.read_text())
    assert log.read_text() == "502 s0 server certificate expired\n"


def raw(handler):
    """An origin's handler that sees the ClientHello and answers with what it likes."""
    def handle(conn):
        conn.sock.recv(65536)
        handler(conn)
    return handle


def test_a_server_that_speaks_plain(rpd, origin, pki):
    o = origin(raw(lambda conn: conn.send("HTTP/1.1 400 Bad Request\r\n\r\n")))
    d = rpd(plain(o, backend=tls(pki)), workers=1)
    res = d.ask()
    assert (res.status, res.get("Proxy-Status")) == (
        502, 'rpd; error=tls_protocol_error; details="TLS with server failed: '
        'wrong version number"')
    assert server_of(d)["last_error"] == "TLS failed"
    assert counts(d) == (0, 0, 1)


def test_a_server_that_closes_within_the_handshake(rpd, origin, pki):
    for handler in (raw(lambda conn: None), lambda conn: None,
                    raw(lambda conn: conn.send(b"\x16\x03\x03\x01\x00half")),
                    raw(lambda conn: conn.reset())):
        o = origin(handler)
        d = rpd(plain(o, backend=tls(pki)), workers=1)
        res = d.ask()
        assert res.status == 502
        assert "error=tls_protocol_error" in res.get("Proxy-Status")
        assert counts(d) == (0, 0, 1)


def test_a_server_that_never_answers(rpd, origin, pki):
    done = threading.Event()
    o = origin(raw(lambda conn: done.wait(60)))
    d = rpd(plain(o, backend=tls(pki), route="timeout_connect = 300ms"), workers=1)
    res = d.ask()
    done.set()
    assert (res.status, res.get("Proxy-Status")) == (
        504, 'rpd; error=connection_timeout; details="connect timeout: '
        'within the TLS handshake"')
    s = server_of(d)
    assert (s["last_error"], s["timeouts"], s["tls_failed"]) == ("connect timeout", 1, 1)


def test_a_server_that_sends_an_alert(rpd, origin, pki):
    o = origin(raw(lambda conn: (conn.send(HANDSHAKE_FAILURE), conn.wait_end())))
    d = rpd(plain(o, backend=tls(pki)), workers=1)
    res = d.ask()
    assert res.status == 502
    assert res.get("Proxy-Status").startswith(
        'rpd; error=tls_alert_received; details="server refused TLS: ')
    assert server_of(d)["last_error"] == "TLS refused"
    assert counts(d) == (0, 0, 1)


def test_nonsense_ends_one_connection(rpd, origin, pki):
    heads = [b"", b"\x16\x03\x03\x00\x04\x02\x00\x00\x00", b"\x17\x03\x03\x00\x05hello",
             b"\x14\x03\x03\x00\x01\x01" * 50, b"\x16\x03\x03\x40\x00" + b"\x02" * 16384]
    junk = [head + tail for head in heads for tail in (b"\0" * 300, pattern(70000))]
    left = list(junk)

    def handler(conn):
        conn.sock.recv(65536)
        conn.send(left.pop())
        conn.wait_end()
    o = origin(handler)
    d = rpd(plain(o, backend=tls(pki), route="timeout_connect = 1s"), workers=1)
    for _ in junk:
        assert d.ask().status in (502, 504)
    assert counts(d) == (0, 0, len(junk))
    assert d.stats()["rpd"]["worker_crashes"] == 0


def test_servers_that_are_refused_leave_nothing_behind(rpd, origin, pki):
    """Though they do not close when they are told."""
    done = threading.Event()

    def handler(conn):
        context = server_context(pki.expired)
        with pytest.raises(OSError):
            context.wrap_socket(conn.sock, server_side=True, suppress_ragged_eofs=False)
        done.wait(30)
    o = origin(handler)
    d = rpd(plain(o, backend=tls(pki), route="retries = 0"), workers=1)
    pid = d.worker_pids()[0]
    before = fd_count(pid)
    assert {d.ask().status for _ in range(times(60))} == {502}
    wait_until(lambda: fd_count(pid) <= before, 10)
    done.set()
    assert counts(d) == (0, 0, times(60))


def test_a_failed_handshake_is_tried_again_elsewhere(rpd, origin, pki):
    bad, good = origin(leaf=pki.expired, name="bad"), origin(leaf=pki.good, name="good")
    d = rpd(plain(bad, good, backend=tls(pki)), workers=1)
    for _ in range(4):
        res = d.ask("/echo", "POST", body=b"said once")
        assert (res.status, res.body) == (200, b"said once")
    stats = d.stats()
    assert stats["routes"]["all"]["retries"] >= 1
    assert stats["backends"]["pool"]["servers"]["s0"]["tls_failed"] >= 1
    d.write(plain(bad, good, backend=tls(pki), route="retries = 0"))
    d.ctl("reload", check=True)
    assert {d.ask().status for _ in range(4)} == {200, 502}


# ---- certificates of ours ----

@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3],
                         ids=["1.2", "1.3"])
@pytest.mark.parametrize("key_process", ["on", "off"])
def test_a_client_certificate(rpd, origin, pki, version, key_process):
    o = origin(context=server_context(pki.good, client_ca=pki.ca.bundle, version=version))
    text = plain(o, backend=tls(pki, tls_certificate="me")) + pki.client.section("me")
    d = rpd(text, workers=1, globals_=f"key_process = {key_process}")
    assert d.ask().status == 200
    assert o.handshakes[0].client["subject"] == ((("commonName", "rpd itself"),),)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3],
                         ids=["1.2", "1.3"])
def test_a_client_certificate_that_is_lacking(rpd, origin, pki, version):
    """In TLS 1.3 the server says so only when we have finished and sent the request."""
    o = origin(context=server_context(pki.good, client_ca=pki.ca.bundle, version=version))
    d = rpd(plain(o, backend=tls(pki), route="retries = 0"), workers=1)
    res = d.ask()
    assert res.status == 502
    assert "error=tls_alert_received" in res.get("Proxy-Status")
    s = server_of(d)
    assert (s["last_error"], s["failures"]) == ("TLS refused", 1)
    assert not o.requests


def test_a_client_certificate_that_the_server_does_not_take(rpd, origin, pki):
    o = origin(context=server_context(pki.good, client_ca=pki.ca.bundle))
    text = (plain(o, backend=tls(pki, tls_certificate="me"), route="retries = 0")
            + pki.foreign_client.section("me"))
    d = rpd(text, workers=1)
    res = d.ask()
    assert res.status == 502
    assert res.get("Proxy-Status") == ('rpd; error=tls_alert_received; details="server refused '
                                       'TLS: tlsv1 alert unknown ca"')


def test_client_certificates_outlive_the_process_that_has_their_keys(rpd, origin, pki):
    o = origin(context=server_context(pki.good, client_ca=pki.ca.bundle))
    text = plain(o, backend=tls(pki, tls_certificate="me", keepalive=0)) + pki.client.section("me")
    d = rpd(text, workers=1)
    for _ in range(times(5)):
        pid = d.stats()["rpd"]["keys_pid"]
        os.kill(pid, signal.SIGKILL)
        o.context = server_context(pki.good, client_ca=pki.ca.bundle)  # no session to resume
        assert d.ask().status == 200
        wait_until(lambda pid=pid: d.stats()["rpd"]["keys_pid"] not in (0, pid))
    assert counts(d)[2] == 0
