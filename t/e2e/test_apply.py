"""`rpctl apply`: a configuration goes back unless it is confirmed, or when requests fail."""

import os
import re
import shutil
import signal
import socket
import threading

import pytest

from harness.applies import Running, config_head, generations, other
from harness.client import request_bytes
from harness.daemon import free_port, plain
from harness.origin import canned, upgrade_echo
from harness.util import RPD, patience, pattern, wait_until

ONE = "[listener web]\nbind = @web@\n[route all]\nrespond = 200 one\n"
TWO = ONE.replace("200 one", "200 two")
BAD = canned(b"HTTP/1.1 500 Sorry\r\nContent-Length: 0\r\n\r\n")


def renamed(o):
    """Its server is another one than that of plain()."""
    return plain(o).replace("name=s0", "name=n0")


def body(d, listener="web"):
    return d.ask(listener=listener).body.strip()


def is_settled(d):
    """Nothing is on trial or unconfirmed."""
    return len(config_head(d)) == 2


def wait_rolled_back(d, n=1):
    return d.wait_stats(lambda s: s["rpd"]["rollbacks"] == n
                        and {w["generation"] for w in s["workers"]} == {s["rpd"]["generation"]})


# ---- apply ----

def test_apply_is_for_good_without_confirm(rpd):
    d = rpd(ONE)
    done = d.ctl("apply", other(d, TWO))
    assert done.returncode == 0
    assert done.stdout.startswith("generation 2: routes ~1\n  ~ route all: respond ")
    assert f"not of {d.config}" in done.stdout, "the start's file is another one"
    assert body(d) == b"two"
    assert d.ctl("confirm").returncode == 1
    assert d.ctl("rollback").returncode == 1
    assert d.stats()["rpd"]["reloads"] == 1
    d.reload()
    assert body(d) == b"one", "reload is of the file rpd was started with"


def test_confirmed_in_time_stays(rpd):
    d = rpd(ONE)
    pids = sorted(d.processes())
    path = other(d, TWO)
    done = d.ctl("apply", path, "--confirm", "30s")
    assert done.returncode == 0
    assert re.search(r"unless rpctl confirm comes before, generation 1's configuration is back at "
                     r"\S+T", done.stdout)
    assert body(d) == b"two"
    assert "; unconfirmed: " in config_head(d)[2]
    done = d.ctl("confirm")
    assert done.returncode == 0
    assert "generation 2 stays" in done.stdout and str(d.config) in done.stdout
    assert config_head(d)[1].split(", ")[-1].startswith(f"confirmed by uid {os.getuid()} at ")
    assert is_settled(d)
    assert body(d) == b"two"
    assert d.ctl("confirm").returncode == 1
    assert re.search(rf"warning .*not of {d.config}: copy it there", d.stderr())
    assert sorted(d.processes()) == pids
    assert d.stats()["rpd"]["rollbacks"] == 0


def test_not_confirmed_goes_back_by_itself(rpd):
    d = rpd(ONE)
    pids = sorted(d.processes())
    d.ctl("apply", other(d, TWO + "[listener more]\nbind = @more@\n"), "--confirm", "1s",
          check=True)
    assert body(d, "more") == b"two"
    stats = wait_rolled_back(d)
    assert stats["rpd"]["generation"] == 3, "going back is a swap of its own"
    assert body(d) == b"one"
    wait_until(lambda: is_settled(d))
    head = config_head(d)
    assert head[0] == f"; generation 3, read from {d.config}"
    assert head[1].endswith(f"rolled back from {d.dir}/new.ini: not confirmed within 1s")
    assert re.search(r"notice .*gives way .*not confirmed within 1s", d.stderr())
    assert "more" not in d.stats()["listeners"]
    with pytest.raises(ConnectionRefusedError):
        d.client("more")
    assert sorted(d.processes()) == pids
    assert d.ctl("confirm").returncode == 1
    d.reload(TWO)
    assert body(d) == b"two"


def test_rollback_is_at_once(rpd):
    d = rpd(ONE)
    d.ctl("apply", other(d, TWO), "--confirm", "1h", check=True)
    done = d.ctl("rollback")
    assert done.returncode == 0
    assert "generation 3 has the configuration of generation 1 again" in done.stdout
    assert generations(d) == [3, 3]
    assert body(d) == b"one"
    assert is_settled(d)
    assert d.ctl("rollback").returncode == 1


def test_relative_file_is_from_where_rpctl_runs(rpd):
    d = rpd(ONE)
    other(d, TWO, "rel.ini")
    d.ctl("apply", "--confirm", "1h", "rel.ini", check=True)
    assert body(d) == b"two"
    assert config_head(d)[0].endswith(f"{d.dir}/rel.ini")


def test_refused_file_changes_nothing(rpd, origin):
    d = rpd(ONE)
    for text in ("[listener web]\nbnd = @web@\n", ONE + f"[listener x]\nbind = {origin().addr}\n"):
        done = d.ctl("apply", other(d, text), "--confirm", "1s", "--first-worker", "1s")
        assert done.returncode == 1
        assert done.stderr.strip()
        assert is_settled(d)
    stats = d.stats()
    assert (stats["rpd"]["generation"], stats["rpd"]["reloads_refused"]) == (1, 2)
    assert body(d) == b"one"
    assert d.ctl("confirm").returncode == 1
    d.reload(TWO)
    assert body(d) == b"two"


def test_reload_and_apply_are_refused_while_unconfirmed(rpd):
    d = rpd(ONE)
    path = other(d, TWO)
    d.ctl("apply", path, "--confirm", "1h", check=True)
    for command in (["reload"], ["apply", path], ["apply", path, "--confirm", "1s"]):
        done = d.ctl(*command)
        assert done.returncode == 1
        assert "unconfirmed until" in done.stderr and "rpctl confirm" in done.stderr
    d.signal(signal.SIGHUP)
    d.wait_stats(lambda s: s["rpd"]["reloads_refused"] == 2)
    assert len(re.findall("reload refused: generation 2 .* is unconfirmed", d.stderr())) == 2
    assert body(d) == b"two"
    assert d.ctl("config", "diff", d.config).stdout.startswith(f"{d.config}: routes ~1\n")
    d.ctl("confirm", check=True)
    d.reload()
    assert body(d) == b"one"


@pytest.mark.parametrize("how, state, says", [
    (["--confirm", "1h"], "; unconfirmed", "is unconfirmed until"),
    (["--confirm", "1h", "--first-worker", "1h"], "; on trial", "is tried by worker 0 until"),
])
def test_upgrade_is_refused_until_it_is_settled(rpd, how, state, says):
    d = rpd(ONE)
    path = other(d, TWO)
    call = Running(d, "apply", path, *how)
    wait_until(lambda: config_head(d)[-1].startswith(state))
    pids = d.worker_pids()
    done = d.ctl("upgrade")
    assert done.returncode == 1
    assert says in done.stderr and "rpctl rollback" in done.stderr
    d.signal(signal.SIGUSR2)
    wait_until(lambda: len(re.findall("upgrade refused: generation 2 .*" + says, d.stderr())) == 2)
    assert d.worker_pids() == pids and d.stats()["rpd"]["upgrades"] == 0
    d.ctl("rollback", check=True)
    call.end()
    done = d.ctl("upgrade")
    assert done.returncode == 0, done
    assert ": upgrade from rpd " in config_head(d)[1] and is_settled(d)
    assert body(d) == b"one"


def test_nothing_is_applied_while_an_upgrade_is_tried(rpd, tmp_path):
    program = tmp_path / "rpd"
    shutil.copy(RPD, program)
    d = rpd(ONE, program=program)
    path = other(d, TWO)
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 1000\n")
    slow.chmod(0o755)
    slow.rename(program)
    call = Running(d, "upgrade")
    d.wait_log("upgrade: trying")
    for command in (["apply", path], ["confirm"], ["rollback"], ["config", "diff", path]):
        done = d.ctl(*command)
        assert done.returncode == 1 and "an upgrade is being tried" in done.stderr
    assert body(d) == b"one" and is_settled(d)
    for pid in set(d.children()) - set(d.worker_pids()):
        os.kill(pid, signal.SIGKILL)
    assert call.end()[0] == 1
    assert config_head(d)[1].endswith(": start"), "as before"
    d.ctl("apply", path, check=True)
    assert body(d) == b"two"


def test_stop_while_unconfirmed_just_stops(rpd):
    d = rpd(ONE)
    d.ctl("apply", other(d, TWO), "--confirm", "1h", check=True)
    assert d.ctl("stop").returncode == 0
    assert d.wait_exit() == 0


def test_going_back_waits_for_an_address_that_was_taken(rpd):
    """The old one's address is somebody else's meanwhile: tried again until it is free."""
    port = free_port()
    d = rpd(ONE + f"[listener more]\nbind = 127.0.0.1:{port}\n")
    d.ctl("apply", other(d, TWO), "--confirm", "2s", check=True)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

        def can_bind():
            try:
                taken.bind(("127.0.0.1", port))
            except OSError:
                return False
            return True
        wait_until(can_bind)
        taken.listen()
        d.wait_log("tried again each second")
        assert body(d) == b"two"
        assert "being rolled back" in config_head(d)[2]
    wait_rolled_back(d)
    assert body(d) == b"one"


# ---- --abort-if ----

def test_errors_bring_the_old_one_back_at_once(rpd, origin):
    good, bad = origin(), origin(BAD)
    d = rpd(plain(good))
    d.ctl("apply", other(d, renamed(bad)), "--confirm", "1h", "--abort-if", "errors>1%", check=True)
    assert "or at once if errors>1%" in config_head(d)[2]
    for _ in range(25):
        assert d.ask().status == 500
    wait_rolled_back(d)
    assert d.ask().status == 200
    wait_until(lambda: is_settled(d))
    assert re.search(r"rolled back from \S+: errors>1%: 25 requests, 25 failed \(100\.0 %\)",
                     config_head(d)[1])
    assert re.search(r"notice .*gives way .*errors>1%: 25 requests", d.stderr())
    assert d.stats()["routes"]["all"]["status_5xx"] == 25


def test_requests_that_broke_off_are_errors(rpd, origin):
    short = origin(canned(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345", then_close=True))
    d = rpd(plain(origin()))
    d.ctl("apply", other(d, renamed(short)), "--confirm", "1h", "--abort-if", "errors>50%",
          check=True)
    for _ in range(21):
        with d.client() as client:
            client.send(request_bytes())
            client.until_eof()
    wait_rolled_back(d)


def test_a_good_one_is_not_aborted(rpd, origin):
    d = rpd(plain(origin(BAD)))
    for _ in range(25):  # errors of before do not count
        assert d.ask().status == 500
    d.ctl("apply", other(d, renamed(origin())), "--confirm", "3s", "--abort-if", "errors>1%",
          check=True)
    for _ in range(40):
        assert d.ask().status == 200
    wait_rolled_back(d)
    assert config_head(d)[1].endswith("not confirmed within 3s")


def test_few_errors_are_not_judged(rpd, origin):
    d = rpd(plain(origin()))
    d.ctl("apply", other(d, renamed(origin(BAD))), "--confirm", "3s", "--abort-if", "errors>1%",
          check=True)
    for _ in range(19):
        assert d.ask().status == 500
    wait_rolled_back(d)
    assert config_head(d)[1].endswith("not confirmed within 3s")


# ---- --first-worker ----

def test_first_worker_good_goes_to_all(rpd, origin):
    old, new = origin(), origin()
    d = rpd(plain(old))
    call = Running(d, "apply", other(d, renamed(new)), "--first-worker", "2s", "--confirm", "1h")
    wait_until(lambda: generations(d) == [2, 1])
    assert "on trial: worker 0 alone has it" in config_head(d)[2]
    while not call.is_over():
        assert d.ask().status == 200
    status, out = call.end()
    assert status == 0, out
    assert re.search(r"worker 0 had \d+ requests, 0 failed \(0\.0 %\); the others \d+ req", out)
    assert "unconfirmed: " in out
    assert new.requests and old.requests
    assert generations(d) == [2, 2]
    seen = len(old.requests)
    for _ in range(20):
        assert d.ask().status == 200
    assert len(old.requests) == seen, "nobody is at the old one any more"
    d.ctl("confirm", check=True)


def test_first_worker_bad_gets_the_old_one_back(rpd, origin):
    good, bad = origin(), origin(BAD)
    d = rpd(plain(good))
    pids = sorted(d.processes())
    call = Running(d, "apply", other(d, renamed(bad)), "--first-worker", "1m", "--confirm", "1h")
    wait_until(lambda: generations(d) == [2, 1])
    statuses = []
    while not call.is_over():
        statuses.append(d.ask().status)
    status, out = call.end()
    assert status == 1
    assert re.search(r"more errors than with the old configuration: worker 0 had (\d+) requests, "
                     r"\1 failed \(100\.0 %\); the others \d+ requests, 0 failed", out), out
    assert generations(d) == [3, 3]
    for _ in range(20):
        assert d.ask().status == 200
    assert statuses.count(500) == len(bad.requests), "only worker 0's"
    assert statuses.count(200) > 0
    assert sorted(d.processes()) == pids
    assert is_settled(d)
    assert d.stats()["rpd"]["rollbacks"] == 1


def test_errors_of_both_are_not_the_new_ones_fault(rpd, origin):
    d = rpd(plain(origin(BAD)))
    call = Running(d, "apply", other(d, renamed(origin(BAD))), "--first-worker", "2s")
    while not call.is_over():
        d.ask()
    status, out = call.end()
    assert status == 0, out
    assert d.stats()["rpd"]["generation"] == 2


def test_first_worker_passes_the_bound(rpd, origin):
    """The absolute bound holds for it too, where the others are no better."""
    d = rpd(plain(origin(BAD)))
    call = Running(d, "apply", other(d, renamed(origin(BAD))), "--first-worker", "1m",
                   "--abort-if", "errors>5%")
    while not call.is_over():
        d.ask()
    status, out = call.end()
    assert status == 1
    assert "too many errors: worker 0 had" in out


def test_one_worker_has_nobody_to_compare_with(rpd, origin):
    good, bad = origin(), origin(BAD)
    d = rpd(plain(good), workers=1)
    path = other(d, renamed(bad))
    done = d.ctl("apply", path, "--first-worker", "1h", "--confirm", "1h")
    assert done.returncode == 0
    assert "there is no other worker to compare with" in done.stdout
    d.ctl("rollback", check=True)
    call = Running(d, "apply", path, "--first-worker", "1m", "--abort-if", "errors>1%")
    wait_until(lambda: generations(d) == [4])
    while not call.is_over():
        d.ask()
    status, out = call.end()
    assert status == 1
    assert "too many errors: worker 0 had" in out
    assert d.ask().status == 200


@pytest.mark.parametrize("index", [0, 1])
def test_successor_of_a_crashed_worker_gets_what_its_index_should_have(rpd, index):
    d = rpd(ONE + "[listener old]\nbind = @old@\n")
    path = other(d, TWO + "[listener new]\nbind = @new@\n")
    call = Running(d, "apply", path, "--first-worker", "1m")
    wait_until(lambda: generations(d) == [2, 1])
    pid = d.worker_pids()[index]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: pid not in d.worker_pids() and generations(d) == [2, 1])
    for _ in range(20):
        assert body(d) in (b"one", b"two")
        assert body(d, "new") == b"two", "worker 0 accepts for all"
        assert body(d, "old") == b"one", "the other one too"
    d.ctl("rollback", check=True)
    status, out = call.end()
    assert status == 1
    assert "rpctl rollback by uid" in out
    assert generations(d) == [3, 3]
    for _ in range(20):
        assert body(d) == body(d, "old") == b"one"


def test_worker_that_dies_again_and_again_ends_the_trial(rpd):
    d = rpd(ONE)
    call = Running(d, "apply", other(d, TWO), "--first-worker", "1m")
    for _ in range(2):
        wait_until(lambda: generations(d) == [2, 1])
        pid = d.worker_pids()[0]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: call.is_over() or (d.worker_pids() and pid not in d.worker_pids()))
    status, out = call.end()
    assert status == 1
    assert "worker 0 died more than once" in out
    wait_until(lambda: generations(d) == [3, 3])


def test_addresses_answer_throughout_a_trial(rpd):
    """Those that appear, and those that go: nobody waits in the queue of a worker that does not
    know them."""
    d = rpd(ONE + "[listener old]\nbind = @old@\n", workers=3)
    call = Running(d, "apply", other(d, TWO + "[listener new]\nbind = @new@\n"),
                   "--first-worker", "1s")
    wait_until(lambda: generations(d) == [2, 1, 1])
    for _ in range(30):
        assert body(d, "new") == b"two"
        assert body(d, "old") == b"one"
    assert call.end()[0] == 0
    for _ in range(30):
        assert body(d) == body(d, "new") == b"two"
    wait_until(lambda: "old" not in d.stats()["listeners"])
    with pytest.raises(ConnectionRefusedError):
        d.client("old")


@pytest.mark.parametrize("now, then", [(2, 4), (3, 1)])
def test_number_of_workers_changes_after_the_trial(rpd, now, then):
    d = rpd(ONE, workers=now)
    d.workers_wanted = then
    call = Running(d, "apply", other(d, TWO), "--first-worker", "1s")
    wait_until(lambda: generations(d) == [2] + [1] * (now - 1))
    for _ in range(30):
        assert body(d) in (b"one", b"two")
    assert call.end()[0] == 0
    wait_until(lambda: generations(d) == [2] * then)
    for _ in range(40):
        assert body(d) == b"two"


def test_weights_of_a_trial_are_in_force_after_it(rpd, origin):
    """They lie where every worker sees them."""
    text = plain(origin(), options="weight=7")
    d = rpd(text)
    path = other(d, text.replace("weight=7", "weight=9"))
    def weight():
        return d.stats()["backends"]["pool"]["servers"]["s0"]["weight"]
    call = Running(d, "apply", path, "--first-worker", "1m")
    wait_until(lambda: generations(d) == [2, 1])
    assert weight() == 7
    d.ctl("rollback", check=True)
    assert call.end()[0] == 1
    assert weight() == 7
    d.ctl("apply", path, "--first-worker", "1s", check=True)
    assert weight() == 9


def test_confirm_and_reload_have_to_wait_for_the_trial(rpd):
    d = rpd(ONE)
    call = Running(d, "apply", other(d, TWO), "--first-worker", "1m", "--confirm", "1h")
    wait_until(lambda: generations(d) == [2, 1])
    for command in ("confirm", "reload"):
        done = d.ctl(command)
        assert done.returncode == 1
        assert "is tried by worker 0 until" in done.stderr
    call.proc.terminate()  # nobody waits for the verdict any more: it goes on
    call.end()
    assert generations(d) == [2, 1]
    d.ctl("rollback", check=True)
    assert generations(d) == [3, 3]


def test_stop_in_a_trial(rpd):
    d = rpd(ONE)
    call = Running(d, "apply", other(d, TWO), "--first-worker", "1m")
    wait_until(lambda: generations(d) == [2, 1])
    d.ctl("quit", check=True)
    assert call.end() == (1, "rpd is stopping\n")


# ---- connections ----

def test_connections_survive_swaps_and_going_back(rpd, origin):
    ws = origin(upgrade_echo)
    gate = threading.Event()

    def slow(conn):
        conn.request()
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n")
        data = pattern(200000)
        conn.send(data[:100000])
        gate.wait(patience(30))
        conn.send(data[100000:])
    text = plain(ws) + f"""
[route slow]
path = /slow
backend = slow
[backend slow]
server = {origin(slow).addr}
"""
    d = rpd(text)
    pids = sorted(d.processes())
    new = other(d, text + "[route extra]\npath = /extra\nrespond = 200 x\n")
    clients = [(d.client(), d.client(), d.client()) for _ in range(4)]
    for kept, tunnel, download in clients:
        assert kept.ask().status == 200
        tunnel.send(request_bytes(headers=[("Connection", "upgrade"), ("Upgrade", "x")]))
        assert tunnel.response_head().status == 101
        download.send(request_bytes(target="/slow"))

    def live():
        for kept, tunnel, _ in clients:
            assert kept.ask("/status/204").status == 204
            tunnel.send(b"hello")
            assert tunnel.exact(5) == b"hello"
    d.ctl("apply", new, "--confirm", "1h", check=True)
    live()
    d.ctl("rollback", check=True)
    live()
    d.ctl("apply", new, "--first-worker", "1s", "--confirm", "1s", check=True)
    live()
    wait_rolled_back(d, 2)
    live()
    call = Running(d, "apply", new, "--first-worker", "1m")
    wait_until(lambda: generations(d) == [6, 5])
    live()
    d.ctl("rollback", check=True)
    call.end()
    live()
    gate.set()
    for kept, tunnel, download in clients:
        assert download.response().body == pattern(200000)
        for client in (kept, tunnel, download):
            client.close()
    assert sorted(d.processes()) == pids
    assert d.stats()["listeners"]["web"]["connections_total"] == 12


def test_traffic_under_applies_loses_no_request(rpd, origin):
    d = rpd(plain(origin()))
    path = other(d, renamed(origin()))
    stop, failed = threading.Event(), []

    def run():
        try:
            while not stop.is_set():
                with d.client() as client:
                    for _ in range(5):
                        assert client.ask().status == 200
        except Exception as error:
            failed.append(error)
    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            d.ctl("apply", path, "--confirm", "1h", "--abort-if", "errors>0%", check=True)
            d.ctl("rollback", check=True)
        d.ctl("apply", path, "--first-worker", "1s", "--abort-if", "errors>0%", check=True)
    finally:
        stop.set()
        for thread in threads:
            thread.join(patience(20))
    assert not failed


# ---- usage ----

@pytest.mark.parametrize("args, why", [
    (["apply"], "which file"),
    (["apply", "a", "b"], "one file"),
    (["apply", "a", "--confirm"], "needs a value"),
    (["apply", "a", "--confirm", "2"], "did you mean 2s or 2ms"),
    (["apply", "a", "--confirm", "soon"], "no duration"),
    (["apply", "a", "--confirm", "1ms"], "between 1s and 7d"),
    (["apply", "a", "--confirm", "1m", "--abort-if", "errors>1"], "did you mean 'errors>1%'"),
    (["apply", "a", "--confirm", "1m", "--abort-if", "latency>1s"], "did you mean 'errors>1%'"),
    (["apply", "a", "--abort-if", "errors>1%"], "needs --confirm or --first-worker"),
    (["apply", "a", "--commit", "1m"], "no option --commit"),
    (["config", "diff"], "diff FILE"), (["config", "dif", "a"], "diff FILE"),
    (["config", "diff", "a", "b"], "diff FILE"), (["confirm", "x"], "no arguments"),
    (["rollback", "x"], "no arguments"),
])
def test_wrong_usage(site, args, why):
    done = site().ctl(*args)
    assert done.returncode == 2, done
    assert why in done.stderr


@pytest.mark.parametrize("args", [["apply", "a"], ["confirm"], ["rollback"],
                                  ["config", "diff", "a"]])
def test_no_daemon_is_3(site, args):
    assert site().ctl(*args).returncode == 3


@pytest.mark.parametrize("line", [
    b"apply\n", b"apply\trel.ini\n", b"apply\t/a\t--confirm\n", b"apply\t/a\t--confirm\t1\n",
    b"apply\t/a\t--abort-if\terrors>1%\n", b"apply\t" + b"x\t" * 40 + b"\n", b"config\tdiff\n",
    b"config\tdiff\trel.ini\n", b"config\tx\n", b"confirm\tx\n", b"apply\t\t\t\n",
])
def test_nonsense_on_the_control_socket_is_refused(rpd, line):
    d = rpd(ONE)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(patience(10))
        sock.connect(str(d.run_dir / "rpd.sock"))
        sock.sendall(line)
        said = b""
        while more := sock.recv(4096):
            said += more
    assert said.startswith(b"refused\n") and said.endswith(b"\n")
    assert body(d) == b"one"


def test_going_back_does_not_wait_for_the_reader(rpd):
    """A file that cannot be read for now holds up nobody; its turn comes again."""
    d = rpd(ONE)
    fifo = d.dir / "fifo"
    os.mkfifo(fifo)
    d.ctl("apply", other(d, TWO), "--confirm", "2s", check=True)
    call = Running(d, "config", "diff", fifo)
    wait_until(lambda: len(d.children()) == 3)
    wait_rolled_back(d)
    assert body(d) == b"one"
    assert not call.is_over()
    fifo.write_text(d.config.read_text())
    assert call.end() == (0, "nothing changes\n")
