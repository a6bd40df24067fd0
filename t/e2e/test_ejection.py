"""Servers that fail are taken out, whoever saw it, and come back: passive health, panic, slow
start."""

import re

import pytest

from harness.moods import Moody, pool, servers, servers_of
from harness.util import wait_until

# Failures reach the client: what a try meets is what it is told.
ONCE = "retries = 0\ntimeout_response = 200ms\ntimeout_connect = 1s"


def state(d, name):
    return servers(d)[name]["state"]


def wait_state(d, name, wanted):
    d.wait_stats(lambda s: s["backends"]["pool"]["servers"][name]["state"] == wanted)


def ask_until(d, name, wanted):
    """Requests until the server is seen in that state: others look at it."""
    def is_there():
        d.ask()
        return state(d, name) == wanted
    wait_until(is_there, what=f"{name} {wanted}")


def transitions(d, name="o0"):
    """What the log says of a server, in order: (from, to, why)."""
    return re.findall(rf"backend pool: server {name}: (\w+) -> (\w+): (.*)", d.stderr())


@pytest.mark.parametrize("mood, status, last", [
    ("reset", 502, "server (reset|closed before response)"),
    ("close", 502, "server closed before response"),
    ("garbage", 502, "bad response"), ("hang", 504, "server timeout"),
    (502, 502, "status 502"), (503, 503, "status 503"), (504, 504, "status 504"),
])
def test_failures_in_a_row_eject(rpd, origin, mood, status, last):
    moody = Moody(mood)
    d = rpd(pool((origin(moody), ""), (origin(), ""), route=ONCE, backend="eject_after = 3"))
    seen = [d.ask().status for _ in range(16)]
    assert set(seen) == {200, status} and seen.count(status) == 3
    assert servers(d)["o0"]["state"] == "ejected"
    assert servers(d)["o0"]["ejections"] == 1 and servers(d)["o1"]["ejections"] == 0
    (was, now, why), = transitions(d)
    assert (was, now) == ("unchecked", "ejected")
    assert re.fullmatch(f"failures in a row: the last: {last}", why)


def test_refused_connects_eject(rpd, origin):
    gone = origin()
    gone.close()
    d = rpd(pool((gone, ""), (origin(), ""), backend="eject_after = 3"))
    for _ in range(12):
        assert d.ask().status == 200, "retried, then not asked any more"
    assert servers(d)["o0"]["connect_errors"] == 3
    assert servers(d)["o0"]["state"] == "ejected"
    assert [t[1] for t in transitions(d)] == ["ejected"]


@pytest.mark.parametrize("eject_on, is_out", [("", False), ("eject_on = connect-failure, 5xx",
                                                            True)])
def test_other_statuses_only_when_told(rpd, origin, eject_on, is_out):
    d = rpd(pool((origin(Moody(500)), ""), (origin(), ""), route=ONCE,
                 backend="eject_after = 3\n" + eject_on))
    for _ in range(12):
        d.ask()
    assert (state(d, "o0") == "ejected") == is_out


def test_a_success_begins_the_row_anew(rpd, origin):
    moody = Moody()
    d = rpd(pool((origin(moody), ""), (origin(), ""), route=ONCE, backend="eject_after = 4"),
            workers=1)
    for _ in range(3):
        moody.mood = 503
        for _ in range(6):
            d.ask()
        moody.mood = "ok"
        for _ in range(2):
            d.ask()
    assert state(d, "o0") == "unchecked"


def test_ejections_end_and_grow(rpd, origin):
    moody = Moody("reset")
    d = rpd(pool((origin(moody), ""), (origin(), ""), route=ONCE,
                 backend="eject_after = 2\neject_time = 300ms"))
    lasts = []
    for _ in range(3):
        ask_until(d, "o0", "ejected")
        one = servers(d)["o0"]
        lasts.append(one["ejected_until"] - one["since"])
        moody.mood = "ok"
        ask_until(d, "o0", "unchecked")
        moody.mood = "reset"
    for last, wanted in zip(lasts, (0.3, 0.6, 1.2)):
        assert abs(last - wanted) < 0.1, lasts
    assert [t[:2] for t in transitions(d)[:4]] == [("unchecked", "ejected"),
                                                   ("ejected", "unchecked")] * 2


def test_it_comes_back_though_nobody_asks(rpd, origin):
    d = rpd(pool((origin(Moody(503)), ""), (origin(), ""), route=ONCE,
                 backend="eject_after = 1\neject_time = 300ms"))
    d.ask()
    d.ask()
    wait_state(d, "o0", "unchecked")
    assert transitions(d)[-1] == ("ejected", "unchecked", "ejection over")


@pytest.mark.parametrize("n, most, out", [(4, "50%", 2), (4, "0%", 1), (4, "100%", 4),
                                          (2, "50%", 1), (1, "100%", 0)])
def test_no_more_than_eject_max_are_out(rpd, origin, n, most, out):
    d = rpd(pool(*[(origin(Moody(503)), "") for _ in range(n)], route=ONCE,
                 backend=f"eject_after = 2\neject_time = 1m\neject_max = {most}"), workers=1)
    for _ in range(n * 8):
        assert d.ask().status == 503
    states = [s["state"] for s in servers(d).values()]
    assert states.count("ejected") == out, states


def test_panic_uses_all(rpd, origin):
    moods = [Moody(503) for _ in range(3)]
    d = rpd(pool(*[(origin(m), "") for m in moods], (origin(), ""), route=ONCE,
                 backend="eject_after = 1\neject_time = 1m\neject_max = 100%\npanic = 50%"),
            workers=1)
    for _ in range(8):
        d.ask()
    d.wait_log(r"backend pool: panic: 1 of 4 servers healthy, all are used")
    for mood in moods:
        mood.mood = "ok"
    assert sorted(servers_of(d, 40)) == sorted([f"o{i}" for i in range(4)] * 10)


def test_without_panic_the_healthy_have_it_all(rpd, origin):
    d = rpd(pool(*[(origin(Moody(503)), "") for _ in range(3)], (origin(), ""), route=ONCE,
                 backend="eject_after = 1\neject_time = 1m\neject_max = 100%"), workers=1)
    for _ in range(8):
        d.ask()
    assert set(servers_of(d, 10)) == {"o3"}


def test_who_returns_starts_slowly(rpd, origin):
    moody = Moody(503)
    d = rpd(pool((origin(moody), ""), (origin(), ""), route=ONCE,
                 backend="eject_after = 1\neject_time = 200ms\nslow_start = 1h"), workers=1)
    d.ask()
    d.ask()
    moody.mood = "ok"
    wait_state(d, "o0", "starting")
    seen = servers_of(d, 170)
    assert 5 <= seen.count("o0") <= 15, "one of 17, for now"
    assert transitions(d)[-1] == ("ejected", "starting", "ejection over")


def test_slow_start_ends(rpd, origin):
    moody = Moody(503)
    d = rpd(pool((origin(moody), ""), (origin(), ""), route=ONCE,
                 backend="eject_after = 1\neject_time = 200ms\nslow_start = 300ms"), workers=1)
    d.ask()
    d.ask()
    moody.mood = "ok"
    wait_state(d, "o0", "unchecked")
    assert [t[1] for t in transitions(d)] == ["ejected", "starting", "unchecked"]
    seen = servers_of(d, 20)
    assert seen.count("o0") == 10


def test_a_kept_connection_of_an_ejected_server_is_closed(rpd, origin):
    moody = Moody()
    bad = origin(moody)
    d = rpd(pool((bad, ""), (origin(), ""), route=ONCE,
                 backend="eject_after = 1\neject_time = 1m"), workers=1)
    servers_of(d, 4)
    assert servers(d)["o0"]["idle"] == 1
    moody.mood = 503
    d.ask()
    d.ask()
    d.ask()
    wait_until(lambda: not bad.open_connections())
    assert servers(d)["o0"]["idle"] == 0


def test_backups_serve_when_the_others_are_ejected(rpd, origin):
    d = rpd(pool((origin(Moody(503)), ""), (origin(Moody(503)), ""), (origin(), "backup"),
                 route=ONCE, backend="eject_after = 2\neject_time = 1m\neject_max = 100%"))
    wait_until(lambda: d.ask().status == 200)
    assert set(servers_of(d, 5)) == {"o2"}


def test_sessions_eject_as_well(rpd, origin):
    gone = origin()
    gone.close()
    d = rpd(pool((gone, ""), (origin(lambda conn: conn.send(b"hello")), ""),
                 listener="mode = tcp", backend="eject_after = 3"))
    for _ in range(8):
        with d.client() as client:
            assert client.until_eof() == b"hello"
    assert state(d, "o0") == "ejected"


def test_a_reload_keeps_who_is_out(rpd, origin):
    d = rpd(pool((origin(Moody(503)), ""), (origin(), ""), route=ONCE,
                 backend="eject_after = 1\neject_time = 1m"))
    d.ask()
    d.ask()
    wait_state(d, "o0", "ejected")
    d.reload()
    assert set(servers_of(d, 6)) == {"o1"}
    assert state(d, "o0") == "ejected"
