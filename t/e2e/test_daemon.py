"""The daemon: signals, pid file, background, init script."""

import os
import pathlib
import re
import signal
import subprocess
import threading
import time

import pytest

from harness.client import Client, request_bytes
from harness.daemon import plain
from harness.origin import upgrade_echo
from harness.util import (REPO, RPCTL, RPD, is_alive, patience, proc_fields, session_pids,
                          wait_until)

RESPOND = "[listener web]\nbind = @web@\n[route all]\nrespond = 200 hello\n"
INIT = REPO / "etc" / "init.d" / "rpd"


def blocked(origin, rpd, **kw):
    """A daemon with one request under way; gate lets the server answer."""
    gate = threading.Event()

    def handler(conn):
        while True:
            conn.request()
            gate.wait(20)
            conn.reply(b"finished")
    o = origin(handler)
    d = rpd(plain(o), **kw)
    client = d.client()
    client.send(request_bytes())
    wait_until(lambda: o.requests)
    return d, client, gate


# ---- ending ----

@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_term_and_int_stop_now(rpd, origin, number):
    d, client, gate = blocked(origin, rpd)
    start = time.monotonic()
    d.signal(number)
    assert d.wait_exit() == 0
    assert time.monotonic() - start < patience(3)
    gate.set()
    assert b"finished" not in client.until_eof()
    assert d.processes() == []


@pytest.mark.parametrize("how", ["signal", "rpctl"])
def test_quit_finishes_then_stops(rpd, origin, how):
    d, client, gate = blocked(origin, rpd)
    if how == "signal":
        d.signal(signal.SIGQUIT)
        caller = None
    else:
        caller = subprocess.Popen([RPCTL, "-r", d.run_dir, "quit"], env=d.env)

    def is_refused():
        try:
            d.client().close()
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:
            pass  # came while the sockets were closed
        return False
    wait_until(is_refused, 10, "listening to end")
    assert d.proc.poll() is None, "it waits for the request"
    gate.set()
    assert client.response().body == b"finished"
    assert d.wait_exit() == 0
    if caller:
        assert caller.wait(patience(5)) == 0
    assert client.is_closed()


def test_quit_with_nothing_to_finish_stops_at_once(rpd):
    d = rpd(RESPOND)
    with d.client() as idle:
        assert idle.ask().status == 200
        start = time.monotonic()
        d.signal(signal.SIGQUIT)
        assert d.wait_exit() == 0
        assert time.monotonic() - start < patience(3), "idle connections do not hold it"
        assert idle.is_closed()


def test_quit_waits_no_longer_than_shutdown_timeout(rpd, origin):
    d, client, _ = blocked(origin, rpd, globals_="shutdown_timeout = 500ms\n")
    start = time.monotonic()
    d.signal(signal.SIGQUIT)
    assert d.wait_exit() == 0
    assert 0.3 < time.monotonic() - start < patience(5)
    client.until_eof()


def test_quit_serves_what_was_already_accepted(rpd):
    d = rpd(RESPOND)
    with d.client() as client:
        assert client.ask().status == 200
        client.send("GET / HTTP/1.1\r\nHost: te")
        d.signal(signal.SIGQUIT)
        try:
            client.send("st\r\n\r\n")
            assert client.response().status in (200, 503)
        except Exception:
            pass  # closing a connection that stood between two requests is allowed
    assert d.wait_exit() == 0


def test_term_after_quit_ends_it(rpd, origin):
    d, _, _ = blocked(origin, rpd)
    d.signal(signal.SIGQUIT)
    wait_until(lambda: d.proc.poll() is None)
    d.signal(signal.SIGTERM)
    assert d.wait_exit() == 0


def test_quit_ends_tunnels_after_shutdown_timeout(rpd, origin):
    d = rpd(plain(origin(upgrade_echo)), globals_="shutdown_timeout = 300ms\n")
    with d.client() as client:
        client.send(request_bytes(headers=[("Connection", "upgrade"), ("Upgrade", "x")]))
        assert client.response_head().status == 101
        d.signal(signal.SIGQUIT)
        assert d.wait_exit() == 0
        assert client.is_closed()


@pytest.mark.parametrize("number", [signal.SIGPIPE, signal.SIGUSR1, signal.SIGCHLD,
                                    signal.SIGWINCH])
def test_other_signals_do_not_end_it(rpd, number):
    d = rpd(RESPOND)
    for _ in range(3):
        d.signal(number)
        assert d.ask().status == 200
    assert d.is_running()


def test_terminal_interrupt_reaches_workers_too(rpd):
    """Ctrl-C goes to the whole process group: it must be a clean stop, not a row of crashes."""
    d = rpd(RESPOND)
    os.killpg(d.pid, signal.SIGINT)
    assert d.wait_exit() == 0
    assert d.stats()["rpd"]["worker_crashes"] == 0


# ---- run_dir ----

def test_run_dir_holds_pid_socket_and_segment(rpd):
    d = rpd(RESPOND)
    assert (d.run_dir / "rpd.pid").read_text().strip() == str(d.pid)
    assert (d.run_dir / "rpd.sock").is_socket()
    assert (d.run_dir / "stats").stat().st_size > 0
    mode = (d.run_dir / "rpd.sock").stat().st_mode & 0o777
    assert mode & 0o007 == 0, f"strangers may not command: {mode:o}"
    d.signal(signal.SIGTERM)
    assert d.wait_exit() == 0
    assert not (d.run_dir / "rpd.sock").exists()
    assert not (d.run_dir / "rpd.pid").exists() or not (d.run_dir / "rpd.pid").read_text().strip()


def test_second_start_in_the_same_run_dir_is_refused(rpd):
    d = rpd(RESPOND)
    other = d.dir / "other.ini"
    d.fill("@other@")
    other.write_text(d.config.read_text().replace(str(d.ports["web"]), str(d.ports["other"])))
    done = d.run(RPD, "-c", other)
    assert done.returncode == 1
    assert str(d.pid) in done.stderr or "running" in done.stderr or "rpd.pid" in done.stderr
    assert (d.run_dir / "rpd.pid").read_text().strip() == str(d.pid)
    assert d.ask().status == 200
    assert d.stats()["rpd"]["pid"] == d.pid


def test_stale_pid_file_is_no_obstacle(rpd, site):
    s = site()
    (s.run_dir / "rpd.pid").write_text("1\n")
    d = rpd(RESPOND)
    d.signal(signal.SIGTERM)
    d.wait_exit()
    (d.run_dir / "rpd.pid").write_text("1\n")
    (d.run_dir / "rpd.sock").touch()
    d.spawn()
    d.wait_ready()
    assert (d.run_dir / "rpd.pid").read_text().strip() == str(d.pid)


# ---- in the background ----

def wait_gone(pid):
    wait_until(lambda: not is_alive(pid), 15, f"{pid} to end")


def test_background(site):
    s = site(RESPOND, globals_="log = /dev/null\n")
    s.globals_ = f"log = {s.dir}/error.log\n"
    s.write(RESPOND)
    done = s.run(RPD, "-d", "-c", s.config)
    assert done.returncode == 0, done.stderr
    pid = int((s.run_dir / "rpd.pid").read_text())
    try:
        with Client(("127.0.0.1", s.ports["web"])) as client:
            assert client.ask().status == 200, "it serves as soon as the start returns"
        fields = proc_fields(pid)
        assert int(fields[3]) != os.getsid(0), "a session of its own"
        for fd in (0, 1, 2):
            assert os.readlink(f"/proc/{pid}/fd/{fd}") in ("/dev/null", f"{s.dir}/error.log")
        assert s.ctl("stats").returncode == 0
        assert s.run(RPD, "-d", "-c", s.config).returncode == 1, "a second one is refused"
        assert s.ctl("stop").returncode == 0
        wait_gone(pid)
    finally:
        for left in session_pids(int(proc_fields(pid)[3]) if is_alive(pid) else -1):
            os.kill(left, signal.SIGKILL)


def test_background_start_that_fails_says_so(site):
    s = site("[listener web]\nbnd = @web@\n[route r]\nrespond = 200 x\n")
    done = s.run(RPD, "-d", "-c", s.config)
    assert done.returncode == 1
    assert "did you mean 'bind'" in done.stderr


def test_background_start_on_a_taken_port_says_so(rpd, site):
    d = rpd(RESPOND)
    s = site()
    s.ports["web"] = d.ports["web"]
    s.write(RESPOND)
    done = s.run(RPD, "-d", "-c", s.config)
    assert done.returncode == 1
    assert "in use" in done.stderr.lower()


# ---- init script ----

class Init:
    def __init__(self, s):
        self.s = s
        s.globals_ = f"log = {s.dir}/error.log\n"
        s.write(RESPOND)
        s.env.update(DAEMON=str(RPD), RPCTL=str(RPCTL), CONFIG=str(s.config),
                     RUN_DIR=str(s.run_dir), STOP_TIMEOUT="20")

    def __call__(self, action):
        return self.s.run("/bin/sh", INIT, action, timeout=40)

    def pid(self):
        return int((self.s.run_dir / "rpd.pid").read_text())


@pytest.fixture
def init(site):
    made = Init(site())
    yield made
    made("stop")
    assert made("status").returncode != 0


def test_init_script(init):

    def status():
        with Client(("127.0.0.1", init.s.ports["web"])) as client:
            return client.ask().status
    assert init("status").returncode == 3
    assert init("stop").returncode == 0, "stopping what does not run is done"
    assert init("start").returncode == 0
    assert status() == 200
    first = init.pid()
    assert init("status").returncode == 0
    assert init("start").returncode == 0, "starting what runs is done"
    assert init.pid() == first
    assert init("configtest").returncode == 0
    init.s.write(RESPOND.replace("200 hello", "202 hello"))
    done = init("reload")
    assert done.returncode == 0, done
    assert status() == 202
    assert init.pid() == first
    assert init("restart").returncode == 0
    wait_gone(first)
    assert init.pid() != first and status() == 202
    last = init.pid()
    assert init("stop").returncode == 0
    wait_gone(last)
    assert init("status").returncode == 3


def test_init_script_keeps_a_running_one_from_a_bad_file(init):
    assert init("start").returncode == 0
    pid = init.pid()
    init.s.config.write_text("[listener web]\nbnd = 1\n")
    for action in ("configtest", "reload", "restart"):
        done = init(action)
        assert done.returncode == 1, (action, done)
        assert "did you mean 'bind'" in done.stdout + done.stderr, (action, done)
    assert init.pid() == pid and is_alive(pid)


def test_init_script_status_after_a_crash(init):
    assert init("start").returncode == 0
    pid = init.pid()
    session = int(proc_fields(pid)[3])
    for one in session_pids(session):
        os.kill(one, signal.SIGKILL)
    wait_until(lambda: not session_pids(session))
    assert init("status").returncode == 1
    assert init("start").returncode == 0
    assert init.pid() != pid


def test_init_script_upgrades_in_place(init):
    assert init("start").returncode == 0
    pid = init.pid()
    done = init("upgrade")
    assert done.returncode == 0 and "upgraded" in done.stdout + done.stderr, done
    assert init.pid() == pid and is_alive(pid)
    init.s.config.write_text("[listener web]\nbnd = 1\n")
    done = init("upgrade")
    assert done.returncode == 1 and "did you mean 'bind'" in done.stdout + done.stderr, done
    assert init.pid() == pid and is_alive(pid)


@pytest.mark.parametrize("action", ["start", "stop"])
def test_init_script_finds_workers_that_lost_their_master(init, action):
    assert init("start").returncode == 0
    pid = init.pid()
    session = int(proc_fields(pid)[3])
    os.kill(pid, signal.SIGKILL)
    wait_gone(pid)
    workers = session_pids(session)
    assert len(workers) == 2
    assert init(action).returncode == 0
    wait_until(lambda: not any(is_alive(worker) for worker in workers), 10, "them to end")
    if action == "start":
        assert init.pid() != pid and init("status").returncode == 0


@pytest.mark.parametrize("action, status", [("nonsense", 2), ("", 2)])
def test_init_script_usage(init, action, status):
    assert init(action).returncode == status


def test_init_script_has_the_headers_lsb_wants():
    text = pathlib.Path(INIT).read_text()
    for key in ("Provides", "Required-Start", "Required-Stop", "Default-Start", "Default-Stop",
                "Short-Description"):
        assert re.search(rf"^# {key}:", text, re.M)
    assert os.access(INIT, os.X_OK)
