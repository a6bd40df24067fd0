"""Canaries: who goes where, what is made of the evidence, what an operator may ask for, and that
all of it outlives reloads, workers, the helper and upgrades."""

import json
import os
import pathlib
import re
import shutil
import signal
import tempfile
import threading

import pytest

from harness.moods import Moody, origin_of
from harness.util import wait_until

QUICK = "steps = 20%, 60%, 100%\nstep_time = 200ms\nmin_requests = 20\nsticky = off"
LONG = "steps = 20%, 60%, 100%\nstep_time = 1h\nmin_requests = 20"


def release(stable, canary, options=QUICK, listener="", route=""):
    return (f"[listener web]\nbind = @web@\n{listener}\n[route all]\ncanary = release\n{route}\n"
            f"[canary release]\nstable = old\ncanary = new\n{options}\n"
            f"[backend old]\nserver = {stable.addr}\n"
            f"[backend new]\nserver = {canary.addr}\neject_after = 0\neject_outliers = off\n")


def canary_of(d):
    return d.stats()["canaries"]["release"]


def ask_until(d, state):
    """Requests, until the canary is in that state."""
    with d.client() as client:
        def is_there():
            for _ in range(20):
                client.ask()
            return canary_of(d)["state"] == state
        wait_until(is_there, 20, f"state {state}, not {canary_of(d)}")
    return canary_of(d)


def command(d, *words, status=0):
    done = d.ctl("canary", "release", *words)
    assert done.returncode == status, done
    return done.stdout or done.stderr


def sides(d, n=40):
    with d.client() as client:
        return {origin_of(client.ask()) for _ in range(n)}


def events(d):
    """Of all that is remembered, the oldest first."""
    shown = json.loads(d.ctl("-o", "json", "canary", "release", check=True).stdout)
    return [(c["event"], c["weight"]) for c in reversed(shown["history"])]


# ---- the judgement ----

def test_a_good_one_is_promoted_step_by_step(rpd, origin):
    old, new = origin(), origin()
    d = rpd(release(old, new))
    shown = ask_until(d, "promoted")
    assert shown["weight"] == 100 and shown["step"] == 3 and shown["changes"] == 4
    assert events(d) == [("start", 20), ("step", 60), ("step", 100), ("promote", 100)]
    assert sides(d) == {new.name}
    assert shown["canary"]["errors_total"] == shown["stable"]["errors_total"] == 0
    assert shown["canary"]["requests_total"] >= 60
    d.wait_log(r"canary release: step, 60% \(was 20%\): good: 0\.00% errors \(0 of \d+\), stable "
               r"0\.00% \(0 of \d+\)")
    d.wait_log(r"canary release: promote, 100%: good: ")


def test_a_bad_one_is_rolled_back(rpd, origin):
    old, new = origin(), origin(Moody(500))
    d = rpd(release(old, new, LONG + "\nsticky = off"))
    asked = []
    with d.client() as client:
        def has_evidence():
            asked.extend(client.ask().status for _ in range(10))
            return asked.count(500) >= 20
        wait_until(has_evidence)
    shown = d.wait_stats(lambda s: s["canaries"]["release"]["state"] == "rolled-back", timeout=2)
    shown = shown["canaries"]["release"]
    assert shown["weight"] == 0 and shown["step"] == 0
    assert re.match(r"bad: 100\.00% errors \((\d+) of \1\), stable 0\.00% \(0 of \d+\): p = \S+$",
                    shown["verdict"]), shown
    assert shown["canary"]["errors"] == shown["canary"]["requests"] >= 20
    assert events(d) == [("start", 20), ("rollback", 0)]
    assert sides(d) == {old.name}
    d.wait_log(r"canary release: rollback, 0% \(was 20%\): bad: 100\.00% errors")


def test_one_that_nobody_answers_is_rolled_back(rpd, origin):
    old, new = origin(), origin()
    new.close()
    d = rpd(release(old, new, LONG + "\nsticky = off", route="retries = 0"))
    shown = ask_until(d, "rolled-back")
    assert shown["canary"]["errors"] == shown["canary"]["requests"]
    assert sides(d) == {old.name}


def test_errors_that_both_have_are_no_evidence(rpd, origin):
    d = rpd(release(origin(Moody(503)), origin(Moody(503)), route="retries = 0"))
    assert ask_until(d, "promoted")["canary"]["errors_total"] > 0


def test_a_slow_one_is_rolled_back(rpd, origin):
    def slow(conn):
        while True:
            conn.request()
            threading.Event().wait(0.02)
            conn.reply("late")
    old, new = origin(), origin(slow)
    d = rpd(release(old, new, LONG + "\nsticky = off\nmax_p99 = 10ms"))
    shown = ask_until(d, "rolled-back")
    assert re.match(r"bad: \S+% of \d+ took over 10ms: p = ", shown["verdict"]), shown
    assert shown["canary"]["p99"] > 0.015 and shown["canary"]["errors"] == 0


def test_one_that_gets_no_requests_waits(rpd, origin):
    d = rpd(release(origin(), origin(), QUICK.replace("200ms", "1ms")))
    d.wait_stats(lambda s: s["canaries"]["release"]["verdict"]
                 == "too few requests of the canary yet: 0 of 20")
    assert canary_of(d)["state"] == "running" and canary_of(d)["changes"] == 1


def test_at_all_of_the_clients_it_is_held_against_the_steps_before(rpd, origin):
    """Nobody is on the stable backend any more that it could be compared with."""
    mood = Moody()
    d = rpd(release(origin(), origin(mood), QUICK.replace("200ms", "1h")))
    command(d, "weight", "50")
    with d.client() as client:
        for _ in range(60):
            client.ask()
    command(d, "weight", "100%")
    mood.mood = 500
    assert re.match(r"bad: .*, stable 0\.00% \(0 of [2-4]\d\)",
                    ask_until(d, "rolled-back")["verdict"])


# ---- who goes where ----

def test_clients_only_move_to_the_canary_and_all_back(rpd, origin):
    old, new = origin(), origin()
    d = rpd(release(old, new, LONG))
    clients = {}
    for _ in range(60):
        res = d.ask()
        cookie = re.fullmatch(r"(rpd_canary=[0-9a-f]{16}); Path=/; HttpOnly; SameSite=Lax",
                              res.get("Set-Cookie"))[1]
        clients[cookie] = origin_of(res)
    assert set(clients.values()) == {old.name, new.name}
    for weight in ("40", "60", "97.5%", "100"):
        command(d, "weight", weight)
        for cookie, before in clients.items():
            res = d.ask(headers=[("Cookie", cookie)])
            assert not res.all("Set-Cookie")
            assert before == old.name or origin_of(res) == new.name
            clients[cookie] = origin_of(res)
    assert set(clients.values()) == {new.name}
    command(d, "rollback")
    assert {origin_of(d.ask(headers=[("Cookie", c)])) for c in clients} == {old.name}


def test_a_client_stays_by_its_address(rpd, origin):
    old, new = origin(), origin()
    d = rpd(release(old, new, LONG + "\nsticky = source",
                    listener="trusted_proxies = 127.0.0.0/8"))
    command(d, "weight", "50")
    seen = set()
    for i in range(24):
        got = {origin_of(d.ask(headers=[("X-Forwarded-For", f"10.0.0.{i}")])) for _ in range(4)}
        assert len(got) == 1
        seen |= got
    assert seen == {old.name, new.name}


def test_shares_are_those_of_the_weight(rpd, origin):
    old, new = origin(), origin()
    d = rpd(release(old, new, LONG + "\nsticky = off"), workers=1)
    with d.client() as client:
        got = [origin_of(client.ask()) for _ in range(200)]
    assert abs(got.count(new.name) - 40) <= 3


def test_testers_go_to_the_canary_always(rpd, origin):
    old, new = origin(), origin()
    d = rpd(release(old, new, LONG + "\nstart = manual\nmatch_header = X-Canary: yes\n"
                    "match_cookie = tester"))
    yes = [("X-Canary", "yes")]
    for verb in ((), ("start",), ("rollback",)):
        if verb:
            command(d, *verb)
        assert origin_of(d.ask(headers=yes)) == new.name
        assert origin_of(d.ask(headers=[("Cookie", "a=b; tester=1")])) == new.name
        assert not d.ask(headers=yes).all("Set-Cookie")
    assert origin_of(d.ask(headers=[("X-Canary", "no")])) == old.name
    shown = d.wait_stats(lambda s: s["canaries"]["release"]["testers_total"] == 9)
    shown = shown["canaries"]["release"]
    assert shown["canary"]["requests_total"] == 0 and shown["stable"]["requests_total"] == 1


def test_sessions_have_canaries_too(rpd, origin):
    def banner(conn):
        conn.send(conn.origin.name.encode() + b"\r\n")
        conn.wait_end()
    old, new = origin(banner), origin(banner)
    d = rpd(release(old, new, LONG + "\nsticky = off", listener="mode = tcp",
                    route="listener = web"), workers=1)

    def ask():
        with d.client() as client:
            return client.line().decode()
    got = [ask() for _ in range(40)]
    assert abs(got.count(new.name) - 8) <= 2
    shown = d.wait_stats(lambda s: s["canaries"]["release"]["canary"]["requests_total"]
                         + s["canaries"]["release"]["stable"]["requests_total"] == 40)
    assert shown["canaries"]["release"]["canary"]["requests_total"] == got.count(new.name)
    d.reload(release(old, new, LONG, listener="mode = tcp", route="listener = web"))
    assert len({ask() for _ in range(8)}) == 1  # a cookie is an address to them


# ---- what an operator asks for ----

def test_a_manual_start_waits_for_it(rpd, origin):
    old, new = origin(), origin()
    d = rpd(release(old, new, QUICK + "\nstart = manual"))
    assert sides(d) == {old.name} and canary_of(d)["state"] == "waiting"
    assert "waiting: `rpctl canary release start` begins it" in command(d)
    assert command(d, "pause", status=1) == "release is waiting: there is nothing to pause\n"
    assert command(d, "start") == "release: running at 20% (was waiting at 0%)\n"
    ask_until(d, "promoted")


def test_it_is_paused_and_goes_on(rpd, origin):
    d = rpd(release(origin(), origin()))
    assert command(d, "pause") == "release: paused at 20% (was running at 20%)\n"
    assert command(d, "pause") == "release: paused already, at 20%\n"
    with d.client() as client:
        for _ in range(200):
            client.ask()
    d.wait_stats(lambda s: s["canaries"]["release"]["verdict"].startswith("good: ")
                 and s["canaries"]["release"]["canary"]["requests"] >= 36)
    assert canary_of(d)["state"] == "paused" and canary_of(d)["weight"] == 20
    assert command(d, "start", status=1) == "release is paused: `resume` goes on\n"
    assert command(d, "resume") == "release: running at 20% (was paused at 20%)\n"
    ask_until(d, "promoted")


def test_a_paused_one_is_still_rolled_back(rpd, origin):
    d = rpd(release(origin(), origin(Moody(502)), route="retries = 0"))
    command(d, "weight", "90")
    ask_until(d, "rolled-back")
    assert events(d) == [("start", 20), ("weight", 90), ("rollback", 0)]


def test_weight_promote_rollback_and_start_again(rpd, origin):
    old, new = origin(), origin()
    d = rpd(release(old, new, LONG + "\nsticky = off"))
    assert command(d, "weight", "30.5%") == "release: paused at 30.5% (was running at 20%)\n"
    assert canary_of(d)["step"] == 1
    assert command(d, "promote") == "release: promoted at 100% (was paused at 30.5%)\n"
    assert sides(d) == {new.name}
    assert "take" in command(d, "start", status=1)
    assert command(d, "rollback") == "release: rolled-back at 0% (was promoted at 100%)\n"
    assert sides(d) == {old.name}
    assert command(d, "rollback") == "release: rolled-back already, at 0%\n"
    assert command(d, "start") == "release: running at 20% (was rolled-back at 0%)\n"
    assert sides(d) == {old.name, new.name}
    d.wait_log(rf"canary release: rollback, 0% \(was 100%\): asked for, by uid {os.getuid()}\b")


def test_what_goes_on_above_a_step_goes_to_the_next(rpd, origin):
    d = rpd(release(origin(), origin()))
    command(d, "weight", "70")
    assert command(d, "resume") == "release: running at 70% (was paused at 70%)\n"
    ask_until(d, "promoted")
    assert events(d)[-2:] == [("step", 100), ("promote", 100)]


def test_mistakes_are_told(rpd, origin):
    d = rpd(release(origin(), origin()))
    done = d.ctl("canary", "releas", "pause")
    assert done.returncode == 1
    assert done.stderr == "there is no canary 'releas' (did you mean 'release'?)\n"
    assert d.ctl("canary", "releas").returncode == 1
    assert command(d, "paus", status=1) == ("'paus' is none of start, pause, resume, promote, "
                                            "rollback, weight (did you mean 'pause'?)\n")
    assert command(d, "weight", "101", status=1) == "weight: '101' is no share from 0 to 100 %\n"
    assert command(d, "weight", "x", status=1) == "weight: 'x' is no share from 0 to 100 %\n"
    assert d.ctl("canary", "release", "pause", "now").returncode == 2
    assert d.ctl("canary", "release", "weight").returncode == 2
    assert canary_of(d)["changes"] == 1


def test_its_status_is_a_picture(rpd, origin):
    d = rpd(release(origin(), origin(), LONG))
    text = command(d, "status")
    assert re.match(r"release running, step 1 of 3: 20% of the clients since \d\d:\d\d:\d\d, \d+s "
                    r"of 1h00m\n#{8}\.{32}  20%, 60%, 100%\n\nside +backend +requests +errors "
                    r"+share +p99\nstable +old +0 +0 +- +-\ncanary +new +0 +0 +- +-\n\n",
                    text), text
    assert re.search(r"\nat +event +weight +why\n\d\d:\d\d:\d\d +start +20% +configured\n$",
                     text), text
    assert d.ctl("canary").stdout.startswith("release running, step 1 of 3")
    shown = json.loads(d.ctl("-o", "json", "canary").stdout)
    assert [c["name"] for c in shown] == ["release"]
    assert {"state", "step", "weight", "since", "verdict", "stable", "canary", "history"} \
        <= set(shown[0])


def test_statistics_have_it_in_every_form(rpd, origin):
    d = rpd(release(origin(), origin(), LONG))
    shown = canary_of(d)
    for side in ("stable", "canary"):
        assert {"requests", "errors", "p99", "requests_total", "latency"} <= set(shown[side])
    assert not {"plan", "begun", "announced", "history"} & set(shown)
    lines = d.ctl("-o", "prometheus", "stats", "canaries").stdout.splitlines()
    assert 'rpd_canary_weight_ratio{canary="release"} 0.2000' in lines
    assert 'rpd_canary_state{canary="release",state="running"} 1' in lines
    assert 'rpd_canary_side_requests_total{canary="release",canary_side="stable"} 0' in lines
    assert not [line for line in lines
                if "verdict" in line or "change" in line and "rpd_canary_changes" not in line]
    assert re.search(r"\nrelease +running +1 ", d.ctl("stats", "canaries").stdout)
    assert ",release,running," in d.ctl("-o", "csv", "stats", "canaries").stdout


# ---- what it outlives ----

def test_it_goes_on_through_a_reload_a_crash_and_an_upgrade(rpd, origin):
    old, new = origin(), origin()
    d = rpd(release(old, new, LONG + "\nsticky = off"))
    command(d, "weight", "60")
    with d.client() as client:
        for _ in range(100):
            client.ask()
    before = d.wait_stats(lambda s: s["canaries"]["release"]["canary"]["requests"] >= 57)
    before = before["canaries"]["release"]
    d.reload(release(old, new, LONG + "\nsticky = off\nmax_error_rate = 2%"))
    for pid in d.worker_pids() + d.helper_pids():
        os.kill(pid, signal.SIGKILL)
    d.wait_stats(lambda s: s["rpd"]["worker_crashes"] == 2 and s["rpd"]["helper_crashes"] == 1
                 and all(w["state"] == "running" for w in s["workers"]))
    d.may_complain = True
    d.upgrade()
    d.wait_log("the workers of before have all ended")
    after = canary_of(d)
    for field in ("state", "step", "weight", "since", "changes"):
        assert after[field] == before[field], field
    assert sides(d) == {old.name, new.name}
    d.wait_stats(lambda s: sum(s["canaries"]["release"][side]["requests"]
                               for side in ("stable", "canary")) == 140)
    assert events(d) == [("start", 20), ("weight", 60)]


def test_it_is_promoted_through_all_of_that(rpd, origin):
    old, new = origin(), origin()
    d = rpd(release(old, new))
    ask_until_step(d, 1)
    d.reload(release(old, new, QUICK, route="retries = 2"))
    os.kill(d.worker_pids()[0], signal.SIGKILL)
    d.wait_stats(lambda s: s["rpd"]["worker_crashes"] == 1
                 and all(w["state"] == "running" for w in s["workers"]))
    ask_until_step(d, 2)
    os.kill(d.helper_pids()[0], signal.SIGKILL)
    d.wait_stats(lambda s: s["rpd"]["helper_crashes"] == 1)
    d.upgrade()
    d.wait_log("the workers of before have all ended")
    assert ask_until(d, "promoted")["canary"]["errors_total"] == 0
    assert events(d) == [("start", 20), ("step", 60), ("step", 100), ("promote", 100)]


def ask_until_step(d, step):
    with d.client() as client:
        def is_there():
            for _ in range(10):
                client.ask()
            return canary_of(d)["step"] >= step
        wait_until(is_there, 20)


def test_workers_of_before_an_upgrade_follow(rpd, origin):
    old, new = origin(), origin()
    d = rpd(release(old, new, LONG + "\nsticky = off"), workers=1)
    with d.client() as client:
        client.ask()
        d.upgrade()
        command(d, "rollback")
        assert {origin_of(client.ask())} == {old.name}


def test_another_plan_begins_anew(rpd, origin):
    old, new = origin(), origin()
    d = rpd(release(old, new, LONG))
    command(d, "promote")
    d.reload(release(old, new, LONG.replace("1h", "2h")))
    assert canary_of(d)["state"] == "promoted" and canary_of(d)["step_time"] == 7200
    d.reload(release(old, new, LONG.replace("20%", "10%")))
    shown = canary_of(d)
    assert (shown["state"], shown["weight"], shown["changes"]) == ("running", 10, 3)
    command(d, "promote")
    d.reload(f"[listener web]\nbind = @web@\ndefault_backend = b\n[backend b]\nserver = {old.addr}")
    assert d.stats()["canaries"] == {}
    d.reload(release(old, new, LONG.replace("20%", "10%")))
    assert canary_of(d)["state"] == "running", "it is another one of that name"


# ---- on_change ----

@pytest.fixture
def program():
    """A program that notes how it was run, a line for each time, and may be run by anybody."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="rpd-on-change-"))
    directory.chmod(0o755)
    log = directory / "log"
    log.touch()
    log.chmod(0o666)

    def make(more=""):
        script = directory / "program"
        script.write_text(f"#!/bin/sh\necho \"$@\" \"$RPD_STEP/$RPD_STEPS\" \"$RPD_REASON\" "
                          f">>{log}\n{more}\n")
        script.chmod(0o755)
        return script
    make.lines = lambda: log.read_text().splitlines()
    make.dir = directory
    yield make
    shutil.rmtree(directory)


def test_a_program_is_run_at_each_change(rpd, origin, program):
    old, new = origin(), origin()
    d = rpd(release(old, new, QUICK + f"\non_change = {program('echo said here')}"))
    ask_until(d, "promoted")
    wait_until(lambda: len(program.lines()) == 4)
    assert program.lines()[0] == "release start 20 1/3 configured"
    for line, begin in zip(program.lines()[1:], ("release step 60 2/3 good: 0.00% errors (0 of ",
                                                 "release step 100 3/3 good: ",
                                                 "release promote 100 3/3 good: ")):
        assert line.startswith(begin)
    d.wait_log("(?m)^said here$")
    d.upgrade()
    d.reload()
    command(d, "weight", "2.5")
    wait_until(lambda: len(program.lines()) == 5)
    assert program.lines()[4] == "release weight 2.5 0/3 asked for"


def test_a_program_that_hangs_or_fails_holds_nothing_up(rpd, origin, program):
    d = rpd(release(origin(), origin(), LONG + f"\non_change = {program('read x <&9; exit 3')}"))
    d.wait_log(r"canary release: on_change for start failed: exit status \d+")
    gate = program.dir / "gate"
    program(f"while ! test -e {gate}; do sleep 0.01; done")
    command(d, "pause")
    wait_until(lambda: len(program.lines()) == 2)
    command(d, "resume")
    assert command(d, "promote") == "release: promoted at 100% (was running at 20%)\n"
    assert d.ask().status == 200
    assert len(program.lines()) == 2, "one at a time"
    gate.touch()
    wait_until(lambda: len(program.lines()) == 4)
    assert [line.split()[1] for line in program.lines()] == ["start", "pause", "resume", "promote"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_program_runs_as_the_workers_do(rpd, origin, program):
    script = program("echo $(id -un) $(id -gn)")
    d = rpd(release(origin(), origin(), LONG + f"\non_change = {script}"),
            globals_="user = daemon\ngroup = nogroup\n")
    d.wait_log("(?m)^daemon nogroup$")
