"""[limit]: how often and how many at a time, counted over all workers."""

import json
import math
import os
import signal
import time

import pytest

from harness.client import request_bytes
from harness.daemon import plain
from harness.jwt import Issuer, bearer, in_seconds
from harness.moods import Holder
from harness.origin import tcp_echo
from harness.util import wait_until

HEAD = "[listener web]\nbind = @web@\n[defaults route]\nrespond = 200 in\n"


def limited(limit, route="", head=HEAD):
    return f"{head}[limit l]\n{limit}\n[route all]\nlimit = l\n{route}\n"


def burst_of(limit="rate = 1/h", burst=3, **kw):
    return limited(f"{limit}\nburst = {burst}", **kw)


def statuses(d, n, **kw):
    return [d.ask(**kw).status for _ in range(n)]


def expect(d, **fields):
    """Waits until limit l counts so."""
    d.wait_stats(lambda s: all(s["limits"]["l"][f] == n for f, n in fields.items()))


# ---- the rate ----

def test_exact_over_two_workers(rpd):
    rate, burst, batch = 200, 400, 10
    d = rpd(limited(f"rate = {rate}/s\nburst = {burst}"), workers=2)
    clients = [d.client() for _ in range(32)]
    request = request_bytes() * batch
    allowed, first, refused = 0, None, None
    began = time.monotonic()  # the daemon's clock is the same
    while allowed < burst * 3:
        for c in clients:
            c.sent = time.monotonic()
            c.send(request)
        for c in clients:
            got = [c.response().status for _ in range(batch)]
            first = first or time.monotonic()
            assert set(got) <= {200, 429}
            allowed += got.count(200)
            if 429 in got:
                refused = max(refused or 0, c.sent)
    ended = time.monotonic()
    assert min(w["requests"] for w in d.stats()["workers"]) > 0, "both are asked"
    # No more than was earned in all the time, no less than in what surely passed before a refusal.
    assert allowed <= (burst + rate * (ended - began)) * 1.01
    assert allowed >= (burst + rate * (refused - first)) * 0.99
    d.wait_stats(lambda s: s["limits"]["l"]["allowed"] == allowed)
    stats = d.stats()
    assert stats["limits"]["l"]["limited"] == stats["routes"]["all"]["limited"]
    assert stats["routes"]["all"]["requests_total"] == allowed + stats["limits"]["l"]["limited"]
    assert stats["limits"]["l"]["evicted"] == stats["limits"]["l"]["uncounted"] == 0


def test_refusals_say_when(rpd, tmp_path):
    d = rpd(limited("rate = 2/h\nburst = 2"),
            globals_=f"access_log = {tmp_path}/log\naccess_log_format = $status $end_reason\n")
    began = time.monotonic()
    assert not d.ask().has("RateLimit"), "not asked for"
    assert d.ask().status == 200
    res = d.ask()
    least = math.ceil(1800 - (time.monotonic() - began))
    assert res.status == 429 and b"rate limited" in res.body
    assert least <= int(res.get("Retry-After")) <= 1800
    assert res.get("RateLimit-Policy") == '"l";q=2;w=3600'
    assert res.get("RateLimit") == f'"l";r=0;t={res.get("Retry-After")}'
    assert res.get("Proxy-Status").endswith('error=http_request_denied; details="rate limited: l"')
    assert d.ask(method="HEAD").status == 429
    wait_until(lambda: (tmp_path / "log").read_text().endswith("429 rate limited\n" * 2), 10)


def test_what_is_left_is_said_on_request(rpd):
    d = rpd(limited("rate = 1/h\nburst = 3\nheaders = on\n[limit m]\nrate = 600/m\nheaders = on",
                    route="limit = m"))
    res = d.ask()
    assert res.get("RateLimit-Policy") == '"l";q=3;w=10800, "m";q=20;w=2'
    assert res.get("RateLimit").startswith('"l";r=2;t=3600, "m";r=19;t=1')
    assert d.ask().get("RateLimit").startswith('"l";r=1;t=7200')


def test_what_is_left_on_a_servers_answer(rpd, origin):
    d = rpd(plain(origin(), route="limit = l") + "[limit l]\nrate = 1/h\nheaders = on\n")
    res = d.ask()
    assert res.status == 200 and res.get("RateLimit") == '"l";r=19;t=3600'


def test_another_status(rpd):
    d = rpd(burst_of("rate = 1/h\nstatus = 503", burst=1))
    assert statuses(d, 2) == [200, 503]


@pytest.mark.parametrize("key, headers", [
    ("$header_x_api_key", [("X-Api-Key", "{}")]), ("$cookie_who", [("Cookie", "who={}")]),
    ("$host:$header_x_api_key", [("X-Api-Key", "{}")]),
])
def test_keys_are_counted_apart(rpd, key, headers):
    d = rpd(burst_of(f"rate = 1/h\nkey = {key}", burst=2))
    for who in ("a", "b", "x" * 100 + "a", "x" * 100 + "b"):
        assert statuses(d, 3, headers=[(n, v.format(who)) for n, v in headers]) == [200, 200, 429]
    expect(d, keys=4, allowed=8, limited=4)


def test_no_key_no_limit(rpd):
    d = rpd(burst_of("rate = 1/h\nkey = $header_x_api_key", burst=1))
    assert statuses(d, 3) == [200] * 3
    expect(d, keys=0, allowed=0, limited=0)


def test_by_client_as_trusted_proxies_say(rpd):
    d = rpd(burst_of(burst=1, head="[listener web]\nbind = @web@\ntrusted_proxies = 127.0.0.1\n"
                     "[defaults route]\nrespond = 200 in\n"))
    for ip in ("192.0.2.1", "192.0.2.2", "2001:db8::1"):
        assert statuses(d, 2, headers=[("X-Forwarded-For", ip)]) == [200, 429]


def test_all_of_a_routes_limits_must_agree(rpd):
    d = rpd(f"{HEAD}[limit each]\nrate = 1/h\nburst = 3\nkey = $header_u\n"
            "[limit all]\nkey = everybody\nrate = 1/h\nburst = 1\n"
            "[route a]\npath = /a\nlimit = each, all\n[route b]\npath = /b\nlimit = each\n")
    u = [("U", "u")]
    assert [d.ask("/a", headers=u).status for _ in range(3)] == [200, 429, 429]
    # What `all` refused took nothing of `each`.
    assert [d.ask("/b", headers=u).status for _ in range(3)] == [200, 200, 429]
    assert d.stats()["routes"]["a"]["limited"] == 2


def test_a_claim_is_counted_once_the_token_is_good(rpd, tmp_path):
    issuer = Issuer(tmp_path, "ec")
    d = rpd(burst_of("rate = 1/h\nkey = $jwt_sub", burst=2,
                     route=f"jwt_key = {issuer.public}"))

    def ask(sub, life=60):
        token = issuer.token(sub=sub, exp=in_seconds(life))
        return d.ask(headers=bearer(token)).status
    assert [ask("alice", -60) for _ in range(3)] == [401] * 3
    for who in ("alice", "bob"):
        assert [ask(who) for _ in range(3)] == [200, 200, 429]
    expect(d, keys=2, allowed=4, limited=2)


def test_networks_that_are_denied_take_nothing(rpd):
    d = rpd(burst_of(burst=1, route="deny = 127.0.0.0/8"))
    assert statuses(d, 3) == [403] * 3
    expect(d, allowed=0, limited=0)


def test_keys_are_bounded(rpd):
    d = rpd(burst_of("rate = 1/h\nkey = $header_k\nkeys = 64", burst=1))
    with d.client() as c:
        for i in range(0, 1000, 50):
            c.send(b"".join(request_bytes(headers=[("K", f"k{n}")]) for n in range(i, i + 50)))
            assert [c.response().status for _ in range(50)] == [200] * 50
        assert c.ask(headers=[("K", "k999")]).status == 429, "the newest are known"
        assert c.ask(headers=[("K", "k0")]).status == 200, "the oldest left"
    d.wait_stats(lambda s: s["limits"]["l"]["allowed"] == 1001)
    stats = d.wait_stats(lambda s: 32 < s["limits"]["l"]["keys"] <= 64)
    limit = stats["limits"]["l"]
    assert limit["evicted"] >= 1001 - 64 and limit["uncounted"] == 0


# ---- at a time ----

def held_by(d):
    done = d.ctl("-o", "json", "limit", "l", "top", check=True)
    return sum(k["active"] for k in json.loads(done.stdout)["keys"])


class Stand:
    """max_conns = n, with clients whose requests an origin holds back."""

    def __init__(self, rpd, origin, n, **kw):
        self.holder = Holder()
        self.daemon = rpd(plain(origin(self.holder), route="limit = l")
                          + f"[limit l]\nmax_conns = {n}\n", **kw)
        self.clients = []

    def hold(self, n):
        for _ in range(n):
            self.clients.append(self.daemon.client())
            self.clients[-1].send(request_bytes())
        self.wait_held(len(self.clients))

    def wait_held(self, n):
        wait_until(lambda: held_by(self.daemon) == n, 10, f"{n} to be held")

    def let_go(self):
        for _ in self.clients:
            self.holder.gate.release()


def test_max_conns(rpd, origin):
    s = Stand(rpd, origin, 4)
    s.hold(4)
    res = s.daemon.ask()
    assert res.status == 429 and res.get("Retry-After") == "1"
    assert not res.has("RateLimit") and b"too many at a time" in res.body
    expect(s.daemon, active=4, allowed=4, limited=1, limited_conns=1)
    s.let_go()
    assert [c.response().status for c in s.clients] == [200] * 4
    s.wait_held(0)
    s.holder.gate.release()
    assert s.daemon.ask().status == 200
    s.daemon.wait_stats(lambda t: t["limits"]["l"]["active"] == 0)


def test_clients_that_leave_give_back(rpd, origin):
    s = Stand(rpd, origin, 3)
    s.hold(3)
    for c in s.clients:
        c.close()
    s.wait_held(0)


def test_killed_worker_gives_back(rpd, origin):
    s = Stand(rpd, origin, 12, workers=2)
    s.hold(12)
    assert s.daemon.ask().status == 429
    stats = s.daemon.wait_stats(lambda t: sum(w["connections"] for w in t["workers"]) == 12)
    by_pid = {w["pid"]: w["connections"] for w in stats["workers"]}
    victim = max(by_pid, key=by_pid.get)
    os.kill(victim, signal.SIGKILL)
    s.wait_held(12 - by_pid[victim])
    os.kill(next(p for p in by_pid if p != victim), signal.SIGKILL)
    s.wait_held(0)
    wait_until(lambda: len(s.daemon.worker_pids()) == 2, 10, "their successors")
    s.clients = []
    s.hold(12)
    assert s.daemon.ask().status == 429


# ---- what counts are kept over ----

def test_reload_keeps_counts(rpd):
    d = rpd(burst_of(burst=3))
    assert statuses(d, 4) == [200, 200, 200, 429]
    d.reload()
    assert statuses(d, 1) == [429]
    d.reload(burst_of(burst=5))
    assert statuses(d, 3) == [200, 200, 429], "two more at once, of the same keys"
    d.reload(HEAD + "[route all]\n")
    assert statuses(d, 2) == [200, 200]
    d.reload(burst_of(burst=5))
    assert statuses(d, 1) == [429], "it is still known"
    d.reload(burst_of("rate = 1000/s", burst=1))
    wait_until(lambda: d.ask().status == 200, 5, "what was owed at the old rate to be forgiven")
    d.reload(burst_of("rate = 1/h\nkey = x$client_ip", burst=1))
    assert statuses(d, 2) == [200, 429], "another key begins anew"


def test_refused_reload_changes_nothing(rpd):
    d = rpd(burst_of(burst=2))
    assert statuses(d, 3) == [200, 200, 429]
    d.reload(burst_of("rate = 10", burst=9), status=1)
    assert statuses(d, 1) == [429]


def test_upgrade_keeps_counts(rpd, origin):
    holder = Holder()
    d = rpd(plain(origin(holder), route="path = /hold\nlimit = m")
            + "[limit m]\nmax_conns = 1\n[limit l]\nrate = 1/h\nburst = 3\n"
            "[route r]\nlimit = l\nrespond = 200 in\n", workers=2)
    assert statuses(d, 4) == [200, 200, 200, 429]
    with d.client() as c:
        c.send(request_bytes(target="/hold"))
        d.wait_stats(lambda s: s["limits"]["m"]["active"] == 1)
        d.upgrade()
        assert statuses(d, 2) == [429, 429]
        assert d.ask("/hold").status == 429, "a worker of before holds it"
        holder.gate.release()
        assert c.response().status == 200

    def is_free():
        holder.gate.release()
        return d.ask("/hold").status == 200
    wait_until(is_free, 10, "what it held to be given back")
    expect(d, allowed=3, limited=3)


def test_killed_workers_keep_counts(rpd):
    d = rpd(burst_of(burst=2), workers=1)
    assert statuses(d, 3) == [200, 200, 429]
    old = d.worker_pids()
    os.kill(old[0], signal.SIGKILL)
    wait_until(lambda: d.worker_pids() and d.worker_pids() != old, 10, "its successor")
    assert statuses(d, 1) == [429]


# ---- sessions ----

TCP = ("[listener web]\nbind = @web@\nmode = tcp\n[route all]\nlistener = web\nbackend = pool\n"
       "limit = l\n")


def test_tcp_rate(rpd, origin, tmp_path):
    d = rpd(f"{TCP}[backend pool]\nserver = {origin(tcp_echo).addr}\n[limit l]\nrate = 1/h\n"
            "burst = 2\n", globals_=f"access_log = {tmp_path}/log\n"
            "access_log_format = $end_reason\n")
    for _ in range(2):
        with d.client() as c:
            c.send(b"hello")
            assert c.sock.recv(100) == b"hello"
    with d.client() as c:
        assert c.sock.recv(100) == b"", "closed, nothing sent"
    d.wait_stats(lambda s: s["routes"]["all"]["limited"] == 1
                 and s["backends"]["pool"]["requests_total"] == 2)
    expect(d, allowed=2, limited=1)
    wait_until(lambda: "rate limited" in (tmp_path / "log").read_text(), 10, "the line")


def test_tcp_max_conns(rpd, origin):
    d = rpd(f"{TCP}[backend pool]\nserver = {origin(tcp_echo).addr}\n[limit l]\nmax_conns = 2\n")
    clients = [d.client() for _ in range(2)]
    for c in clients:
        c.send(b"hello")
        assert c.sock.recv(100) == b"hello"
    with d.client() as c:
        assert c.sock.recv(100) == b""
    clients.pop().close()
    d.wait_stats(lambda s: s["limits"]["l"]["active"] == 1)
    with d.client() as c:
        c.send(b"hello")
        assert c.sock.recv(100) == b"hello"


# ---- rpctl limit ----

def test_top(rpd):
    d = rpd(burst_of("rate = 1/h\nkey = $header_k", burst=4))
    for n, key in ((1, "rare"), (7, "busy \x9b\xff"), (3, "some"), (2, "y" * 60)):
        statuses(d, n, headers=[("K", key)])
    top = json.loads(d.ctl("-o", "json", "limit", "l", "top", check=True).stdout)
    assert (top["limit"], top["burst"], top["max_conns"]) == ("l", 4, 0)
    assert [k["key"][:5].rstrip() for k in top["keys"]] == ["busy", "some", "yyyyy", "rare"]
    busy, _, cut, rare = top["keys"]
    assert (busy["allowed"], busy["limited"], busy["left"], busy["active"]) == (4, 3, 0, 0)
    assert (rare["allowed"], rare["limited"], rare["left"]) == (1, 0, 3)
    assert cut["is_cut"] and cut["key"] == "y" * 39 and not rare["is_cut"]
    table = d.ctl("limit", "l", "top", "2", check=True).stdout
    assert len(table.splitlines()) == 3 and "\x9b" not in table and "busy" in table
    lines = d.ctl("-o", "csv", "limit", "l", "top", check=True).stdout.splitlines()
    assert lines[0] == "key,rate,active,left,allowed,limited" and len(lines) == 5


@pytest.mark.parametrize("args, status", [
    (["l"], 2), (["l", "bottom"], 2), (["l", "top", "0"], 2), (["l", "top", "x"], 2),
    (["l", "top", "1", "2"], 2), (["nosuch", "top"], 1), ([], 2),
])
def test_wrong_usage_of_top(rpd, args, status):
    done = rpd(burst_of()).ctl("limit", *args)
    assert done.returncode == status and len(done.stderr.strip().splitlines()) == 1


def test_top_needs_no_daemon_but_its_memory(site, rpd):
    assert site().ctl("limit", "l", "top").returncode == 3
    d = rpd(burst_of())
    statuses(d, 1)
    d.expect_status = None
    d.kill_all()
    assert "127.0.0.1" in d.ctl("limit", "l", "top", check=True).stdout


def test_memory_is_the_owners(rpd):
    d = rpd(burst_of())
    assert (d.run_dir / "limits").stat().st_mode & 0o777 == 0o600
    assert (d.run_dir / "limits").stat().st_blocks * 512 < 8 << 20, "sparse"
    d.signal(signal.SIGTERM)
    d.wait_exit()
    assert not (d.run_dir / "limits").exists()
