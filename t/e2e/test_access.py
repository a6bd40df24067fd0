"""allow and deny: who may use a route, by network."""

import random

import pytest

from harness import proxyproto
from harness.client import request_bytes
from harness.daemon import plain
from harness.origin import tcp_echo
from harness.util import wait_until

HEAD = """
[listener web]
bind = @web@
trusted_proxies = 127.0.0.1, ::1
[listener plain]
bind = @plain@
[defaults route]
respond = 200 in
"""
ROUTES = """
[route mixed]
path = /mixed
allow = 10.0.0.0/8, 2001:db8::/32, 10.66.1.0/24
deny = 10.66.0.0/16
deny = 10.66.1.7, 2001:db8:bad::/48
[route denies]
path = /denies
deny = 192.0.2.0/24
[route nobody]
path = /nobody
deny = all
[route one]
path = /one
deny = all
allow = 192.0.2.1
[route local]
path = /local
allow = 127.0.0.0/8
"""


@pytest.fixture(scope="module")
def up(shared_rpd):
    return shared_rpd(HEAD + ROUTES)


def status(d, path, client, **kw):
    return d.ask(path, headers=[("X-Forwarded-For", client)], **kw).status


@pytest.mark.parametrize("path, client, is_in", [
    ("/mixed", "10.1.2.3", True), ("/mixed", "10.66.2.1", False), ("/mixed", "10.66.1.1", True),
    ("/mixed", "10.66.1.7", False), ("/mixed", "11.0.0.1", False),
    ("/mixed", "2001:db8::1", True), ("/mixed", "2001:db8:bad::1", False),
    ("/mixed", "::ffff:10.1.2.3", True),
    ("/denies", "192.0.2.1", False), ("/denies", "192.0.3.1", True), ("/denies", "::1", True),
    ("/nobody", "192.0.2.1", False), ("/nobody", "2001:db8::1", False),
    ("/one", "192.0.2.1", True), ("/one", "192.0.2.2", False),
    # what the nearest untrusted hop said of others is no matter
    ("/one", "192.0.2.1, 192.0.2.9", False), ("/one", "192.0.2.9, 192.0.2.1", True),
])
def test_the_most_specific_network_decides(up, path, client, is_in):
    assert status(up, path, client) == (200 if is_in else 403)


def test_nobody_else_is_believed(up):
    assert status(up, "/one", "192.0.2.1", listener="plain") == 403
    assert status(up, "/local", "192.0.2.1", listener="plain") == 200


def test_the_answer_says_why_and_counters_too(up):
    before = up.route_count("nobody", "denied")
    with up.client() as client:
        for _ in range(2):
            res = client.ask("/nobody", method="HEAD")
            assert not res.body
            res = client.ask("/nobody")
            assert res.status == 403 and b"denied by network" in res.body
            assert "http_request_denied" in res.get("Proxy-Status")
    up.wait_stats(lambda s: s["routes"]["nobody"]["denied"] == before + 4)


def test_the_log_names_the_reason(rpd, tmp_path):
    log = tmp_path / "access.log"
    d = rpd(plain("127.0.0.1:9", route="deny = all"),
            globals_=f"access_log = {log}\naccess_log_format = $status $end_reason $route\n")
    assert d.ask("/").status == 403
    wait_until(lambda: log.read_text() == "403 denied by network all\n", 10, "the line")


def test_a_file_of_networks(rpd, tmp_path):
    nets = random.Random(5).sample(range(1 << 24), 100_000)
    lines = [f"{0x20000000 + n * 16 >> 24}.{n * 16 >> 16 & 255}.{n * 16 >> 8 & 255}."
             f"{n * 16 & 255}/28" for n in nets]
    path = tmp_path / "nets.txt"
    path.write_text("# all of them\n\n" + "\n".join(lines) + "\n10.0.0.0/8 # and these\r\n")
    d = rpd(HEAD + f"[route f]\nallow = file:{path}\n")
    for line in lines[::5000]:
        at = line[:line.index("/")]
        assert status(d, "/", at) == 200
        assert status(d, "/", at.rsplit(".", 1)[0] + f".{int(at.rsplit('.', 1)[1]) + 15}") == 200
    assert status(d, "/", "10.9.8.7") == 200
    assert status(d, "/", "9.9.9.9") == 403
    path.write_text("9.0.0.0/8\n")
    done = d.ctl("config", "diff", d.config)
    assert "content" in done.stdout, done.stdout + done.stderr
    d.reload()
    assert status(d, "/", "9.9.9.9") == 200 and status(d, "/", "10.9.8.7") == 403
    path.write_text("9.0.0.0/8\n9.9.9.9/40\n")
    d.ctl("reload")
    d.wait_log(rf"{path}:2: '9.9.9.9/40': .*named at .*rpd.ini:\d+")
    assert status(d, "/", "9.9.9.9") == 200, "the old configuration stays"


def test_mistakes_of_a_file_have_their_lines(site, tmp_path):
    (tmp_path / "bad.txt").write_text("10.0.0.0/8\nlan\n\n" + "x\n" * 1000)
    s = site(HEAD + f"[route a]\npath = /a\nallow = {tmp_path}/bad.txt\n"
             f"[route b]\npath = /b\ndeny = {tmp_path}/bad.txt\n")
    done = s.check()
    said = done.stderr + done.stdout
    assert done.returncode == 1
    assert f"{tmp_path}/bad.txt:2: 'lan': " in said and "named at " in said
    assert said.count("bad.txt:") <= 12, "a wrong file is not told of line by line"


def test_contradiction_within_a_file(site, tmp_path):
    (tmp_path / "nets.txt").write_text("10.0.0.0/8\n192.0.2.0/24\n")
    s = site(HEAD + f"[route a]\ndeny = {tmp_path}/nets.txt\nallow = 192.0.2.0/24\n")
    done = s.check()
    assert done.returncode == 1
    assert f"192.0.2.0/24 is denied ({tmp_path}/nets.txt:2)" in done.stderr + done.stdout


def test_default_backend_keeps_to_the_defaults(rpd, origin):
    o = origin()
    d = rpd(f"[listener web]\nbind = @web@\ndefault_backend = pool\n"
            f"[defaults route]\ndeny = 127.0.0.0/8\n[backend pool]\nserver = {o.addr}\n")
    assert d.ask("/").status == 403


def test_tcp(rpd, origin):
    o = origin(tcp_echo)
    d = rpd(plain(o, listener="mode = tcp\naccept_proxy = on", route="deny = 192.0.2.0/24"))
    with d.client() as c:
        c.send(proxyproto.v1("192.0.2.9", "5.6.7.8") + b"hello")
        assert c.sock.recv(100) == b"", "closed, nothing sent"
    d.wait_stats(lambda s: s["routes"]["all"]["denied"] == 1 and s["routes"]["all"]["active"] == 0)
    with d.client() as c:
        c.send(proxyproto.v1("192.0.3.9", "5.6.7.8") + b"hello")
        assert c.sock.recv(100) == b"hello"
    assert wait_until(lambda: d.stats()["routes"]["all"]["denied"] == 1, 5, "one is denied")


def test_pipelined_requests_are_judged_each(up):
    with up.client() as c:
        c.send(request_bytes("GET", "/one", [("X-Forwarded-For", "192.0.2.2")])
               + request_bytes("GET", "/one", [("X-Forwarded-For", "192.0.2.1")]))
        assert [c.response().status, c.response().status] == [403, 200]
