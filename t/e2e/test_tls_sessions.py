"""TLS over the life of the daemon: sessions resume on any worker, whatever became of the one that
began them; certificates change under load, and nobody notices."""

import os
import signal
import socket
import ssl
import threading

import pytest

from harness.certs import Authority
from harness.util import is_sanitized, times, wait_until

NAME = "www.test"
SITE = """
[listener web]
bind = @web@
tls = on
certificate = www
{certificate}
[route all]
respond = 200 $tls_version
"""


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("sessions"))


def site(leaf):
    return SITE.format(certificate=leaf.section("www"))


def context(ca, version=None):
    ctx = ssl.create_default_context(cafile=ca.bundle)
    if version:
        ctx.minimum_version = ctx.maximum_version = version
    return ctx


def connect(d, ctx, session=None):
    sock = socket.create_connection(d.addr(), timeout=30)
    return ctx.wrap_socket(sock, server_hostname=NAME, session=session)


def ask(tls, close=True):
    """One request; the body of a good answer."""
    tls.sendall(b"GET / HTTP/1.1\r\nHost: www.test\r\n"
                + (b"Connection: close\r\n" if close else b"") + b"\r\n")
    got = b""
    while not got.endswith((b"TLSv1.2", b"TLSv1.3")):
        more = tls.recv(65536)
        assert more, got
        got += more
    assert got.startswith(b"HTTP/1.1 200 "), got
    return got[-7:]


def begin(d, ctx):
    """A session to resume."""
    with connect(d, ctx) as tls:
        ask(tls)
        assert not tls.session_reused
        return tls.session


def resume(d, ctx, session, count):
    for _ in range(count):
        with connect(d, ctx, session) as tls:
            assert tls.session_reused
            ask(tls)


VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3],
                                   ids=["1.2", "1.3"])


@VERSIONS
def test_sessions_resume_on_every_worker_over_reload_crash_and_upgrade(rpd, ca, version):
    d = rpd(site(ca.issue(NAME)), workers=2)
    ctx = context(ca, version)
    session = begin(d, ctx)
    total = times(1000)
    resume(d, ctx, session, total * 4 // 10)
    assert all(w["requests"] > 0 for w in d.stats()["workers"])
    d.reload()
    resume(d, ctx, session, total // 10)
    victim = d.worker_pids()[0]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: victim not in d.worker_pids() and len(d.worker_pids()) == 2)
    resume(d, ctx, session, total // 10)
    d.upgrade()
    resume(d, ctx, session, total * 4 // 10)
    web = d.wait_stats(lambda s: s["listeners"]["web"]["requests_total"] == total + 1)
    web = d.stats()["listeners"]["web"]
    assert (web["tls_handshakes"], web["tls_resumed"], web["tls_failed"]) == (total + 1, total, 0)


def test_a_session_is_not_of_another_listener(rpd, ca):
    """What a client proved to one is not believed by another."""
    leaf = ca.issue(NAME)
    d = rpd(site(leaf) + f"""
[listener inner]
bind = @inner@
tls = on
certificate = www
client_ca = {ca.bundle}
client_verify = optional
""", workers=1)
    ctx = context(ca, ssl.TLSVersion.TLSv1_2)
    session = begin(d, ctx)
    sock = socket.create_connection(d.addr("inner"), timeout=30)
    with ctx.wrap_socket(sock, server_hostname=NAME, session=session) as tls:
        assert not tls.session_reused
        ask(tls)


class Clients:
    """Threads that ask, each with a new connection and a whole handshake every time."""

    def __init__(self, d, ctx, count=4):
        self.d, self.ctx, self.errors, self.asked = d, ctx, [], 0
        self.is_over = threading.Event()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def run(self):
        while not self.is_over.is_set():
            try:
                with connect(self.d, self.ctx) as tls:
                    ask(tls, close=False)
                    ask(tls)
                self.asked += 1
            except (OSError, AssertionError) as e:
                self.errors.append(e)

    def stop(self):
        self.is_over.set()
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive()


@pytest.mark.parametrize("key_process", ["on", "off"])
def test_certificates_change_under_load_and_no_request_fails(rpd, ca, tmp_path, key_process):
    leaves = [ca.issue(NAME), ca.issue(NAME, kind="rsa"), ca.issue(NAME)]
    cert, key = tmp_path / "www.pem", tmp_path / "www.key"

    def put(leaf):
        cert.write_bytes(leaf.chain.read_bytes())
        key.write_bytes(leaf.key.read_bytes())
    put(leaves[0])
    d = rpd(SITE.format(certificate=f"[certificate www]\ncert = {cert}\nkey = {key}\n"), workers=2,
            globals_=f"key_process = {key_process}\n")
    ctx = context(ca)
    kept = connect(d, ctx)
    ask(kept, close=False)
    clients = Clients(d, ctx)
    rounds = 6 if is_sanitized() else 20
    for i in range(1, rounds + 1):
        put(leaves[i % 3])
        d.reload()
        seen = clients.asked
        wait_until(lambda: clients.asked >= seen + 4 or clients.errors)
        with connect(d, ctx) as tls:
            shown = ssl.DER_cert_to_PEM_cert(tls.getpeercert(binary_form=True))
            assert shown.strip() == leaves[i % 3].cert.read_text().strip()
    clients.stop()
    assert not clients.errors, clients.errors[:3]
    ask(kept, close=False)  # it notices nothing
    kept.close()
    web = d.stats()["listeners"]["web"]
    assert web["tls_failed"] == 0 and web["bad_requests"] == 0
    assert len({pid for pid in d.worker_pids()}) == 2 and d.stats()["rpd"]["worker_crashes"] == 0
