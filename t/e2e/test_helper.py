"""`rpd: helper`, the process: there while there is a backend, restarted, never left behind."""

import os
import pathlib
import signal

import pytest

from harness.daemon import plain
from harness.util import (cmdline, fd_count, freeze, is_alive, proc_fields, session_pids,
                          wait_until)

ANSWERS = "[listener web]\nbind = @web@\n\n[route all]\nrespond = 200 hello\n"


def helper_pid(d):
    """Of the process that serves; 0: there is none."""
    return d.stats()["rpd"]["helper_pid"]


def crashes(d):
    return d.stats()["rpd"]["helper_crashes"]


def wait_helper(d, not_=0):
    return wait_until(lambda: (pid := helper_pid(d)) not in (0, not_) and
                      cmdline(pid) == "rpd: helper" and pid)


def test_it_is_there_while_there_is_a_backend(rpd, origin):
    o = origin()
    d = rpd(ANSWERS)
    assert helper_pid(d) == 0 and d.helper_pids() == []
    d.reload(plain(o))
    pid = wait_helper(d)
    assert d.helper_pids() == [pid]
    d.reload(plain(o) + "\n[backend more]\nserver = 127.0.0.1:1\n")
    assert wait_helper(d) == pid
    d.reload(ANSWERS)
    wait_until(lambda: not is_alive(pid) and helper_pid(d) == 0)
    assert d.helper_pids() == [] and crashes(d) == 0


def test_it_holds_little(rpd, origin):
    """No listening socket, no other's channel: its own, epoll, the segment and the three."""
    d = rpd(plain(origin()), workers=3)
    pid = wait_helper(d)
    targets = [os.readlink(fd) for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir()]
    assert sum(t.startswith("socket:") for t in targets) == 1, targets
    assert len(targets) <= 6, targets


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_it_runs_as_the_workers_do(rpd, origin):
    d = rpd(plain(origin()), globals_="user = daemon\ngroup = daemon\n")
    pid = wait_helper(d)

    def uid():
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        return next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1]
    wait_until(lambda: uid() == "1")


def test_one_that_is_killed_is_started_again(rpd, origin):
    d = rpd(plain(origin()))
    pid = wait_helper(d)
    for n in (1, 2, 3):
        os.kill(pid, signal.SIGKILL)
        pid = wait_helper(d, not_=pid)
        assert crashes(d) == n
        assert d.ask().status == 200
    d.wait_log(r"rpd: helper \(pid \d+\) died: killed by signal 9")
    d.wait_log(r"rpd: helper is started again in 100 ms")
    wait_until(lambda: len(d.helper_pids()) == 1)


def test_a_start_does_not_wait_for_it(rpd, origin):
    """Nor does a reload, while it stands still; it takes the latest when it goes on."""
    o = origin()
    d = rpd(plain(o))
    pid = wait_helper(d)
    freeze(pid)
    for n in range(200):
        d.reload(plain(o) + f"\n[route r{n}]\npath = /r{n}\nrespond = 200 {n}\n")
    assert d.ask("/r199").body.strip() == b"199"
    os.kill(pid, signal.SIGCONT)
    d.reload(ANSWERS)
    wait_until(lambda: not is_alive(pid))
    assert crashes(d) == 0


def test_one_that_stands_still_is_killed_at_the_end(rpd, origin):
    d = rpd(plain(origin()))
    pid = wait_helper(d)
    freeze(pid)
    assert d.ctl("stop").returncode == 0
    assert d.wait_exit() == 0
    assert not is_alive(pid)
    assert "does not end: killed" in d.stderr()


@pytest.mark.parametrize("how", ["stop", "quit"])
def test_it_ends_with_the_rest(rpd, origin, how):
    d = rpd(plain(origin()))
    pid = wait_helper(d)
    assert d.ctl(how).returncode == 0
    assert d.wait_exit() == 0
    assert not is_alive(pid) and session_pids(d.pid) == []


def test_it_is_there_until_the_last_connection_has_ended(rpd, origin):
    """Health is looked after while a quitting rpd finishes its work, too."""
    d = rpd(plain(origin()))
    pid = wait_helper(d)
    with d.client() as client:
        assert client.ask().status == 200
        client.send(b"GET / HTTP/1.1\r\nHost: test\r\n")
        d.signal(signal.SIGQUIT)
        d.wait_log("finishing connections")
        os.kill(pid, signal.SIGKILL)
        pid = wait_helper(d, not_=pid)
        client.send(b"\r\n")
        assert client.response().status == 200
    assert d.wait_exit() == 0 and not is_alive(pid)


def test_an_upgrade_replaces_it(rpd, origin):
    d = rpd(plain(origin()))
    for _ in range(3):
        pid = wait_helper(d)
        d.upgrade()
        new = wait_helper(d, not_=pid)
        wait_until(lambda new=new: d.helper_pids() == [new])
        assert (proc_fields(pid) or "X")[0] not in "Z", "reaped"
    assert crashes(d) == 0


def test_an_upgrade_leaves_none_that_stands_still(rpd, origin):
    """Nobody would know of it any more, and it never sees that its channel has ended."""
    d = rpd(plain(origin()))
    pid = wait_helper(d)
    freeze(pid)
    d.upgrade()
    new = wait_helper(d, not_=pid)
    wait_until(lambda: d.helper_pids() == [new])
    assert not is_alive(pid) and crashes(d) == 0


def test_it_ends_with_a_master_that_is_killed(rpd, origin):
    d = rpd(plain(origin()))
    d.expect_status = None
    pid = wait_helper(d)
    os.kill(d.pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid))


def test_it_writes_to_the_log_in_force(rpd, origin, tmp_path):
    d = rpd(plain(origin()), globals_=f"log = {tmp_path}/log\n")
    log = tmp_path / "log"
    pid = wait_helper(d)
    log.rename(tmp_path / "log.1")
    assert d.ctl("reopen").returncode == 0

    def files():
        return [os.readlink(fd) for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir()
                if int(fd.name) > 2]
    wait_until(lambda: str(log) in files() and str(tmp_path / "log.1") not in files())


def test_reloads_leak_nothing(rpd, origin):
    o = origin()
    d = rpd(plain(o))
    pid = wait_helper(d)
    d.reload()
    fds = wait_until(lambda: fd_count(pid))
    for n in range(30):
        d.reload(plain(o) + (f"\n[backend more]\nserver = 127.0.0.1:{n + 1}\n"))
    wait_until(lambda: fd_count(pid) <= fds)
