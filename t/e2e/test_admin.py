"""`rpctl server`: an operator takes servers out and in, and weighs them, while they serve. When it
has answered, the change is in force: the very next request is held to it."""

import getpass
import json
import os
import re
import signal
import threading
import time

import pytest

from harness.client import request_bytes
from harness.daemon import plain
from harness.origin import answer, tcp_echo
from harness.util import REPO, RPCTL, holds_for, patience, wait_until


def server(d, *args, status=0):
    done = d.ctl("server", *args)
    assert done.returncode == status, done
    return done.stdout if status == 0 else done.stderr


def fields(d, name="s0"):
    return d.stats()["backends"]["pool"]["servers"][name]


def health(d, name="s0"):
    out = d.ctl("-o", "json", "health", check=True).stdout
    return json.loads(out)["backends"]["pool"]["servers"][name]


def gated(gate):
    """The usual origin, but /slow waits for the gate."""
    def handler(conn):
        while True:
            req = conn.request()
            if req.target == "/slow":
                assert gate.wait(patience(20))
            if not answer(conn, req):
                return
    return handler


def spoken(client):
    """The origin that answers, or the status of a refusal."""
    res = client.ask()
    return json.loads(res.body)["origin"] if res.status == 200 else res.status


def everyone(d, kept):
    """Who serves kept connections and new ones, over both workers."""
    seen = {spoken(client) for client in kept}
    for _ in range(12):
        with d.client() as client:
            seen.add(spoken(client))
    return seen


# ---- the verbs ----

@pytest.mark.parametrize("verb", ["drain", "down"])
def test_a_server_taken_out_gets_no_request_and_ready_brings_it_back(rpd, origin, verb):
    a, b = origin(), origin()
    d = rpd(plain(a, b), workers=2)
    kept = [d.client() for _ in range(8)]
    assert everyone(d, kept) == {a.name, b.name}
    assert re.fullmatch(rf"pool/s0: {verb} \(was ready\); \d+ requests? in progress\n",
                        server(d, "pool/s0", verb))
    before = len(a.requests)
    for _ in range(5):
        assert everyone(d, kept) == {b.name}
    assert len(a.requests) == before
    assert fields(d)["admin"] == verb
    assert d.stats()["backends"]["pool"]["servers_up"] == 1
    assert server(d, "pool/s0", "ready").startswith(f"pool/s0: ready (was {verb})")
    assert everyone(d, kept) == {a.name, b.name}


@pytest.mark.parametrize("verb", ["drain", "down"])
def test_a_request_in_progress_ends_well(rpd, origin, verb):
    gate = threading.Event()
    a = origin(gated(gate))
    d = rpd(plain(a), workers=2)
    clients = [d.client() for _ in range(5)]
    for client in clients:
        client.send(request_bytes(target="/slow"))
    wait_until(lambda: len(a.requests) == 5)
    assert "; 5 requests in progress\n" in server(d, "pool/s0", verb)
    assert d.ask().status == 503
    assert fields(d)["active"] == 5
    gate.set()
    for client in clients:
        assert client.response().status == 200
    d.wait_stats(lambda s: s["backends"]["pool"]["servers"]["s0"]["active"] == 0)
    assert fields(d)["failures"] == 0


def test_drain_keeps_idle_connections_and_down_closes_them(rpd, origin):
    a = origin()
    d = rpd(plain(a), workers=2)
    kept = [d.client() for _ in range(6)]
    for client in kept:
        client.send(request_bytes())
    for client in kept:
        client.response()
    d.wait_stats(lambda s: s["backends"]["pool"]["servers"]["s0"]["idle"] > 0)
    server(d, "pool/s0", "drain")
    idle = fields(d)["idle"]
    holds_for(lambda: len(a.open_connections()) == idle > 0, 1.2)  # more than a worker's tick
    server(d, "pool/s0", "down")
    wait_until(lambda: not a.open_connections(), 3, "idle connections to close")
    assert fields(d)["idle"] == 0


@pytest.mark.parametrize("verb", ["drain", "down"])
def test_tcp_sessions_live_on_and_new_ones_go_elsewhere(rpd, origin, verb):
    a, b = origin(tcp_echo), origin(tcp_echo)
    d = rpd(plain(a, b, listener="mode = tcp"), workers=2)

    def session():
        client = d.client()
        client.send(b"x")
        assert client.exact(1) == b"x"
        return client
    sessions = [session() for _ in range(8)]
    assert a.connections and b.connections
    server(d, "pool/s0", verb)
    before = len(a.connections)
    sessions += [session() for _ in range(10)]
    assert len(a.connections) == before
    for client in sessions:
        client.send(b"still")
        assert client.exact(5) == b"still"
    server(d, "pool/s1", "down")
    with d.client() as client:
        assert client.is_closed()
    server(d, "pool/s0", "ready")
    session()
    assert len(a.connections) == before + 1


def test_a_retry_does_not_go_to_a_drained_server(rpd, origin):
    a, b = origin(), origin()
    d = rpd(plain(a, b), workers=1)
    server(d, "pool/s0", "drain")
    b.close()
    for _ in range(4):
        assert d.ask().status in (502, 503)
    assert not a.requests and not a.connections
    assert d.stats()["routes"]["all"]["retries"] == 0


def test_requests_that_wait_get_the_server_that_is_ready(rpd, origin):
    gate = threading.Event()
    a, b = origin(gated(gate)), origin()
    d = rpd(plain(a, b, options="max_conns=1", backend="queue_timeout = 60s"), workers=2)
    server(d, "pool/s1", "drain")
    first = d.client()
    first.send(request_bytes(target="/slow"))
    wait_until(lambda: a.requests)
    waiting = [d.client() for _ in range(6)]
    for client in waiting:
        client.send(request_bytes())
    d.wait_stats(lambda s: s["backends"]["pool"]["queued"] == 6)
    server(d, "pool/s0", "drain")
    holds_for(lambda: d.stats()["backends"]["pool"]["queued"] == 6, 0.2)
    gate.set()
    assert first.response().status == 200
    holds_for(lambda: d.stats()["backends"]["pool"]["queued"] == 6, 0.2)
    server(d, "pool/s1", "ready")
    start = time.monotonic()
    for client in waiting:
        assert json.loads(client.response().body)["origin"] == b.name
    assert time.monotonic() - start < patience(0.5), "six, one after another"
    assert len(a.requests) == 1


# ---- weights ----

def shares(d, origins, n=40):
    before = [len(o.requests) for o in origins]
    with d.client() as client:
        for _ in range(n):
            assert client.ask().status == 200
    return [len(o.requests) - was for o, was in zip(origins, before)]


@pytest.mark.parametrize("balance", ["round_robin", "least_conn"])
def test_a_weight_is_the_share_at_once(rpd, origin, balance):
    servers = [origin(), origin()]
    d = rpd(plain(*servers, backend=f"balance = {balance}"), workers=1)
    assert shares(d, servers) == [20, 20]
    assert re.fullmatch(r"pool/s0: weight 3 \(was 1\); 0 requests in progress\n",
                        server(d, "pool/s0", "weight", "3"))
    got = shares(d, servers)
    if balance == "round_robin":
        assert abs(got[0] - 30) <= 1, got
    else:
        assert got[0] >= 30, got  # idle, the heavier is the less busy
    assert fields(d)["weight"] == 3


def test_a_weight_is_the_share_in_every_worker(rpd, origin):
    servers = [origin(), origin()]
    d = rpd(plain(*servers), workers=2)
    server(d, "pool/s1", "weight", "4")
    for _ in range(50):
        assert d.ask().status == 200
    assert abs(len(servers[1].requests) - 40) <= 3, [len(o.requests) for o in servers]


def test_weight_zero_is_no_new_request(rpd, origin):
    a, b = origin(), origin()
    d = rpd(plain(a, b), workers=2)
    kept = [d.client() for _ in range(6)]
    assert everyone(d, kept) == {a.name, b.name}
    server(d, "pool/s0", "weight", "0")
    assert everyone(d, kept) == {b.name}
    assert health(d)["why"].startswith("weight 0 by ")
    assert d.stats()["backends"]["pool"]["servers_up"] == 1
    server(d, "pool/s0", "weight", "65535")
    assert a.name in everyone(d, kept)


def test_a_configured_weight_of_zero_can_be_raised(rpd, origin):
    a = origin()
    d = rpd(plain(a, options="weight=0"), workers=2)
    assert d.ask().status == 503
    assert health(d)["why"] == "weight 0 as configured"
    server(d, "pool/s0", "weight", "1")
    for _ in range(6):
        assert d.ask().status == 200


# ---- lasting ----

def changed(d):
    server(d, "pool/s0", "drain")
    server(d, "pool/s1", "weight", "7")


def assert_changed(d, a):
    assert (fields(d)["admin"], fields(d, "s1")["weight"]) == ("drain", 7)
    before = len(a.requests)
    for _ in range(12):
        assert d.ask().status == 200
    assert len(a.requests) == before


def test_changes_outlive_reloads(rpd, origin):
    a, b, c = origin(), origin(), origin()
    text = plain(a, b, c)
    d = rpd(text, workers=2)
    changed(d)
    for n in range(3):
        d.reload(text + f"\n[route r{n}]\npath = /r{n}\nrespond = 200 x\n")
        assert_changed(d, a)
    d.reload(plain(a, b, c, backend="balance = least_conn\nmax_conns = 9"))
    assert_changed(d, a)
    b_before, c_before = len(b.requests), len(c.requests)
    d.reload(text)
    for _ in range(48):
        assert d.ask().status == 200
    got = (len(b.requests) - b_before, len(c.requests) - c_before)
    assert abs(got[0] - 42) <= 3, got


def test_changes_outlive_a_worker(rpd, origin):
    a, b, c = origin(), origin(), origin()
    d = rpd(plain(a, b, c), workers=2)
    changed(d)
    old = d.worker_pids()
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(set(d.worker_pids()) - set(old)) == 2)
    assert_changed(d, a)


def test_a_reload_that_says_something_else_of_the_server_wins(rpd, origin):
    a, b = origin(), origin()
    d = rpd(plain(a, b), workers=2)
    changed(d)
    text = plain(a, b)
    d.reload(text.replace("name=s1", "name=s1 weight=2"))
    assert (fields(d)["admin"], fields(d, "s1")["weight"]) == ("drain", 2)
    assert health(d, "s1")["weight_by"] == ""
    d.reload(text.replace("name=s0", "name=s0 down").replace("name=s1", "name=s1 weight=2"))
    assert fields(d)["admin"] == "down"
    assert health(d)["why"] == "down as configured"
    server(d, "pool/s0", "ready")
    d.reload()
    assert fields(d)["admin"] == "ready"
    assert {spoken(d.client()) for _ in range(9)} == {a.name, b.name}


# ---- what is shown ----

def test_health_says_who_and_when(rpd, origin):
    d = rpd(plain(origin(), origin()))
    me = getpass.getuser() if os.geteuid() else "root"
    assert "set by hand" in d.ctl("health", check=True).stdout
    assert " by " not in d.ctl("health", check=True).stdout.replace("set by hand", "")
    start = time.time()
    changed(d)
    table = d.ctl("health", check=True).stdout
    assert re.search(rf"pool/s0 .* drain by {me}, \d+s ago  +drain by {me}, \d+s ago", table)
    assert re.search(rf"pool/s1 .* weight 7 by {me}, \d+s ago  +-", table)
    s0, s1 = health(d), health(d, "s1")
    assert (s0["admin_by"], s0["weight_by"], s0["usable"]) == (me, "", False)
    assert (s1["admin_by"], s1["weight_by"], s1["usable"]) == ("", me, True)
    assert start - 1 < s0["admin_since"] < time.time() + 1
    assert start - 1 < s1["weight_since"] < time.time() + 1
    assert s0["weight_since"] == s1["admin_since"] == 0
    assert re.fullmatch(rf"drain by {me}, \d+s ago", s0["why"]) and s1["why"] == ""
    assert fields(d)["admin_uid"] == os.geteuid()
    assert d.stats()["backends"]["pool"]["changes"] == 2
    assert "uid" not in d.ctl("stats", "servers", check=True).stdout


def test_each_change_is_logged_once(rpd, origin):
    d = rpd(plain(origin()))
    uid = os.geteuid()
    changed_to = [("drain", "drain (was ready)"), ("down", "down (was drain)"),
                  ("ready", "ready (was down)")]
    for verb, text in changed_to:
        server(d, "pool/s0", verb)
        assert f"server pool/s0: {text}, by uid {uid}\n" in d.stderr()
    server(d, "pool/s0", "weight", "5")
    assert f"server pool/s0: weight 5 (was 1), by uid {uid}\n" in d.stderr()
    since = fields(d)["weight_since"]
    assert server(d, "pool/s0", "weight", "5").startswith("pool/s0: weight 5 already;")
    assert server(d, "pool/s0", "ready").startswith("pool/s0: ready already;")
    assert len(re.findall(r"server pool/s0: .* by uid", d.stderr())) == 4
    assert fields(d)["weight_since"] == since


# ---- mistakes ----

@pytest.mark.parametrize("args, says", [
    (["pol/s0", "drain"], "there is no backend 'pol' (did you mean 'pool'?)"),
    (["pool/ss0", "drain"], "backend pool has no server 'ss0' (did you mean 's0'?)"),
    (["pool", "drain"], "which server of pool? There are pool/s0 pool/s1"),
    (["", "drain"], "which server?"),
    (["pool/s0", "dran"], "'dran' is none of ready, drain, down, weight (did you mean 'drain'?)"),
    (["pool/s0", "weight", "65536"], "weight: '65536' is no number from 0 to 65535"),
    (["pool/s0", "weight", "-1"], "'-1' is no number"),
    (["pool/s0", "weight", "x"], "'x' is no number"),
    (["pool/s0", "weight", ""], "'' is no number"),
])
def test_a_mistake_is_named_and_changes_nothing(rpd, origin, args, says):
    d = rpd(plain(origin(), origin()), workers=1)
    assert says in server(d, *args, status=1)
    assert (fields(d)["admin"], fields(d)["weight"]) == ("ready", 1)
    assert d.stats()["backends"]["pool"]["changes"] == 0
    assert "by uid" not in d.stderr()


@pytest.mark.parametrize("args", [[], ["pool/s0"], ["pool/s0", "weight"],
                                  ["pool/s0", "drain", "now"], ["pool/s0", "weight", "1", "2"]])
def test_too_few_or_many_words_are_wrong_usage(site, args):
    done = site().ctl("server", *args)
    assert done.returncode == 2
    assert "BACKEND/NAME drain|ready|down|weight N" in done.stderr


def test_without_a_daemon_it_is_3(site):
    assert site().ctl("server", "pool/s0", "drain").returncode == 3


# ---- completion ----

def test_bash_completes_servers_and_verbs(rpd, origin):
    d = rpd(plain(origin(), origin()))

    def complete(*words):
        script = ("source ./etc/bash-completion/rpctl; COMP_WORDS=(\"$@\"); "
                  "COMP_CWORD=$(($# - 1)); _rpctl \"$1\" \"${@: -1}\" \"${@: -2:1}\"; "
                  "printf '%s\\n' \"${COMPREPLY[@]}\"")
        done = d.run("bash", "-c", f"cd {REPO}; {script}", "bash", RPCTL, "-r", d.run_dir,
                     *words)
        return done.stdout.split()
    assert complete("server", "pool/") == ["pool/s0", "pool/s1"]
    assert complete("server", "pool/s0", "") == ["drain", "ready", "down", "weight"]
    assert complete("server", "pool/s0", "weight", "") == []
