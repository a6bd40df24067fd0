"""The flight recorder: what rpctl recent shows of living workers, and postmortem of dead ones."""

import csv
import io
import json
import os
import re
import signal
import threading

import pytest

from harness.client import request_bytes
from harness.daemon import free_port, plain
from harness.origin import tcp_echo, upgrade_echo
from harness.util import is_alive, wait_until

RESPOND = "[listener web]\nbind = @web@\n[route all]\nrespond = 200 hello\n"
FIELDS = ["worker", "pid", "kind", "state", "started", "ended", "client_ip", "client_port",
          "listener", "route", "backend", "server", "method", "uri", "status", "end_reason",
          "outcome", "head_time", "wait_time", "response_time", "duration", "bytes_in",
          "bytes_out", "retries", "reused", "request_id"]


def recent(d, *args):
    return json.loads(d.ctl("-o", "json", "recent", *args, check=True).stdout)


def ended(d, *args):
    return [s for s in recent(d, *args) if s["state"] == "ended"]


def in_progress(d):
    return [s for s in recent(d) if s["state"] == "in progress"]


def wait_ended(d, n, *args):
    return wait_until(lambda: len(found := ended(d, *args)) == n and found, 10,
                      f"{n} streams to have ended")


def wait_one(d, **values):
    """The stream that has these values, when there is one."""
    def find():
        return [s for s in recent(d) if all(s[k] == v for k, v in values.items())]
    return wait_until(find, 10, f"a stream with {values} among {recent(d)}")[-1]


def postmortems(d, *args):
    return json.loads(d.ctl("-o", "json", "postmortem", *args, check=True).stdout)


def die(d, pid, number):
    """Kills a worker and waits until it is replaced."""
    d.may_complain = True
    os.kill(pid, number)
    wait_until(lambda: not is_alive(pid), 10, "the worker to die")
    wait_until(lambda: d.worker_pids() and pid not in d.worker_pids(), 10, "a successor")


def stuck(conn):
    """Takes a request and never answers."""
    conn.request()
    conn.wait_end()


def half(conn):
    """Begins a response of 1,000,000 bytes and waits."""
    req = conn.request()
    if not req.target.startswith("/half"):
        conn.reply(b"whole")
        return
    conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000)
    conn.wait_end()


def cut(conn):
    conn.request()
    conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 100)


# ---- what a stream leaves ----

def test_a_request_leaves_all_of_its_values(rpd, origin):
    d = rpd(plain(origin()), workers=1)
    with d.client() as client:
        before = float(d.stats()["rpd"]["started"])
        assert client.ask("/bytes/1000?a=1", headers=[("X-Request-Id", "ignored")]).length == 1000
        assert client.ask("/echo", "POST", body=b"y" * 5000).length == 5000
        first, second = wait_ended(d, 2)
        assert list(first) == FIELDS
        assert first["client_port"] == client.name[1] and first["client_ip"] == "127.0.0.1"
    assert (first["worker"], first["pid"], first["kind"]) == (0, d.worker_pids()[0], "http")
    assert (first["listener"], first["route"], first["backend"], first["server"]) == \
        ("web", "all", "pool", "s0")
    assert (first["method"], first["uri"], first["status"]) == ("GET", "/bytes/1000?a=1", 200)
    assert (first["end_reason"], first["outcome"]) == ("ok", "ok")
    assert before <= first["started"] <= first["ended"] <= second["started"]
    assert first["ended"] == pytest.approx(first["started"] + first["duration"], abs=1e-4)
    assert 0 <= first["head_time"] + first["wait_time"] + first["response_time"] \
        <= first["duration"] + 1e-5
    assert 1000 < first["bytes_out"] < 1500 and 20 < first["bytes_in"] < 200
    assert second["bytes_in"] > 5000 and second["method"] == "POST"
    assert (first["reused"], second["reused"]) == (False, True)
    assert first["retries"] == 0
    assert re.fullmatch(r"[0-9a-f]{32}", first["request_id"])
    assert first["request_id"] != second["request_id"]


def test_long_paths_are_cut(rpd):
    d = rpd(RESPOND, workers=1)
    d.ask("/" + "p" * 3000)
    stream, = wait_ended(d, 1)
    assert stream["uri"].startswith("/ppp") and 60 <= len(stream["uri"]) <= 200
    assert stream["method"] == "GET" and len(stream["request_id"]) == 32


@pytest.mark.parametrize("what, status, reason, outcome", [
    ("refused", 503, "connect refused", "failure"), ("silent", 504, "server timeout", "failure"),
    ("cut", 200, "server closed within response", "failure"),
    ("no route", 404, "no route", "request"), ("bad", 400, "bad request", "request"),
    ("too large", 413, "body too large", "request"),
])
def test_a_failure_is_told_by_its_reason(rpd, origin, what, status, reason, outcome):
    server = {"refused": f"127.0.0.1:{free_port()}", "silent": origin(stuck),
              "cut": origin(cut)}.get(what, origin())
    d = rpd(plain(server, listener="max_body_size = 10",
                  route="timeout_response = 300ms\nhost = test"))
    with d.client() as client:
        if what == "bad":
            client.send(b"GET / HTTP/1.1\r\nHost test\r\n\r\n")
        elif what == "too large":
            client.send(request_bytes("POST", "/", [("Content-Length", 11)]))
        else:
            client.send(request_bytes(host="other" if what == "no route" else "test"))
        client.until_eof() if what == "cut" else client.response()
    stream, = wait_ended(d, 1)
    assert (stream["status"], stream["end_reason"], stream["outcome"]) == (status, reason, outcome)
    assert stream["server"] == ("s0" if what in ("refused", "silent", "cut") else "")
    assert stream["route"] == ("" if what in ("no route", "bad", "too large") else "all")
    assert recent(d, "--errors") == [stream]


def test_a_client_that_left_is_an_error_of_its_own_kind(rpd, origin):
    d = rpd(plain(origin(stuck)), workers=1)
    client = d.client()
    client.send(request_bytes())
    wait_until(lambda: in_progress(d))
    client.reset()
    stream, = wait_ended(d, 1, "--errors")
    assert (stream["status"], stream["outcome"]) == (0, "client")
    assert stream["end_reason"] in ("client reset", "client closed")
    assert stream["server"] == "s0" and stream["response_time"] is None


def test_a_retry_is_counted_and_the_last_server_named(rpd, origin):
    d = rpd(plain(f"127.0.0.1:{free_port()}", origin(), route="retries = 1"), workers=1)
    for _ in range(4):
        assert d.ask().status == 200
    streams = wait_ended(d, 4)
    assert {s["server"] for s in streams} == {"s1"}
    assert any(s["retries"] == 1 for s in streams)


def test_a_tcp_session(rpd, origin):
    d = rpd(plain(origin(tcp_echo), listener="mode = tcp"), workers=1)
    with d.client() as client:
        client.send(b"hello")
        assert client.exact(5) == b"hello"
        stream, = in_progress(d)
        assert stream["server"] == "s0" and stream["wait_time"] > 0
        client.send(b"12345")
        assert client.exact(5) == b"12345"
        port = client.name[1]
    stream, = wait_ended(d, 1)
    assert (stream["kind"], stream["status"], stream["method"], stream["uri"]) == \
        ("tcp", 0, "", "")
    assert (stream["listener"], stream["route"], stream["backend"], stream["server"]) == \
        ("web", "all", "pool", "s0")
    assert (stream["bytes_in"], stream["bytes_out"], stream["client_port"]) == (10, 10, port)
    assert stream["end_reason"] == "ok" and stream["response_time"] is None


def test_streams_in_progress_are_seen_as_they_get_on(rpd, origin):
    d = rpd(plain(origin(half), listener="max_body_size = 1g"), workers=2)
    with d.client() as client:
        client.send(request_bytes("POST", "/half", [("Content-Length", 4)]))
        stream = wait_one(d, state="in progress", server="s0")
        assert (stream["uri"], stream["status"], stream["ended"]) == ("/half", 0, None)
        assert stream["response_time"] is None and stream["end_reason"] is None
        assert stream["bytes_out"] is None
        client.send(b"body")
        client.response_head()
        stream = wait_one(d, state="in progress", status=200)
        assert stream["response_time"] > 0
        longer = wait_until(lambda: (s := in_progress(d)[0])["duration"] > stream["duration"] and s)
        assert longer["started"] == stream["started"]
        table = d.ctl("recent", check=True).stdout
        assert re.search(r"POST /half .* pool/s0 +200  in progress", table), table
        assert recent(d, "--errors") == []
    wait_until(lambda: not in_progress(d))
    assert wait_ended(d, 1)[0]["outcome"] == "client"


def test_a_tunnel_is_in_progress_until_it_ends(rpd, origin):
    d = rpd(plain(origin(upgrade_echo)), workers=1)
    with d.client() as client:
        client.send(request_bytes(headers=[("Connection", "upgrade"), ("Upgrade", "x")]))
        assert client.response_head().status == 101
        assert wait_one(d, state="in progress")["status"] == 101
        client.shutdown_write()
        client.until_eof()
    assert wait_ended(d, 1)[0]["end_reason"] == "ok"


def test_untrusted_text_is_harmless_on_a_terminal(rpd):
    d = rpd(RESPOND, workers=1)
    with d.client() as client:
        client.send(b"G\x1b[31mT /\x1b]0;x\x07 HTTP/1.1\r\nHost: a\r\n\r\n")
        client.until_eof()
    wait_ended(d, 1)
    for form in ("table", "csv", "json"):
        out = d.ctl("-o", form, "recent", check=True).stdout
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", out), out


# ---- choosing and merging ----

def test_two_workers_are_merged_by_time(rpd):
    d = rpd(RESPOND, workers=2)
    for i in range(60):
        assert d.ask(f"/{i}").status == 200
        wait_until(lambda: d.stats()["routes"]["all"]["requests_total"] == i + 1)
    streams = wait_ended(d, 60)
    assert [s["uri"] for s in streams] == [f"/{i}" for i in range(60)]
    assert {s["worker"] for s in streams} == {0, 1}
    assert [s["ended"] for s in streams] == sorted(s["ended"] for s in streams)
    assert [s["uri"] for s in recent(d, "-n", "3")] == ["/57", "/58", "/59"]
    assert recent(d, "-n3") == recent(d, "-n", "3")


def test_filters(rpd, origin):
    d = rpd("""
        [listener web]
        bind = @web@
        [route good]
        host = good
        respond = 200 x
        [route bad]
        host = bad
        backend = none
        [backend none]
        server = @none@ name=s0
        """, workers=2)
    for i in range(6):
        d.ask(f"/{i}", host="good" if i % 2 else "bad")
    wait_ended(d, 6)
    assert {s["uri"] for s in recent(d, "--route", "good")} == {"/1", "/3", "/5"}
    assert {s["uri"] for s in recent(d, "--errors")} == {"/0", "/2", "/4"}
    assert recent(d, "--errors", "--route", "good") == []
    last, = recent(d, "--errors", "--route", "bad", "-n", "1")
    assert last["uri"] == "/4" and last["status"] == 503
    assert recent(d, "--route", "nosuch") == []


def test_the_last_1024_are_kept(rpd):
    d = rpd(RESPOND, workers=1)
    with d.client() as client:
        for i in range(1300):
            client.send(request_bytes(target=f"/{i}"))
            assert client.response().status == 200
    d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 1300)
    streams = wait_ended(d, 1024)
    assert [s["uri"] for s in streams] == [f"/{i}" for i in range(276, 1300)]
    assert len({s["request_id"] for s in streams}) == 1024


def test_forms(rpd):
    d = rpd(RESPOND, workers=1)
    assert recent(d) == []
    for i in range(3):
        d.ask(f"/{i}?a,b")
    streams = wait_ended(d, 3)
    rows = list(csv.DictReader(io.StringIO(d.ctl("-o", "csv", "recent", check=True).stdout)))
    assert list(rows[0]) == FIELDS
    assert [r["uri"] for r in rows] == [s["uri"] for s in streams]
    assert [float(r["ended"]) for r in rows] == pytest.approx([s["ended"] for s in streams])
    lines = d.ctl("recent", check=True).stdout.splitlines()
    assert len(lines) == 4 and lines[0].split()[:4] == ["time", "worker", "client", "request"]
    assert "GET /2?a,b" in lines[3] and re.match(r"\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} ", lines[3])
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize("args", [
    ["recent", "--what"], ["recent", "-n"], ["recent", "-n", "0"], ["recent", "-n", "x"],
    ["recent", "--route"], ["recent", "web"], ["postmortem", "x"], ["postmortem", "1", "2"],
    ["postmortem", "-1"], ["-o", "prometheus", "recent"], ["-o", "prometheus", "postmortem"],
])
def test_wrong_usage_is_2(site, args):
    done = site().ctl(*args)
    assert done.returncode == 2 and done.stderr.strip(), done


# ---- events ----

def test_events_tell_of_generations_and_full_gates(rpd):
    d = rpd(RESPOND, workers=1, globals_="max_connections = 2")
    clients = [d.client() for _ in range(2)]
    for client in clients:
        client.ask()
    waiting = d.client()
    d.wait_stats(lambda s: sum(w["full"] for w in s["workers"]) > 0)
    d.reload()
    wait_until(lambda: b"at max_connections" in (d.run_dir / "flight.0").read_bytes())
    for client in [*clients, waiting]:
        client.close()
    wait_until(lambda: b"accepting again" in (d.run_dir / "flight.0").read_bytes())
    die(d, d.worker_pids()[0], signal.SIGKILL)
    events = postmortems(d)[0]["events"]
    texts = [e["text"] for e in events]
    assert texts[0] == "generation 1 taken" and "generation 2 taken" in texts
    full = next(i for i, t in enumerate(texts) if t.startswith("at max_connections: 2 "))
    assert any(t.startswith("accepting again") for t in texts[full:])
    assert [e["time"] for e in events] == sorted(e["time"] for e in events)


# ---- after a crash ----

@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_postmortem_shows_what_the_dead_worker_did(rpd, origin, number):
    d = rpd(plain(origin(half)), workers=1)
    assert d.ctl("postmortem").returncode == 1
    for i in range(3):
        assert d.ask(f"/whole/{i}").body == b"whole"
    client = d.client()
    client.send(request_bytes(target="/half/of/it"))
    client.response_head()
    wait_one(d, state="in progress", status=200)
    victim = d.worker_pids()[0]
    die(d, victim, number)
    client.close()
    d.wait_log("rpctl postmortem 0 shows its last streams")
    death, = postmortems(d)
    assert (death["worker"], death["pid"]) == (0, victim)
    assert f"signal {number.value} ({number.name})" in death["how"]
    assert death["started"] < death["died"]
    first, *rest = death["streams"]
    assert (first["state"], first["uri"], first["status"], first["server"]) == \
        ("in progress", "/half/of/it", 200, "s0")
    assert 0 < first["duration"] <= death["died"] - first["started"] + 1e-3
    assert [s["uri"] for s in rest] == [f"/whole/{i}" for i in range(3)]
    assert all(s["state"] == "ended" and s["status"] == 200 for s in rest)
    text = d.ctl("postmortem", check=True).stdout
    at = [text.index(part) for part in (number.name, "in progress", "/half/of/it", "/whole/0",
                                        "/whole/2", "generation 1 taken")]
    assert at == sorted(at), text
    assert postmortems(d, "0") == [death]
    assert d.ctl("postmortem", "1").returncode == 1
    rows = list(csv.DictReader(io.StringIO(
        d.ctl("-o", "csv", "postmortem", check=True).stdout)))
    assert [r["uri"] for r in rows] == [s["uri"] for s in death["streams"]]
    assert recent(d) == [], "the successor begins anew"
    assert d.ask("/after").body == b"whole"
    assert [s["uri"] for s in wait_ended(d, 1)] == ["/after"]


def test_postmortems_of_several_workers_and_the_last_of_each(rpd):
    d = rpd(RESPOND, workers=2)
    first = {w["slot"]: w["pid"] for w in d.stats()["workers"]}
    for slot in (1, 0):
        die(d, first[slot], signal.SIGKILL)
    assert [p["worker"] for p in postmortems(d)] == [1, 0]
    second = {w["slot"]: w["pid"] for w in d.stats()["workers"]}
    die(d, second[1], signal.SIGKILL)
    assert [(p["worker"], p["pid"]) for p in postmortems(d)] == [(0, first[0]), (1, second[1])]


def test_files_outlive_a_killed_daemon(rpd, origin):
    d = rpd(plain(origin(half)), workers=1)
    d.expect_status = None
    d.ask("/whole/0")
    die(d, d.worker_pids()[0], signal.SIGKILL)
    d.ask("/whole/1")
    client = d.client()
    client.send(request_bytes(target="/half"))
    client.response_head()
    wait_one(d, state="in progress", status=200)
    d.kill_all()
    client.close()
    done = d.ctl("-o", "json", "recent")
    assert done.returncode == 0 and "no worker is running" in done.stderr
    assert [s["uri"] for s in json.loads(done.stdout)] == ["/whole/1", "/half"]
    assert [s["uri"] for s in postmortems(d)[0]["streams"]] == ["/whole/0"]


def test_a_daemon_that_ends_well_leaves_no_recorder(rpd):
    d = rpd(RESPOND, workers=2)
    d.ask()
    die(d, d.worker_pids()[0], signal.SIGKILL)
    assert sorted(p.name for p in d.run_dir.glob("flight.*")) == ["flight.0", "flight.1"]
    d.signal(signal.SIGTERM)
    d.wait_exit()
    assert not list(d.run_dir.glob("flight.*"))
    assert d.ctl("recent").returncode == 3
    assert len(postmortems(d)) == 1, "what crashed stays"


def test_a_retired_worker_takes_its_file_along(rpd):
    d = rpd(RESPOND, workers=3)
    d.globals_ = "workers = 1\n"
    d.reload(RESPOND)
    wait_until(lambda: [p.name for p in d.run_dir.glob("flight.*")] == ["flight.0"])
    assert not list(d.run_dir.glob("postmortem.*"))


def test_no_daemon_is_3_and_no_postmortem_1(site):
    s = site()
    for command, status in (("recent", 3), ("postmortem", 1)):
        done = s.ctl(command)
        assert done.returncode == status, done
        assert len(done.stderr.strip().splitlines()) == 1


def test_files_are_not_for_everybody(rpd):
    d = rpd(RESPOND, workers=1)
    old = os.umask(0)
    try:
        die(d, d.worker_pids()[0], signal.SIGKILL)
    finally:
        os.umask(old)
    for name in ("flight.0", "postmortem.0"):
        status = (d.run_dir / name).stat()
        assert status.st_mode & 0o7777 == 0o640
        assert status.st_blocks * 512 < 256 * 1024 < status.st_size, "untouched pages cost nothing"


def test_stale_files_go_at_the_next_start(rpd):
    d = rpd(RESPOND, workers=2)
    d.expect_status = None
    d.kill_all()
    (d.run_dir / "flight.1").rename(d.run_dir / "flight.7")
    assert len(list(d.run_dir.glob("flight.*"))) == 2
    d.write(RESPOND)
    d.spawn()
    d.wait_ready()
    d.expect_status = 0
    assert sorted(p.name for p in d.run_dir.glob("flight.*")) == ["flight.0", "flight.1"]


def test_predecessor_and_successor_side_by_side(rpd, origin):
    """A worker that still finishes keeps its file under another name, and recent reads both."""
    d = rpd(plain(origin(half)), workers=1, globals_="shutdown_timeout = 60s")
    old = d.worker_pids()[0]
    client = d.client()
    client.send(request_bytes(target="/half"))
    client.response_head()
    wait_one(d, state="in progress", status=200)
    os.kill(d.pid, signal.SIGKILL)
    d.wait_exit()
    d.spawn()
    d.wait_ready()
    assert d.ask("/new").body == b"whole"
    wait_ended(d, 1)
    new, half_way = recent(d)
    assert (new["uri"], new["state"]) == ("/new", "ended")
    assert (half_way["uri"], half_way["state"]) == ("/half", "in progress")
    assert half_way["pid"] == old != new["pid"] and half_way["worker"] == new["worker"] == 0
    client.close()
    wait_until(lambda: not is_alive(old))
    assert not in_progress(d)
    die(d, d.worker_pids()[0], signal.SIGKILL)
    assert [p.name for p in d.run_dir.glob("flight.*")] == ["flight.0"]
    assert [s["uri"] for s in postmortems(d)[0]["streams"]] == ["/new"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_an_unprivileged_worker_records(rpd):
    d = rpd(RESPOND, workers=1, globals_="user = nobody\ngroup = nogroup")
    d.ask("/unprivileged")
    assert wait_ended(d, 1)[0]["uri"] == "/unprivileged"
    assert (d.run_dir / "flight.0").stat().st_uid == 0


@pytest.mark.parametrize("at, data", [
    (0, b"not one of ours"), (8, b"\xff\xff\xff\xff"), (48, b"\xff" * 16), (16, b"\0" * 48),
    (192, b"\xff" * 40),
])
def test_a_damaged_file_does_no_harm(rpd, at, data):
    """What a broken worker may do to its own file: the others are shown, the daemon goes on."""
    d = rpd(RESPOND, workers=2)
    wait_until(lambda: d.ask("/x").status == 200 and {s["worker"] for s in recent(d)} == {0, 1})
    with open(d.run_dir / "flight.0", "r+b") as file:
        file.seek(at)
        file.write(data)
    done = d.ctl("-o", "json", "recent")
    assert done.returncode == 1 and "flight.0" in done.stderr
    assert {s["worker"] for s in json.loads(done.stdout)} == {1}
    for _ in range(20):
        assert d.ask().status == 200
    d.reload()
    assert d.ask().status == 200
    assert d.ctl("postmortem").returncode == 1


def test_reading_while_streams_come_and_go(rpd):
    """A reader sees whole records only: a stream's texts and numbers are of one request."""
    d = rpd(RESPOND, workers=2)
    failed, is_over = [], threading.Event()

    def run(name):
        try:
            with d.client() as client:
                i = 0
                while not is_over.is_set():
                    i += 1
                    client.send(request_bytes(target=f"/{name}/{i}" + "x" * (i % 50)))
                    assert client.response().status == 200
        except Exception as error:
            failed.append(error)
    threads = [threading.Thread(target=run, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            for s in recent(d):
                match = re.fullmatch(r"/(\d)/(\d+)(x*)", s["uri"])
                assert match and len(match[3]) == int(match[2]) % 50, s
                assert s["state"] == "in progress" or s["bytes_in"] > len(s["uri"]), s
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    assert not failed, failed
    assert len(ended(d)) > 0


@pytest.mark.release_only
def test_more_than_1024_in_progress(rpd, origin):
    d = rpd(plain(origin(stuck, backlog=2048)), workers=1)
    clients = [d.client() for _ in range(1100)]
    for i, client in enumerate(clients):
        client.send(request_bytes(target=f"/{i}"))
    d.wait_stats(lambda s: s["routes"]["all"]["active"] == 1100)
    assert len(in_progress(d)) == 1024
    for client in clients:
        client.close()
    streams = wait_ended(d, 1024)
    assert in_progress(d) == []
    assert {s["outcome"] for s in streams} == {"client"}
    assert d.stats()["routes"]["all"]["requests_total"] == 1100
    die(d, d.worker_pids()[0], signal.SIGKILL)
    assert postmortems(d)[0]["untracked"] == 76
