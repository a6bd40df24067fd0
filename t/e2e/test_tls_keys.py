"""Private keys are in `rpd: keys` and nowhere else; it signs for workers, dies and comes back, and
nobody else waits for it."""

import contextlib
import os
import pathlib
import platform
import re
import resource
import signal
import socket
import ssl
import struct
import sys
import threading

import pytest

from harness import memory
from harness.certs import Authority
from harness.daemon import StartError
from harness.tls import TlsClient, client_context
from harness.util import cmdline, freeze, is_alive, times, wait_until

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root sees into other processes")

KINDS = {"ec": "ec.test", "rsa": "rsa.test", "ed25519": "ed.test"}
SITE = """
[listener web]
bind = @web@
tls = on
certificate = {names}
[route all]
respond = 200 $sni
"""
PLAIN = """
[listener web]
bind = @web@
[route all]
respond = 200 plain
"""


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def leaves(ca):
    return {kind: ca.issue(name, kind=kind) for kind, name in KINDS.items()}


def site(leaves):
    return (SITE.format(names=", ".join(leaves))
            + "".join(leaf.section(kind) for kind, leaf in leaves.items()))


def keys_pid(d):
    """Of the process that serves; 0: there is none."""
    return d.stats()["rpd"]["keys_pid"]


def keys_pids(d):
    return [pid for pid in d.processes() if cmdline(pid).startswith("rpd: keys")]


def shake(d, name="ec.test", version=None):
    """A client of its own, the handshake done."""
    return TlsClient(d.addr(), client_context(version=version), name)


def ask(client, name="ec.test"):
    assert client.ask(host=name).body == name.encode()


def visit_all(d, rounds=1):
    for _ in range(rounds):
        for name in KINDS.values():
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                with shake(d, name, version) as client:
                    ask(client, name)


def operations(d):
    return d.worker_total("key_operations")


# ---- where keys are ----

def secrets(leaves):
    return {f"{kind}: {what}": needle for kind, leaf in leaves.items()
            for what, needle in memory.needles(leaf.key).items()}


def check_memory(d, leaves):
    """Each key is in the process that is for them, and none of it in any other."""
    wanted = secrets(leaves)
    own = keys_pids(d)
    assert keys_pid(d) in own
    for pid in d.processes():
        found = memory.find(pid, wanted)
        if pid == keys_pid(d):
            assert {name.split(":")[0] for name in found} == set(leaves)
        elif pid not in own:
            assert not found, f"{cmdline(pid)} has {found}"


@as_root
def test_no_other_process_has_a_key_at_any_time(rpd, leaves):
    d = rpd(site(leaves), workers=2)
    check_memory(d, leaves)
    visit_all(d, rounds=2)
    check_memory(d, leaves)
    d.reload()
    visit_all(d)
    check_memory(d, leaves)
    d.upgrade()
    visit_all(d)
    check_memory(d, leaves)
    os.kill(keys_pid(d), signal.SIGKILL)
    visit_all(d)
    check_memory(d, leaves)


@as_root
def test_the_search_finds_keys_where_they_are(rpd, leaves):
    """With key_process = off each worker has them, and still not the master."""
    d = rpd(site(leaves), workers=2, globals_="key_process = off\n")
    assert keys_pids(d) == [] and keys_pid(d) == 0
    visit_all(d)
    assert operations(d) == 0
    wanted = secrets(leaves)
    for pid in d.worker_pids():
        assert {name.split(":")[0] for name in memory.find(pid, wanted)} == set(leaves)
    assert not memory.find(d.pid, wanted)


@as_root
def test_keys_that_are_no_more_configured_are_forgotten(rpd, leaves):
    """When their time is over: here at once, for the process that had them ends."""
    d = rpd(site(leaves), workers=1, globals_="shutdown_timeout = 1s\n")
    before = keys_pid(d)
    d.reload(PLAIN)
    wait_until(lambda: not is_alive(before))
    assert keys_pids(d) == [] and keys_pid(d) == 0
    assert d.ask().body == b"plain"
    d.reload(site(leaves))
    visit_all(d)
    assert keys_pids(d) == [keys_pid(d)]
    check_memory(d, leaves)


@pytest.mark.parametrize("first", ["on", "off"])
def test_a_reload_moves_the_keys(rpd, leaves, first):
    second = "off" if first == "on" else "on"
    d = rpd(site(leaves), workers=2, globals_=f"key_process = {first}\nshutdown_timeout = 1s\n")
    with shake(d) as kept:
        for setting in (second, first, second):
            d.globals_ = f"key_process = {setting}\nshutdown_timeout = 1s\n"
            d.reload(site(leaves))
            before = operations(d)
            visit_all(d)
            assert (operations(d) > before) == (setting == "on")
            ask(kept)
        if second == "off":
            wait_until(lambda: not keys_pids(d))


# ---- what the process may ----

def status_of(pid):
    return dict(line.split(":\t", 1) for line in
                pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)


@as_root
def test_the_process_has_given_up_what_it_does_not_need(rpd, leaves):
    d = rpd(site(leaves), workers=2)
    pid = keys_pid(d)
    status = status_of(pid)
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert set(status["Uid"].split()) & {"0"} == set()
    assert set(status["Gid"].split()) & {"0"} == set()
    assert status["Groups"].strip() == ""
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
    assert any(line.split()[4:6] == ["0", "0"] for line in limits.splitlines()
               if line.startswith("Max core file size"))
    # Nobody but root may look into what cannot be dumped.
    assert os.stat(f"/proc/{pid}/mem").st_uid == 0
    assert os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
    assert int(status["VmLck"].split()[0]) > 0
    # One thread for the master, one for each worker.
    wait_until(lambda: status_of(pid)["Threads"] == "3")


@as_root
def test_nothing_of_the_master_stays_open_in_it(rpd, leaves):
    d = rpd(site(leaves), workers=2)
    targets = [os.readlink(path) for path in pathlib.Path(f"/proc/{keys_pid(d)}/fd").iterdir()]
    sockets = [t for t in targets if t.startswith("socket:")]
    assert len(sockets) == 3, targets  # the master's and each worker's
    assert not [t for t in targets if "memfd" in t], targets


@as_root
def test_a_user_that_does_not_exist_is_an_error(rpd, leaves):
    with pytest.raises(StartError, match=r"\[global\] keys_user: there is no user 'nosuch'"):
        rpd(site(leaves), globals_="keys_user = nosuch\n")


@as_root
def test_it_becomes_the_user_that_is_named(rpd, leaves):
    d = rpd(site(leaves), globals_="keys_user = daemon\n")
    assert status_of(keys_pid(d))["Uid"].split()[0] == "1"


# A program that is run without seccomp(2), as by a kernel that has none.
WITHOUT_SECCOMP = """
import ctypes, os, struct, sys
number, program = int(sys.argv[1]), sys.argv[2:]
rules = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x50016), (0x06, 0, 0, 0x7fff0000)]
code = b"".join(struct.pack("HBBI", *rule) for rule in rules)
kept = ctypes.create_string_buffer(code)
filter = struct.pack("HxxxxxxP", len(rules), ctypes.addressof(kept))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, filter, 0, 0) == 0
os.execv(program[0], program)
"""


def test_a_start_that_cannot_guard_keys_fails(rpd, leaves, tmp_path):
    number = {"x86_64": 317, "aarch64": 277}[platform.machine()]
    script = tmp_path / "without-seccomp.py"
    script.write_text(WITHOUT_SECCOMP)
    wrapper = (sys.executable, script, str(number))
    why = r"system calls cannot be ruled out \(seccomp\): Invalid argument"
    with pytest.raises(StartError, match=why):
        rpd(site(leaves), wrapper=wrapper)
    d = rpd(PLAIN, wrapper=wrapper)
    said = d.reload(site(leaves)).stdout
    assert re.search(f"^warning: rpd: keys: {why}$", said, re.M), said
    assert d.stats()["rpd"]["keys_crashes"] > 0
    d.globals_ = "key_process = off\n"
    d.reload(site(leaves))
    visit_all(d)


def test_operations_are_counted_and_their_latency_shown(rpd, leaves):
    d = rpd(site(leaves), workers=1)
    visit_all(d, rounds=2)
    worker = d.stats()["workers"][0]
    assert worker["key_operations"] == 12
    assert worker["key_failures"] == worker["key_pending"] == 0
    assert worker["key_latency"]["count"] == 12
    assert 0 < worker["key_latency"]["p50"] <= worker["key_latency"]["max"]
    heading = d.ctl("workers", check=True).stdout.splitlines()[0].split()
    assert {"key_operations", "key_pending", "key_p50", "key_p99"} <= set(heading)
    assert "p50" not in heading


# ---- it dies ----

class Visitors:
    """Threads that come again and again, each time with a handshake of its own."""

    def __init__(self, d, count=4):
        self.d, self.errors, self.done = d, [], 0
        self.is_over = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(i,), daemon=True)
                        for i in range(count)]
        for thread in self.threads:
            thread.start()

    def run(self, number):
        name = list(KINDS.values())[number % 3]
        while not self.is_over.is_set():
            try:
                with shake(self.d, name) as client:
                    ask(client, name)
                self.done += 1
            except (OSError, AssertionError, EOFError) as error:
                self.errors.append(error)

    def more(self, n=8):
        seen = self.done
        wait_until(lambda: self.done >= seen + n or self.errors, 30)

    def stop(self):
        self.is_over.set()
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive()
        assert not self.errors, self.errors[:3]


def test_killed_under_load_and_no_handshake_fails(rpd, leaves):
    d = rpd(site(leaves), workers=2)
    visitors = Visitors(d)
    with shake(d) as kept:
        for n in range(1, times(7) + 1):
            pid = keys_pid(d)
            os.kill(pid, signal.SIGKILL)
            ask(kept)  # it notices nothing
            wait_until(lambda: keys_pid(d) not in (0, pid))
            visitors.more()
            assert d.stats()["rpd"]["keys_crashes"] == n
        visitors.stop()
        ask(kept)
    stats = d.stats()
    assert stats["listeners"]["web"]["tls_failed"] == 0
    assert stats["rpd"]["worker_crashes"] == 0
    assert d.worker_total("key_failures") == d.worker_total("key_pending") == 0
    assert "rpd: keys is started again in 100 ms" in d.stderr()


def test_it_is_stopped_and_handshakes_wait_while_requests_do_not(rpd, leaves):
    """What one slow key costs is paid by who wants it: a worker's other connections go on."""
    d = rpd(site(leaves), workers=1)
    waiting = times(40)
    names = list(KINDS.values())
    with shake(d) as kept:
        freeze(keys_pid(d))
        visitors = []
        threads = [threading.Thread(target=lambda i=i: visitors.append(shake(d, names[i % 3])))
                   for i in range(waiting)]
        for thread in threads:
            thread.start()
        d.wait_stats(lambda s: s["workers"][0]["key_pending"] == waiting)
        for _ in range(100):
            ask(kept)
        assert not visitors
        assert d.worker_total("key_pending") == waiting
        os.kill(keys_pid(d), signal.SIGCONT)
        for thread in threads:
            thread.join(60)
        assert len(visitors) == waiting
        for client in visitors:
            client.close()
    assert d.worker_total("key_pending") == d.worker_total("key_failures") == 0


def test_who_leaves_while_a_handshake_waits_is_forgotten(rpd, leaves):
    d = rpd(site(leaves).replace("tls = on", "tls = on\ntimeout_header = 1s"), workers=1)
    freeze(keys_pid(d))
    socks = []
    for _ in range(50):
        sock = socket.create_connection(d.addr())
        socks.append(sock)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = client_context().wrap_bio(incoming, outgoing, server_hostname="rsa.test")
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        sock.sendall(outgoing.read())
    d.wait_stats(lambda s: s["workers"][0]["key_pending"] == 50)
    for sock in socks[:25]:
        sock.close()
    for sock in socks[25:]:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()  # a reset
    d.wait_stats(lambda s: s["workers"][0]["key_pending"] == 0
                 and s["listeners"]["web"]["connections_active"] == 0)
    os.kill(keys_pid(d), signal.SIGCONT)
    visit_all(d)


def test_a_flood_of_slow_keys_lets_quick_ones_pass(rpd, ca):
    """RSA of 4096 bits takes 200 times as long as ECDSA; who wants that is first all the same."""
    leaves = {"slow": ca.issue("slow.test", kind="rsa", bits=4096), "ec": ca.issue("ec.test")}
    d = rpd(site(leaves), workers=1)
    flood = times(60)
    freeze(keys_pid(d))
    finished = []

    def visit(name):
        with shake(d, name):
            finished.append(name)
    slow = [threading.Thread(target=visit, args=("slow.test",)) for _ in range(flood)]
    for thread in slow:
        thread.start()
    d.wait_stats(lambda s: s["workers"][0]["key_pending"] == flood)
    quick = threading.Thread(target=visit, args=("ec.test",))
    quick.start()
    d.wait_stats(lambda s: s["workers"][0]["key_pending"] == flood + 1)
    os.kill(keys_pid(d), signal.SIGCONT)
    for thread in [*slow, quick]:
        thread.join(120)
    assert len(finished) == flood + 1
    assert finished.index("ec.test") < flood // 2


# ---- masters come and go ----

def test_it_serves_on_for_workers_without_a_master(rpd, leaves):
    d = rpd(site(leaves), workers=2)
    keys = keys_pid(d)
    d.expect_status = None
    d.signal(signal.SIGKILL)
    d.wait_exit()
    visit_all(d)
    assert is_alive(keys)
    d.spawn()
    d.wait_ready()
    d.expect_status = 0
    assert keys_pid(d) not in (0, keys)
    wait_until(lambda: not is_alive(keys))  # with the last worker that it was for
    visit_all(d)


def test_an_upgrade_leaves_it_to_the_workers_it_was_for(rpd, leaves, program):
    d = rpd(site(leaves), workers=2, program=program)
    keys = keys_pid(d)
    with shake(d) as kept:
        ask(kept)
        d.upgrade()
        visit_all(d)
        assert keys_pid(d) not in (0, keys)
    wait_until(lambda: not is_alive(keys))
    d.program = program
    # A program that fails when it has taken over gives the process back.
    d.replace_program("#!/bin/sh\nexit 3\n")
    d.upgrade(status=1)
    visit_all(d)
    assert len(keys_pids(d)) == 1


def test_the_end_leaves_no_process(rpd, leaves):
    for end in (signal.SIGTERM, signal.SIGQUIT):
        d = rpd(site(leaves), workers=2)
        visit_all(d)
        d.signal(end)
        assert d.wait_exit() == 0
        assert d.processes() == []


def test_its_log_follows_a_rotation(rpd, leaves, tmp_path):
    log = tmp_path / "error.log"
    d = rpd(site(leaves), globals_=f"log = {log}\nlog_level = info\n")
    keys = keys_pid(d)
    log.rename(tmp_path / "error.log.1")
    assert d.ctl("reopen").returncode == 0
    visit_all(d)
    d.expect_status = None
    d.signal(signal.SIGKILL)
    d.wait_exit()
    wait_until(lambda: f"keys[{keys}]: the master is gone" in log.read_text())
    for pid in d.processes():
        os.kill(pid, signal.SIGKILL)


@as_root
def test_memory_that_cannot_be_locked_is_a_warning(rpd, leaves):
    """As where the limit is small and cannot be raised."""
    d = rpd(site(leaves), limits=((resource.RLIMIT_MEMLOCK, 65536),),
            wrapper=("setpriv", "--bounding-set=-sys_resource,-ipc_lock"))
    visit_all(d)
    assert "memory cannot be locked" in d.stderr()
