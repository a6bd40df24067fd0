"""Workers: as many as asked, replaced when they die, their counts and queues outlive them."""

import os
import signal

import pytest

from harness.client import request_bytes
from harness.daemon import plain
from harness.origin import upgrade_echo
from harness.util import cmdline, freeze, wait_until

RESPOND = "[listener web]\nbind = @web@\n[route all]\nrespond = 200 hello\n"


def slots(d):
    return {w["slot"]: w for w in d.stats()["workers"] if w["state"] == "running"}


@pytest.mark.parametrize("n", [1, 2, 5])
def test_as_many_workers_as_configured(rpd, n):
    d = rpd(RESPOND, workers=n)
    assert sorted(slots(d)) == list(range(n))
    pids = {w["pid"] for w in slots(d).values()}
    assert len(pids) == n and pids <= set(d.children())
    assert d.stats()["rpd"]["workers"] == n


def test_process_titles(rpd):
    d = rpd(RESPOND, workers=2)
    assert cmdline(d.pid).startswith("rpd: master")
    titles = {cmdline(pid) for pid in d.worker_pids()}
    assert {t[:13] for t in titles} == {"rpd: worker 0", "rpd: worker 1"}


def test_every_worker_serves(rpd):
    d = rpd(RESPOND, workers=2)
    for _ in range(100):
        assert d.ask().status == 200
    d.wait_stats(lambda s: sum(w["requests"] for w in s["workers"]) == 100)
    assert all(w["requests"] > 10 for w in slots(d).values())


def test_killed_worker_is_replaced_on_its_slot_and_counts_stay(rpd, origin):
    o = origin()
    d = rpd(plain(o), workers=2)
    for _ in range(60):
        assert d.ask().status == 200
    before = d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 60)
    for slot in (0, 1):
        victim = slots(d)[slot]["pid"]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: slots(d).get(slot, {}).get("pid") not in (None, victim))
    after = d.stats()
    assert after["rpd"]["worker_crashes"] == 2
    assert after["rpd"]["pid"] == before["rpd"]["pid"] == d.pid
    for path in (("listeners", "web", "connections_total"), ("listeners", "web", "bytes_in"),
                 ("routes", "all", "requests_total"), ("routes", "all", "status_2xx"),
                 ("routes", "all", "bytes_out"), ("backends", "pool", "requests_total")):
        a, b = before, after
        for key in path:
            a, b = a[key], b[key]
        assert a == b, path
    assert after["routes"]["all"]["latency"]["count"] == 60
    for _ in range(40):
        assert d.ask().status == 200
    d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 100)
    assert "signal 9" in d.stderr().lower() or "killed" in d.stderr().lower()


def test_dead_workers_gauges_are_cleared(rpd, origin):
    o = origin(lambda conn: (conn.request(), conn.wait_end()))
    d = rpd(plain(o), workers=1)
    clients = [d.client() for _ in range(5)]
    for client in clients:
        client.send(request_bytes())
    d.wait_stats(lambda s: s["routes"]["all"]["active"] == 5)
    os.kill(d.worker_pids()[0], signal.SIGKILL)
    d.wait_stats(lambda s: s["routes"]["all"]["active"] == 0
                 and s["listeners"]["web"]["connections_active"] == 0
                 and s["backends"]["pool"]["servers"]["s0"]["active"] == 0
                 and s["backends"]["pool"]["active"] == 0)
    for client in clients:
        assert client.is_closed()


def test_accept_queue_outlives_the_worker(rpd):
    """Connections made while no worker runs are served by the next one."""
    d = rpd(RESPOND, workers=1)
    victim = d.worker_pids()[0]
    freeze(victim)
    clients = [d.client() for _ in range(20)]
    for client in clients:
        client.send(request_bytes())
    os.kill(victim, signal.SIGKILL)
    for client in clients:
        assert client.response().status == 200


def test_no_connection_is_refused_while_workers_die(rpd):
    d = rpd(RESPOND, workers=2)
    for turn in range(3):
        for pid in d.worker_pids():
            os.kill(pid, signal.SIGKILL)
        answers = 0
        for _ in range(20):
            with d.client() as client:  # never refused
                try:
                    assert client.ask().status == 200
                    answers += 1
                except Exception:
                    pass  # accepted by the one that died
        assert answers >= 18
        wait_until(lambda: len(d.worker_pids()) == 2)


def test_assertion_in_a_worker_is_survived(rpd):
    d = rpd(RESPOND, workers=1)
    d.may_complain = True
    victim = d.worker_pids()[0]
    os.kill(victim, signal.SIGABRT)
    wait_until(lambda: d.worker_pids() not in ([], [victim]))
    assert d.ask().status == 200
    assert d.stats()["rpd"]["worker_crashes"] == 1


def test_worker_that_dies_again_and_again_does_not_spin(rpd):
    """Back-off: the master neither gives up nor burns the processor."""
    d = rpd(RESPOND, workers=1)
    seen = set()
    for _ in range(4):
        pid = wait_until(lambda: next((p for p in d.worker_pids() if p not in seen), None), 20)
        seen.add(pid)
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: set(d.worker_pids()) - seen, 20)
    assert d.ask().status == 200
    assert d.stats()["rpd"]["worker_crashes"] == 4


def test_next_start_after_a_kill_of_all_works(rpd):
    d = rpd(RESPOND, workers=2)
    assert d.ask().status == 200
    d.kill_all()
    d.spawn()
    d.wait_ready()
    assert d.ask().status == 200
    d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 2)


def test_stopped_worker_leaves_the_others_serving(rpd):
    d = rpd(RESPOND, workers=2)
    stopped = d.worker_pids()[0]
    freeze(stopped)
    served = 0
    clients = [d.client() for _ in range(20)]
    for client in clients:
        client.send(request_bytes())
    d.wait_stats(lambda s: sum(w["requests"] for w in s["workers"]) >= 1)
    os.kill(stopped, signal.SIGCONT)
    for client in clients:
        served += client.response().status == 200
    assert served == 20


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_workers_drop_root(rpd, origin):
    """Unprivileged workers still serve, buffer to disk and write their log."""
    o = origin()
    d = rpd(plain(o, route="buffer_request = on"), workers=2,
            globals_="user = nobody\ngroup = nogroup\naccess_log = @dir@/access.log\n"
            .replace("@dir@/", "/tmp/rpd-e2e-%d-" % os.getpid()))
    log = f"/tmp/rpd-e2e-{os.getpid()}-access.log"
    try:
        import pwd
        uid = pwd.getpwnam("nobody").pw_uid
        for pid in d.worker_pids():
            assert os.stat(f"/proc/{pid}").st_uid == uid or all(
                line.split()[1:] == [str(uid)] * 4
                for line in open(f"/proc/{pid}/status") if line.startswith("Uid:"))
            status = open(f"/proc/{pid}/status").read()
            assert f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}" in status
            groups = next(x for x in status.splitlines() if x.startswith("Groups:")).split()[1:]
            assert "0" not in groups
        assert "Uid:\t0" in open(f"/proc/{d.pid}/status").read()
        res = d.ask("/echo", "POST", body=b"x" * 300000)
        assert res.length == 300000
        wait_until(lambda: os.path.exists(log) and os.path.getsize(log))
    finally:
        if os.path.exists(log):
            os.unlink(log)


def test_tunnels_of_a_killed_worker_end(rpd, origin):
    o = origin(upgrade_echo)
    d = rpd(plain(o), workers=1)
    with d.client() as client:
        client.send(request_bytes(headers=[("Connection", "upgrade"), ("Upgrade", "x")]))
        assert client.response_head().status == 101
        os.kill(d.worker_pids()[0], signal.SIGKILL)
        assert client.is_closed()
    wait_until(lambda: not o.open_connections())
