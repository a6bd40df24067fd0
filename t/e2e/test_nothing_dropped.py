"""Reloads, other numbers of workers, killed workers: under a crowd of clients of every kind no
connect fails, no request is lost and no connection cut, and the counters are the clients'."""

import os
import pathlib
import random
import re
import signal
import time

import pytest

from harness.client import request_bytes
from harness.crowd import LASTING, PASSING, Crowd, Session, Web
from harness.daemon import plain
from harness.origin import upgrade_echo
from harness.util import freeze, is_sanitized, memory, times, wait_until
from harness.wire import Eof

GLOBALS = "shutdown_timeout = 120s\nlog_level = warning\n"


def is_quiet(stats):
    """Nobody is there any more."""
    return (all(x["connections_active"] == 0 for x in stats["listeners"].values())
            and all(x["active"] == 0 for x in stats["routes"].values())
            and all(x["active"] == 0 and x["queued"] == 0
                    and all(s["active"] == 0 and s["idle"] == 0 for s in x["servers"].values())
                    for x in stats["backends"].values())
            and all(x["connections"] == 0 and x["buffers"] == 0 for x in stats["workers"]))


def settled(d):
    return d.wait_stats(is_quiet, 20)


def fds(pid):
    """How many descriptors; pipes are pooled, a few are kept."""
    folder = f"/proc/{pid}/fd"
    kinds = [os.readlink(f"{folder}/{fd}").split(":")[0] for fd in os.listdir(folder)]
    assert kinds.count("pipe") <= 40
    return len(kinds) - kinds.count("pipe")


def size(pids):
    return [fds(pid) for pid in pids], sum(memory(pid) for pid in pids)


def fill_recorders(d, n=2100):
    """Until each worker's flight recorder has written to all of its memory."""
    def is_filled():
        with d.client("pipe") as client:
            client.send(request_bytes(target="/bytes/0") * 100)
            for _ in range(100):
                assert client.response().status == 200
        return all(w["requests"] >= n for w in d.stats()["workers"])
    wait_until(is_filled, 30, "each worker to have had its share of requests", interval=0)


def kept_within(pids, before):
    """Descriptors as before, memory within 5 %, once what is pooled has been given back."""
    def is_so():
        now = size(pids)
        return now[0] == before[0] and (is_sanitized() or now[1] <= before[1] * 1.05)
    try:
        wait_until(is_so, 10)
    except AssertionError:
        raise AssertionError(f"before {before}, now {size(pids)}") from None


MORE = """
[listener more{n}]
bind = @more@

[route more{n}]
listener = more{n}
backend = more

[route extra{n}]
path = /extra/{n}
respond = 200 extra

[backend more]
server = {addr} name=m{n}
"""


def another(stand, n):
    """A configuration that differs from the last one: half of them in what is listened on, routed
    and asked."""
    if n % 2 == 0:
        return stand.configuration(extra=f"[route small]\npath = /small\nrespond = 200 {n}\n")
    return stand.configuration((0, 2) if n % 4 == 1 else (1, 2, 0),
                               MORE.format(n=n % 6, addr=stand.servers.addrs[2]))


def reload_often(d, stand, crowd, n):
    for turn in range(n):
        crowd.doing = f"reload {turn + 1} of {n}"
        d.reload(another(stand, turn + 1))
        if turn % 2 == 0:
            assert d.ask("/bytes/5", listener="more").length == 5
        if turn % 3 == 0:
            crowd.progress()


@pytest.mark.slow
def test_two_hundred_reloads_drop_nothing(rpd, stand):
    d = rpd(stand.configuration(), workers=2, globals_=GLOBALS)
    many = {kind: 3 * n for kind, n in (LASTING | PASSING).items()}
    with Crowd(stand, d, many) as crowd:  # pools and allocators get their size
        reload_often(d, stand, crowd, times(20))
    crowd.check()
    fill_recorders(d)
    pids = sorted(d.processes())
    before = settled(d), size(pids)
    with Crowd(stand, d) as crowd:
        lasting = crowd.lives()
        reload_often(d, stand, crowd, times(200))
        assert crowd.lives() == lasting, "one connection from beginning to end"
    crowd.check()
    after = settled(d)
    crowd.check_totals(before[0], after)
    assert after["rpd"]["reloads"] == times(20) + times(200)
    assert sorted(d.processes()) == pids
    kept_within(pids, before[1])


# ---- refused configurations ----

def taken(text):
    """More workers: their sockets are bound and given up again while clients connect."""
    return text + "[listener new]\nbind = @new@\n[listener taken]\nbind = {port}\n"


BROKEN = [
    lambda text: text.replace("bind = @web@", "bnd = @web@"),
    lambda text: text.replace("backend = pool", "backend = nowhere"),
    lambda text: text + "[rout x]\npath = /x\n",
    lambda text: text + "[route all]\nbackend = pool\n",
    lambda text: text + "[listener twice]\nbind = @web@\n",
    lambda text: text.replace("keepalive_timeout = 1s", "keepalive_timeout = 1"),
    lambda text: text + "[route x]\npath = /x\nrespond = 200 ${NOT_SET_ANYWHERE}\n",
    lambda text: text + "[listener x]\nmode = tcp\n",
    lambda text: text.replace("mode = tcp", "mode = udp"),
    lambda text: text.replace("[route tcp]", "[route tcp"),
    lambda text: text + "this is no line of a configuration\n",
    lambda text: text.replace("name=s0", "name=s0 weight=many"),
    lambda text: text.replace("name=s0", "name=s0 wieght=1"),
    lambda text: text.replace("server = ", "server = :::"),
    lambda text: text + "[route x]\npath = /x\n",
    lambda text: text + "[listener x]\nbind = 127.0.0.1\n",
    lambda text: text + "\x00\x01\x02",
    lambda text: text + "[route x]\nredirect = 99 /\n",
    lambda text: text + "[backend empty]\n[route x]\npath = /x\nbackend = empty\n",
]


@pytest.mark.slow
def test_fifty_refused_configurations_touch_nothing(rpd, stand):
    text = stand.configuration()
    d = rpd(text, workers=2, globals_=GLOBALS)
    n = times(50)
    with Crowd(stand, d) as crowd:
        crowd.progress()
        before, pids = d.stats(), sorted(d.processes())
        master, lasting = fds(d.pid), crowd.lives()
        for turn in range(n):
            crowd.doing = f"refusal {turn + 1} of {n}"
            d.workers_wanted = 9 if turn % 3 == 2 else 2
            broken = (taken if turn % 3 == 2 else BROKEN[turn % len(BROKEN)])(text)
            d.reload(broken.replace("{port}", stand.servers.addrs[0]), status=1)
            if turn % 2 == 0:
                crowd.progress()
        after = d.stats()
        assert sorted(d.processes()) == pids
        assert fds(d.pid) == master
        assert crowd.lives() == lasting
    crowd.check()
    same = ("pid", "generation", "workers", "reloads", "worker_crashes")
    assert {key: after["rpd"][key] for key in same} == {key: before["rpd"][key] for key in same}
    assert after["rpd"]["reloads_refused"] == n
    crowd.check_totals(zero(before), settled(d))


def zero(stats):
    """The same objects before anybody came."""
    if isinstance(stats, dict):
        return {key: zero(value) for key, value in stats.items()}
    return 0


# ---- the number of workers ----

def set_workers(d, crowd, text, n):
    crowd.doing = f"{d.workers_wanted} workers become {n}"
    d.workers_wanted = n
    d.reload(text)


def only_workers(d, n):
    wait_until(lambda: len(d.worker_pids()) == len(d.children()) == n, 60,
               f"retiring workers to end, {n} to be left")


@pytest.mark.slow
def test_other_numbers_of_workers_drop_nothing(rpd, stand):
    text = stand.configuration()
    d = rpd(text, workers=1, globals_=GLOBALS)
    before = d.stats()
    with Crowd(stand, d, PASSING) as crowd:
        for _ in range(max(2, times(6))):
            for n in (4, 2, 1, 3, 1):
                set_workers(d, crowd, text, n)
                crowd.progress(2)
            only_workers(d, 1)  # they end, though clients keep their connections
            crowd.progress()
    crowd.check()
    crowd.check_totals(before, settled(d))
    assert d.stats()["rpd"]["worker_crashes"] == 0


@pytest.mark.slow
def test_more_workers_again_while_some_still_retire(rpd, stand):
    """Long-lived connections hold a worker up: those who take its place serve meanwhile, the old
    sockets and new ones."""
    text = stand.configuration()
    d = rpd(text, workers=4, globals_=GLOBALS)
    before = d.stats()
    with Crowd(stand, d, PASSING | {Web: 24, Session: 24}) as crowd:
        pids = set(d.worker_pids())
        set_workers(d, crowd, text, 1)
        crowd.progress(2)
        assert pids <= set(d.children()), "they retire, and serve what they have"
        set_workers(d, crowd, text + "[listener late]\nbind = @late@\n", 4)
        for _ in range(20):
            assert d.ask("/bytes/3", listener="late").status == 404
        crowd.progress(2)
        assert pids <= set(d.children())
        crowd.doing = "ending"
    crowd.check()
    crowd.check_totals(before, settled(d))
    only_workers(d, 4)  # at last


def test_idle_connection_of_a_retiring_worker_has_one_more_request(rpd):
    d = rpd("[listener web]\nbind = @web@\n[route all]\nrespond = 200 yes\n", workers=4,
            globals_=GLOBALS)
    clients = [d.client() for _ in range(48)]
    fresh, used = clients[:16], clients[16:]
    for client in used:
        assert client.ask().status == 200
    d.wait_stats(lambda s: s["listeners"]["web"]["connections_active"] == 48)
    held = {w["slot"]: w["connections"] for w in d.stats()["workers"]}
    d.workers_wanted = 1
    d.reload("[listener web]\nbind = @web@\n[route all]\nrespond = 200 yes\n")
    d.wait_stats(lambda s: [w["state"] for w in s["workers"]].count("retiring") == 3)
    closes = 0
    for client in fresh + used:
        res = client.ask()
        assert res.body.strip() == b"yes"
        if "close" in res.options("Connection"):
            assert client.is_closed()
            closes += 1
    assert closes == sum(n for slot, n in held.items() if slot != 0) > 0
    only_workers(d, 1)


def test_request_that_crosses_a_connection_close_does_not_reset_the_answer(rpd, origin):
    o = origin()
    d = rpd(plain(o), workers=2, globals_=GLOBALS)
    clients = [d.client() for _ in range(20)]
    for client in clients:
        assert client.ask().status == 200
    d.workers_wanted = 1
    d.reload(plain(o))
    for client in clients:
        client.send(request_bytes(target="/bytes/100000")
                    + request_bytes("POST", body=b"x" * 65536))
        res = client.response()
        assert res.length == 100000
        if "close" in res.options("Connection"):
            assert not client.buf and client.sock.recv(1) == b"", "an end, no reset"
        else:
            assert client.response().status == 200
    for client in clients:
        client.close()
    only_workers(d, 1)


def test_quit_does_not_wait_for_idle_connections_of_retiring_workers(rpd):
    d = rpd("[listener web]\nbind = @web@\n[route all]\nrespond = 200 yes\n", workers=4,
            globals_=GLOBALS)
    clients = [d.client() for _ in range(16)]
    for client in clients:
        assert client.ask().status == 200
    d.workers_wanted = 1
    d.reload("[listener web]\nbind = @web@\n[route all]\nrespond = 200 yes\n")
    d.wait_stats(lambda s: [w["state"] for w in s["workers"]].count("retiring") == 3)
    d.signal(signal.SIGQUIT)
    assert d.wait_exit() == 0  # shutdown_timeout is two minutes
    assert all(client.is_closed() for client in clients)


def test_retiring_worker_ends_its_tunnels_in_its_time(rpd, origin):
    """Within shutdown_timeout they live, then they end."""
    o = origin(upgrade_echo)
    d = rpd(plain(o), workers=4, globals_="shutdown_timeout = 1s\n")
    clients = [d.client() for _ in range(16)]
    for client in clients:
        client.send(request_bytes(headers=[("Connection", "upgrade"), ("Upgrade", "x")]))
        assert client.response_head().status == 101
    d.workers_wanted = 1
    d.reload(plain(o))
    only_workers(d, 1)
    alive = 0
    for client in clients:
        try:
            client.send(b"x")
            alive += client.exact(1) == b"x"
        except (Eof, OSError):
            pass
    assert alive == d.stats()["workers"][0]["connections"]


# ---- killed workers ----

def held_ports(d, pid):
    """Client ports of the connections that the (stopped) process has accepted."""
    inodes = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        found = re.match(r"socket:\[(\d+)\]", os.readlink(f"/proc/{pid}/fd/{fd}"))
        if found:
            inodes.add(found[1])
    ours, ports = set(d.ports.values()), set()
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].split(":")[1], 16) in ours and fields[9] in inodes:
            ports.add(int(fields[2].split(":")[1], 16))
    return ports


def kill(d, crowd, pid):
    """Only what it has accepted may fail; what waits in its queue, or comes from now on, not."""
    freeze(pid)
    now = time.monotonic()
    for port in held_ports(d, pid):
        crowd.held[port] = now
    os.kill(pid, signal.SIGKILL)


def victim(d, times_killed, dice):
    """One of those killed least, when another one serves: (slot, pid)."""
    def running():
        found = [(w["slot"], w["pid"]) for w in d.stats()["workers"] if w["state"] == "running"]
        return len(found) >= 2 and found
    found = wait_until(running, 30)
    least = min(times_killed.get(slot, 0) for slot, _ in found)
    return dice.choice([x for x in found if times_killed.get(x[0], 0) == least])


@pytest.mark.slow
@pytest.mark.parametrize("workers, kills, reloads", [
    (2, 10, False), (3, 15, False), (4, 24, False), (2, 12, True), (3, 15, True), (4, 24, True)])
def test_killed_workers_lose_only_what_they_held(rpd, stand, workers, kills, reloads):
    dice = random.Random(kills)
    d = rpd(stand.configuration(), workers=workers, globals_=GLOBALS)
    killed = {}
    with Crowd(stand, d) as crowd:
        crowd.progress()
        before = fds(d.pid)
        for turn in range(max(times(kills), 4)):
            if turn == 3:
                grown = memory(d.pid, "Anonymous")
            slot, pid = victim(d, killed, dice)
            killed[slot] = killed.get(slot, 0) + 1
            crowd.doing = f"kill {turn + 1}, of worker {slot}"
            kill(d, crowd, pid)
            if reloads:
                d.reload(another(stand, turn))
            crowd.progress(1)
        d.reload(stand.configuration())
        d.wait_stats(lambda s: [w["state"] for w in s["workers"]] == ["running"] * workers, 30)
    crowd.check()
    assert crowd.lost > 0
    stats = settled(d)
    assert stats["rpd"]["worker_crashes"] == max(times(kills), 4)
    assert fds(d.pid) == before
    assert is_sanitized() or memory(d.pid, "Anonymous") <= grown + 65536
    with Crowd(stand, d, PASSING) as crowd:  # what is not lost is counted as ever
        crowd.progress(5)
    crowd.check()
    crowd.check_totals(stats, settled(d))


def test_clients_of_a_worker_that_is_held_back_are_served_by_others(rpd):
    d = rpd("[listener web]\nbind = @web@\n[route all]\nrespond = 200 yes\n", workers=3)
    for _ in range(7):  # the next start is seconds away
        pid = d.wait_stats(lambda s: s["workers"][1]["state"] == "running", 20)["workers"][1]["pid"]
        os.kill(pid, signal.SIGKILL)
        d.wait_stats(lambda s, old=pid: s["workers"][1]["pid"] != old)
    d.wait_log("started again in 3200 ms")
    for _ in range(60):
        assert d.ask().status == 200
    assert d.stats()["workers"][1]["state"] == "gone", "it has not come back meanwhile"
    d.wait_stats(lambda s: s["workers"][1]["state"] == "running", 20)
    served = d.stats()["workers"][1]["requests"]
    wait_until(lambda: d.ask().status == 200
               and d.stats()["workers"][1]["requests"] > served, 20, "its own clients to come back")


# ---- requests that cross an end ----

def test_request_that_came_before_the_idle_timer_was_looked_at_is_served(rpd):
    """More connections than one epoll_wait tells of: the timers of the others run first."""
    text = "[listener web]\nbind = @web@\ntimeout_idle = 4s\n[route all]\nrespond = 200 yes\n"
    d = rpd(text, workers=1)
    clients = [d.client() for _ in range(300)]
    for client in clients:
        client.send(request_bytes())
    for client in clients:
        assert client.response().status == 200
    pid = d.worker_pids()[0]
    freeze(pid)
    try:
        for client in clients:
            client.send(request_bytes())
        time.sleep(4.1)  # what is tested is that this time passes
    finally:
        os.kill(pid, signal.SIGCONT)
    for client in clients:
        assert client.response().status == 200


@pytest.mark.parametrize("body", [None, b"body" * 1000], ids=["empty", "with a body"])
def test_post_does_not_meet_a_kept_connection_that_has_ended(rpd, origin, body):
    """The server closed behind the client's request, before either was seen."""
    o = origin()
    d = rpd(plain(o), workers=1)
    with d.client() as client:
        assert client.ask().status == 200
        d.wait_stats(lambda s: s["backends"]["pool"]["servers"]["s0"]["idle"] == 1)
        pid = d.worker_pids()[0]
        freeze(pid)
        client.send(request_bytes("POST", "/echo", body=body))
        o.connections[0].shutdown_write()
        os.kill(pid, signal.SIGCONT)
        assert client.response().status == 200
    assert len(o.connections) == 2
