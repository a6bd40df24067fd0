"""What a reload says that it changes, what `config diff` says it would, and where `config` says the
running configuration is from."""

import os
import re
import signal

from harness.applies import Running, config_head, other
from harness.daemon import plain
from harness.util import wait_until

ONE = "[listener web]\nbind = @web@\n[route all]\nrespond = 200 one\n"
TWO = ONE.replace("200 one", "200 two")


# ---- what a reload says ----

def test_reload_names_what_it_changes(rpd):
    d = rpd("""
        [listener web]
        bind = @web@
        [listener old]
        bind = @old@
        [route all]
        backend = app
        [route gone]
        path = /gone
        respond = 200 x
        [backend app]
        server = 127.0.0.1:1 name=a
        server = 127.0.0.1:2 name=b
        """)
    out = d.reload("""
        [listener web]
        bind = @web@
        timeout_idle = 30s
        [route all]
        backend = app
        [route api]
        path = /api
        respond = 200 x
        [backend app]
        server = 127.0.0.1:1 name=a weight=3
        server = 127.0.0.1:3 name=c
        """).stdout.splitlines()
    assert out[0] == ("generation 2: listeners -1 ~1, routes +1 -1, backends ~1, "
                      "servers +1 -1 ~1")
    assert out[1:] == ["  ~ listener web: timeout_idle 1m -> 30s", "  + route api",
                       "  ~ backend app: its servers", "  ~ server app/a: weight 1 -> 3",
                       "  + server app/c", "  - listener old", "  - route gone",
                       "  - server app/b"]


def test_reload_that_changes_nothing_says_so(rpd):
    assert rpd(ONE).reload(ONE).stdout == "generation 2: nothing changed\n"


def test_many_changes_are_counted_after_forty(rpd):
    d = rpd(ONE)
    more = "".join(f"[route n{n}]\npath = /n{n}\nrespond = 200 x\n" for n in range(77))
    out = d.reload(ONE + more).stdout.splitlines()
    assert len(out) == 42
    assert out[-1] == "  and 37 more"


# ---- config diff ----

def test_diff_says_what_would_change_and_changes_nothing(rpd):
    d = rpd(ONE)
    done = d.ctl("config", "diff", other(d, TWO + "[listener more]\nbind = @more@\n"))
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        f"{d.dir}/new.ini: listeners +1, routes ~1", "  + listener more",
        "  ~ route all: respond 200 one -> 200 two"]
    assert d.ask().body.strip() == b"one"
    assert d.stats()["rpd"]["generation"] == 1


def test_diff_of_a_relative_name_is_from_where_rpctl_runs(rpd):
    d = rpd(ONE)
    other(d, ONE)
    done = d.ctl("config", "diff", "new.ini")
    assert (done.returncode, done.stdout) == (0, "nothing changes\n")


def test_diff_prints_every_error(rpd):
    d = rpd(ONE)
    done = d.ctl("config", "diff", other(d, "[listener web]\nbnd = @web@\n[route all]\n"
                                            "respond = 200 x\ntimeout_connect = 5\n"))
    assert done.returncode == 1
    assert "did you mean 'bind'" in done.stderr and "timeout_connect" in done.stderr
    assert re.search(r"new\.ini:\d+: ", done.stderr)
    assert d.ctl("config", "diff", "missing.ini").returncode == 1
    assert d.stats()["rpd"]["reloads_refused"] == 0


def test_diff_and_reloads_at_once(rpd):
    d = rpd(ONE)
    path = other(d, TWO)
    calls = [Running(d, *args) for _ in range(4) for args in (["reload"], ["config", "diff", path])]
    for call in calls:
        assert call.end()[0] == 0
    assert d.ask().body.strip() == b"one"


# ---- config ----

def test_config_says_where_it_is_from(rpd):
    d = rpd(ONE)
    head = config_head(d)
    assert head[0] == f"; generation 1, read from {d.config}"
    assert re.fullmatch(r"; since \S+T\S+: start", head[1])
    d.reload(TWO)
    head = config_head(d)
    assert head[0] == f"; generation 2, read from {d.config}"
    assert head[1].endswith(f": reload by uid {os.getuid()}")
    d.signal(signal.SIGHUP)
    d.wait_stats(lambda s: s["rpd"]["reloads"] == 2)
    wait_until(lambda: config_head(d)[1].endswith(": reload by a signal"))
    path = other(d, ONE)
    d.ctl("apply", path, check=True)
    head = config_head(d)
    assert head[0] == f"; generation 4, read from {path}"
    assert head[1].endswith(f": apply by uid {os.getuid()}")
    assert len(head) == 2


def test_what_config_prints_says_nothing_meaningless(rpd, origin):
    d = rpd(plain(origin(), route="limit = few") + "[limit few]\nmax_conns = 9\n")
    printed = d.dir / "printed.ini"
    printed.write_text(d.ctl("config", check=True).stdout)
    assert d.ctl("config", "diff", printed, check=True).stdout == "nothing changes\n"


def test_config_with_its_head_is_a_configuration(rpd):
    d = rpd(ONE)
    d.ctl("apply", other(d, TWO), "--confirm", "1m", check=True)
    printed = d.dir / "printed.ini"
    printed.write_text(d.ctl("config", check=True).stdout)
    assert d.ctl("config", "diff", printed, check=True).stdout == "nothing changes\n"
