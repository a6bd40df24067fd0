"""Binary upgrade: the program is replaced in place, and nothing is lost; nor when it cannot be."""

import os
import pathlib
import shutil
import signal
import subprocess
import threading

import pytest

from harness.client import request_bytes
from harness.daemon import plain
from harness.origin import tcp_echo, upgrade_echo
from harness.util import RPD, children, patience, pattern_sha, wait_until

RESPOND = "[listener web]\nbind = @web@\n[route all]\nrespond = 200 hello\n"


def retirees_gone(d):
    """Whether all workers that there are are this master's own."""
    return len(d.children()) == d.stats()["rpd"]["workers"]


# ---- one that works ----

def test_upgrade_keeps_the_pid_and_replaces_workers(rpd, program):
    d = rpd(RESPOND, workers=2, program=program)
    before = set(d.worker_pids())
    d.replace_program(RPD)
    said = d.upgrade().stdout
    assert "upgraded" in said and "generation 2" in said, said
    assert d.is_running() and d.stats()["rpd"]["pid"] == d.pid
    assert before.isdisjoint(d.worker_pids()) and len(d.worker_pids()) == 2
    wait_until(lambda: retirees_gone(d), 10, "workers of before to end")
    stats = d.stats()
    assert (stats["rpd"]["upgrades"], stats["rpd"]["generation"]) == (1, 2)
    assert (stats["rpd"]["worker_crashes"], stats["rpd"]["reloads"]) == (0, 0)
    assert d.ask().status == 200
    assert not d.dir.joinpath("run", "stats.trial").exists()


def test_upgrade_by_signal(rpd, program):
    d = rpd(RESPOND, workers=1, program=program)
    d.signal(signal.SIGUSR2)
    d.wait_stats(lambda s: s["rpd"]["upgrades"] == 1)
    d.wait_log("upgraded: rpd")
    assert d.ask().status == 200


def test_kept_connections_get_one_more_answer(rpd, origin):
    d = rpd(plain(origin()), workers=2)
    clients = [d.client() for _ in range(20)]
    for client in clients:
        assert not client.ask().has("Connection")
    d.upgrade()
    for client in clients:
        answer = client.ask()
        assert answer.status == 200 and answer.get("Connection") == "close"
        assert client.is_closed()
    wait_until(lambda: retirees_gone(d), 10, "workers of before to end")
    stats = d.stats()
    assert stats["listeners"]["web"]["requests_total"] == 40
    assert stats["listeners"]["web"]["connections_total"] == 20
    assert stats["listeners"]["web"]["connections_active"] == 0
    assert stats["backends"]["pool"]["servers"]["s0"]["requests_total"] == 40
    assert stats["routes"]["all"]["latency"]["count"] == 40


def test_streams_of_before_go_on(rpd, origin):
    gate = threading.Event()

    def slowly(conn):
        req = conn.request()
        if req.has("Upgrade"):
            conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                      "Upgrade: websocket\r\n\r\n")
            tcp_echo(conn)
            return
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        gate.wait(patience(30))
        conn.send("world")
    d = rpd(plain(origin(slowly)) + "\n[listener raw]\nbind = @raw@\nmode = tcp\n"
            f"default_backend = echo\n[backend echo]\nserver = {origin(tcp_echo).addr}\n",
            workers=2)
    with d.client() as download, d.client() as socket, d.client("raw") as session:
        download.send(request_bytes())
        wait_until(lambda: download.buf.endswith(b"hello") or download.fill() or
                   download.buf.endswith(b"hello"))
        socket.send(request_bytes(headers=[("Connection", "Upgrade"), ("Upgrade", "websocket")]))
        assert socket.response().status == 101
        session.send(b"one")
        assert session.exact(3) == b"one"
        for n in range(3):
            d.upgrade()
            socket.send(b"ping %d" % n)
            assert socket.exact(6) == b"ping %d" % n
            session.send(b"again")
            assert session.exact(5) == b"again"
            active = d.wait_stats(lambda s: s["listeners"]["web"]["connections_active"] == 2)
            assert active["listeners"]["raw"]["connections_active"] == 1
            states = [w["state"] for w in active["workers"]]
            assert states.count("running") == 2 and "retiring" in states
        gate.set()
        assert download.response().body == b"helloworld"
    wait_until(lambda: retirees_gone(d), 10, "workers of before to end")
    stats = d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 2)
    assert stats["listeners"]["web"]["connections_active"] == 0
    assert stats["listeners"]["raw"]["requests_total"] == 1
    assert stats["rpd"]["upgrades"] == 3


def test_those_that_do_not_finish_are_ended(rpd, origin):
    d = rpd(plain(origin(upgrade_echo)), workers=1, globals_="shutdown_timeout = 200ms")
    with d.client() as socket:
        socket.send(request_bytes(headers=[("Connection", "Upgrade"), ("Upgrade", "websocket")]))
        assert socket.response().status == 101
        d.upgrade()
        wait_until(lambda: retirees_gone(d), 15, "the worker of before to end")
        assert socket.is_closed()
    assert d.stats()["rpd"]["worker_crashes"] == 0


def test_the_configuration_is_read_anew(rpd, program):
    d = rpd(RESPOND + "[listener old]\nbind = @old@\n", workers=2, program=program)
    d.write(RESPOND.replace("hello", "new") + "[listener more]\nbind = @more@\n")
    d.upgrade()
    assert d.ask(listener="more").body == b"new"
    # those of before may still take what waited for them in the kernel
    wait_until(lambda: retirees_gone(d), 10, "workers of before to end")
    assert d.ask().body == b"new"
    with pytest.raises(ConnectionRefusedError):
        d.client("old")


def test_a_unix_socket_stays(rpd, program):
    d = rpd("[listener web]\nbind = unix:@dir@/s, @web@\n[route all]\nrespond = 200 hello\n",
            workers=2, program=program)
    path = d.dir / "s"
    inode = path.stat().st_ino
    for _ in range(2):
        d.upgrade()
        assert path.stat().st_ino == inode
    d.replace_program("#!/bin/sh\nexit 1\n")
    d.upgrade(status=1)
    assert path.stat().st_ino == inode
    d.signal(signal.SIGTERM)
    assert d.wait_exit() == 0
    assert not path.exists()


def test_in_the_background_the_pid_file_stays_right(site, program, request):
    s = site(RESPOND, globals_="log = @dir@/log")
    s.globals_ = s.fill(s.globals_)
    s.write(RESPOND)
    done = s.run(program, "-d", "-c", s.config)
    assert done.returncode == 0, done.stderr
    pid = int((s.run_dir / "rpd.pid").read_text())
    request.addfinalizer(lambda: os.path.exists(f"/proc/{pid}") and os.kill(pid, signal.SIGTERM))
    assert "upgraded" in s.ctl("upgrade", check=True).stdout
    assert int((s.run_dir / "rpd.pid").read_text()) == pid
    again = s.run(program, "-c", s.config)
    assert again.returncode == 1 and "runs there already" in again.stderr
    s.ctl("stop", check=True)
    wait_until(lambda: not (s.run_dir / "rpd.pid").exists() and not children(pid))


def test_log_files_are_opened_anew_for_workers_of_before_as_well(rpd, program, tmp_path):
    d = rpd(RESPOND, workers=1, program=program, globals_=f"access_log = {tmp_path}/access")
    log, old = tmp_path / "access", tmp_path / "access.1"
    with d.client() as client:
        assert client.ask("/first").status == 200
        d.upgrade()
        wait_until(lambda: log.exists() and "/first" in log.read_text())
        log.rename(old)
        d.ctl("reopen", check=True)
        assert d.ask("/new").status == 200
        assert client.ask("/last").status == 200
    wait_until(lambda: log.exists() and {"/new", "/last"} <= set(log.read_text().split()))
    assert "/last" not in old.read_text()


def test_what_an_operator_wants_of_servers_stays(rpd, origin, program):
    a, b = origin(), origin()
    d = rpd(plain(a, b), workers=2, program=program)
    d.ctl("server", "pool/s0", "drain", check=True)
    d.ctl("server", "pool/s1", "weight", "7", check=True)
    with d.client() as kept:
        assert kept.ask().status == 200
        d.upgrade()
        servers = d.stats()["backends"]["pool"]["servers"]
        assert servers["s0"]["admin"] == "drain" and servers["s1"]["weight"] == 7
        for _ in range(10):
            assert d.ask().status == 200
        assert len(a.requests) == 0 and len(b.requests) == 11
        # Workers of before do as they are told as well.
        d.ctl("server", "pool/s0", "ready", check=True)
        d.ctl("server", "pool/s1", "down", check=True)
        assert kept.ask().status == 200
    assert d.ask().status == 200
    wait_until(lambda: len(a.requests) == 2 or len(b.requests) > 11)
    assert len(b.requests) == 11


# ---- another version ----

@pytest.fixture(scope="module")
def other_version(tmp_path_factory):
    """A build of another version, whose tables have a counter in the midst of the others."""
    tree = tmp_path_factory.mktemp("other")
    root = pathlib.Path(__file__).parents[2]
    for name in ("Makefile", "master", "worker", "helper", "common", "ctl"):
        if (root / name).is_dir():
            shutil.copytree(root / name, tree / name)
        elif (root / name).exists():
            shutil.copy(root / name, tree / name)
    table = tree / "common/core/stats.def"
    row = 'SLOT(listener, requests_total, '
    text = table.read_text()
    assert text.count(row) == 1
    new = 'SLOT(listener, elsewhere, COUNTER, "of this build")'
    table.write_text(text.replace(row, f"{new}\n{row}"))
    command = ["make", "-j2", "-C", tree, f"BUILD={tree}/build", "VERSION=9.9.9", "OPT=-O0 -fPIE",
               "LINK=-pie", f"{tree}/build/rpd"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=patience(300))
    assert done.returncode == 0, done.stderr
    return tree / "build/rpd"


@pytest.mark.release_only
@pytest.mark.slow
def test_versions_with_other_tables_count_on(rpd, origin, program, other_version):
    d = rpd(plain(origin()), workers=2, program=program)

    def totals(stats):
        web, server = stats["listeners"]["web"], stats["backends"]["pool"]["servers"]["s0"]
        return (web["requests_total"], web["connections_total"], server["status_2xx"],
                stats["routes"]["all"]["latency"]["count"], web["connections_active"])
    with d.client() as first, d.client() as second:
        assert first.ask("/bytes/1000").length == 1000
        bytes_out = d.wait_stats(lambda s: totals(s) == (1, 2, 1, 1, 2))["listeners"]["web"]
        d.replace_program(other_version)
        assert "to rpd 9.9.9" in d.upgrade().stdout
        stats = d.wait_stats(lambda s: totals(s) == (1, 2, 1, 1, 2))
        assert stats["rpd"]["version"] == "9.9.9"
        assert stats["listeners"]["web"]["elsewhere"] == 0
        assert stats["listeners"]["web"]["bytes_out"] == bytes_out["bytes_out"]
        assert first.ask().status == 200, "by a worker of the first version"
        d.wait_stats(lambda s: totals(s)[0] == 2)
        assert d.ask().status == 200
        d.wait_stats(lambda s: totals(s) == (3, 3, 3, 3, 1))
        d.replace_program(RPD)
        assert "rpd 9.9.9 to rpd" in d.upgrade().stdout
        d.wait_stats(lambda s: totals(s) == (3, 3, 3, 3, 1))
        assert second.ask().status == 200, "by a worker of two versions before"
    d.wait_stats(lambda s: totals(s) == (4, 3, 4, 4, 0))
    assert "elsewhere" not in d.stats()["listeners"]["web"]
    assert d.stats()["rpd"]["upgrades"] == 2


# ---- one that does not ----

BROKEN = {
    "exits": ("#!/bin/sh\necho I am broken >&2\nexit 3\n", ["status 3", "I am broken"]),
    "crashes": ("#!/bin/sh\nkill -SEGV $$\n", ["signal 11"]),
    "says nothing": ("#!/bin/sh\nexit 0\n", ["without a word"]),
    "is no program": ("\x7fELF nonsense", ["exec", "format error"]),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_program_changes_nothing(rpd, program, kind):
    text, words = BROKEN[kind]
    d = rpd(RESPOND, workers=2, program=program)
    pids = d.worker_pids()
    d.replace_program(text)
    with d.client() as client:
        assert client.ask().status == 200
        for _ in range(5):
            said = d.upgrade(status=1).stderr
            assert "refused" in said and all(w.lower() in said.lower() for w in words), said
            answer = client.ask()
            assert answer.status == 200 and not answer.has("Connection")
    assert d.worker_pids() == pids
    stats = d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 6)
    assert (stats["rpd"]["generation"], stats["rpd"]["upgrades"]) == (1, 0)
    d.wait_log("upgrade refused")
    d.replace_program(RPD)
    d.upgrade()


def test_a_missing_program_changes_nothing(rpd, program):
    d = rpd(RESPOND, workers=1, program=program)
    program.unlink()
    assert "No such file" in d.upgrade(status=1).stderr
    assert d.ask().status == 200


def test_a_bad_configuration_changes_nothing(rpd, program):
    d = rpd(RESPOND, workers=2, program=program)
    pids = d.worker_pids()
    d.write(RESPOND + "tiemout = 3\n")
    said = d.upgrade(status=1).stderr
    assert "rpd.ini:" in said and "tiemout" in said, said
    assert d.ask().status == 200 and d.worker_pids() == pids
    d.write(RESPOND)
    d.upgrade()


def test_an_address_that_is_taken_changes_nothing(rpd, origin, program):
    d = rpd(RESPOND, workers=2, program=program)
    d.write(RESPOND + f"[listener more]\nbind = {origin().addr}\n")
    assert "in use" in d.upgrade(status=1).stderr
    assert d.ask().status == 200


def test_what_fails_after_all_gives_the_process_back(rpd, program):
    """A program that passes its trial, and then finds its configuration broken."""
    d = rpd(RESPOND, workers=2, program=program)
    pids = d.worker_pids()
    real = program.with_name("real")
    shutil.copy(RPD, real)
    d.replace_program("#!/bin/sh\nif grep -q mode=upgrade /proc/$$/fd/$RPD_HANDOFF; then\n"
                      f"echo tiemout = 3 >>{d.config}\nfi\nexec {real} \"$@\"\n")
    with d.client() as client:
        assert client.ask().status == 200
        said = d.upgrade(status=1).stderr
        assert "refused" in said and "generation" not in said, said
        assert d.is_running() and d.stats()["rpd"]["pid"] == d.pid
        assert client.ask().status == 200
    for _ in range(20):
        assert d.ask().status == 200
    assert d.stats()["rpd"]["upgrades"] == 0
    assert len(d.worker_pids()) == 2 and pids


def test_upgrade_and_reload_at_once(rpd, program):
    d = rpd(RESPOND, workers=2, program=program)
    done = []

    def ask(command):
        done.append(d.ctl(command))
    threads = [threading.Thread(target=ask, args=(c,)) for c in ("reload", "upgrade") * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(patience(30))
    assert len(done) == 6 and all(one.returncode == 0 for one in done), done
    assert d.ask().status == 200


def test_stop_during_an_upgrade(rpd, program):
    d = rpd(RESPOND, workers=2, program=program)
    d.replace_program("#!/bin/sh\nexec sleep 1000\n")
    done = []
    thread = threading.Thread(target=lambda: done.append(d.ctl("upgrade")))
    thread.start()
    d.wait_log("upgrade: trying")
    d.signal(signal.SIGTERM)
    assert d.wait_exit() == 0
    thread.join(patience(10))
    assert done[0].returncode == 1 and "stopping" in done[0].stderr, done


# ---- a master that is killed ----

def kill_master(d):
    os.kill(d.pid, signal.SIGKILL)
    d.wait_exit()


def test_workers_serve_on_without_a_master(rpd, origin):
    d = rpd(plain(origin()), workers=2)
    with d.client() as client:
        assert client.ask().status == 200
        kill_master(d)
        for _ in range(20):
            assert client.ask("/bytes/100000").sha == pattern_sha(100000)
            assert d.ask().status == 200
        d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 41)
        d.spawn()
        d.wait_ready()
        d.wait_log("workers have lost their master")
        answer = client.ask()
        assert answer.status == 200 and answer.get("Connection") == "close"
    for _ in range(20):
        assert d.ask().status == 200
    wait_until(lambda: retirees_gone(d), 10, "workers of before to end")
    stats = d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 62)
    assert stats["listeners"]["web"]["connections_total"] == 41
    assert stats["listeners"]["web"]["connections_active"] == 0
    assert stats["rpd"]["generation"] == 2


def test_masters_killed_one_after_another(rpd):
    d = rpd(RESPOND, workers=2)
    with d.client() as client:
        asked = 0
        for n in range(1, 6):
            kill_master(d)
            assert d.ask().status == 200
            d.spawn()
            d.wait_ready()
            assert d.ask().status == 200
            asked += 2
            assert d.stats()["rpd"]["generation"] == n + 1
        assert client.ask().status == 200
    d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == asked + 1)


def test_a_worker_dies_while_there_is_no_master(rpd):
    d = rpd(RESPOND, workers=2)
    victim = d.worker_pids()[0]
    kill_master(d)
    os.kill(victim, signal.SIGKILL)
    d.spawn()
    d.wait_ready()
    for _ in range(20):
        assert d.ask().status == 200
    assert len(d.worker_pids()) == 2


def test_an_upgrade_after_a_takeover(rpd, program):
    d = rpd(RESPOND, workers=2, program=program)
    with d.client() as client:
        assert client.ask().status == 200
        kill_master(d)
        d.spawn()
        d.wait_ready()
        d.upgrade()
        assert client.ask().status == 200
    d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 2)
