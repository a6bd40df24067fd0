"""Upgrades, refused ones, and masters that are killed, under a crowd of clients of every kind:
nothing is dropped, and everything is counted."""

import os
import signal

import pytest

from harness.crowd import Crowd
from harness.util import RPD, times, wait_until

GLOBALS = "shutdown_timeout = 120s\nlog_level = warning\n"


def settled(d):
    """When nobody is there any more, and no worker of before."""
    def is_quiet(stats):
        return (all(x["connections_active"] == 0 for x in stats["listeners"].values())
                and all(x["active"] == 0 for x in stats["routes"].values())
                and len(d.children()) == stats["rpd"]["workers"])
    return d.wait_stats(is_quiet, 30)


def fds(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.mark.slow
def test_twenty_upgrades_drop_nothing(rpd, stand, program):
    d = rpd(stand.configuration(), workers=2, globals_=GLOBALS, program=program)
    d.upgrade()
    before = settled(d)
    master = fds(d.pid)
    last = 0
    with Crowd(stand, d) as crowd:
        lasting = crowd.lives()
        for turn in range(times(20)):
            crowd.doing = f"upgrade {turn + 1}"
            d.replace_program(RPD)
            d.upgrade()
            crowd.progress()
            now = d.stats()["listeners"]["web"]["requests_total"]
            assert now >= last, "totals never go backwards"
            last = now
        assert crowd.lives() == lasting, "one connection from beginning to end"
        assert d.pid == d.stats()["rpd"]["pid"]
    crowd.check()
    after = settled(d)
    crowd.check_totals(before, after)
    assert after["rpd"]["upgrades"] == 1 + times(20)
    assert after["rpd"]["worker_crashes"] == 0
    wait_until(lambda: fds(d.pid) <= master, 10, "the master to have no more descriptors")


@pytest.mark.slow
def test_twenty_upgrades_to_a_broken_program_touch_nothing(rpd, stand, program):
    d = rpd(stand.configuration(), workers=2, globals_=GLOBALS, program=program)
    before, pids, master = d.stats(), d.worker_pids(), fds(d.pid)
    broken = ["#!/bin/sh\nexit 1\n", "#!/bin/sh\nkill -SEGV $$\n", "nonsense", "#!/bin/true\n"]
    with Crowd(stand, d) as crowd:
        lasting = crowd.lives()
        for turn in range(times(20)):
            crowd.doing = f"refusal {turn + 1}"
            d.replace_program(broken[turn % len(broken)])
            d.upgrade(status=1)
            if turn % 4 == 0:
                crowd.progress()
        assert crowd.lives() == lasting
    crowd.check()
    assert d.worker_pids() == pids
    crowd.check_totals(before, settled(d))
    assert fds(d.pid) == master


@pytest.mark.slow
def test_masters_that_are_killed_drop_nothing(rpd, stand):
    d = rpd(stand.configuration(), workers=2, globals_=GLOBALS)
    before = d.stats()
    with Crowd(stand, d) as crowd:
        lasting = crowd.lives()
        for turn in range(max(2, times(8))):
            crowd.doing = f"without master, {turn + 1}"
            os.kill(d.pid, signal.SIGKILL)
            d.wait_exit()
            crowd.progress()
            crowd.doing = f"takeover {turn + 1}"
            d.spawn()
            d.wait_ready()
            crowd.progress()
        assert crowd.lives() == lasting
    crowd.check()
    crowd.check_totals(before, settled(d))
