"""The access log in its formats, whole lines only; the error log; reopening both."""

import json
import os
import re
import signal
import subprocess
import threading

import pytest

from harness.client import request_bytes
from harness.daemon import plain
from harness.origin import canned, tcp_echo
from harness.util import wait_until

COMBINED = re.compile(
    r'^(?P<ip>\S+) (?P<ident>\S+) (?P<user>\S+) \[(?P<time>[^\]]+)\] "(?P<request>[^"]*)" '
    r'(?P<status>\d{3}) (?P<bytes>\d+|-) "(?P<referer>[^"]*)" "(?P<agent>[^"]*)"$')


class Log:
    def __init__(self, path):
        self.path = path

    def lines(self):
        text = self.path.read_text(errors="surrogateescape") if self.path.exists() else ""
        return text.splitlines()

    def wait(self, n):
        return wait_until(lambda: len(self.lines()) >= n and self.lines(), 10, f"{n} log lines")


@pytest.fixture
def logged(rpd, tmp_path):
    """Starts a daemon that logs to a file: logged(text, format) -> (daemon, Log)."""
    def make(text, form="", **kw):
        log = Log(tmp_path / "access.log")
        d = rpd(text, globals_=f"access_log = {log.path}\n"
                + (f"access_log_format = {form}\n" if form else "") + kw.pop("more", ""), **kw)
        return d, log
    return make


def test_combined(logged, origin):
    d, log = logged(plain(origin()))
    d.ask("/bytes/123?a=b", headers=[("Referer", "http://from/"), ("User-Agent", "ua/1 (x)")])
    m = COMBINED.match(log.wait(1)[0])
    assert m, log.lines()
    assert (m["ip"], m["status"]) == ("127.0.0.1", "200")
    assert m["request"] == "GET /bytes/123?a=b HTTP/1.1"
    assert (m["referer"], m["agent"]) == ("http://from/", "ua/1 (x)")
    assert int(m["bytes"]) >= 123
    assert re.match(r"\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}$", m["time"])


def test_combined_without_the_fields(logged, origin):
    d, log = logged(plain(origin()))
    d.ask()
    m = COMBINED.match(log.wait(1)[0])
    assert (m["referer"], m["agent"]) == ("-", "-")


def test_json(logged, origin):
    d, log = logged(plain(origin()), "json")
    d.ask("/status/404", "POST", [("User-Agent", 'q"uo\\te \xe9')], b"body", host="site.example")
    entry = json.loads(log.wait(1)[0])
    flat = json.dumps(entry)
    assert entry["method"] == "POST" and int(entry["status"]) == 404
    for value in ("site.example", "/status/404", "127.0.0.1", "all", "pool", "s0", "web"):
        assert value in flat


def test_custom_string(logged, origin):
    form = ("$client_ip $method $host $path $query $status $route $backend $server $listener "
            "$protocol $retries $bytes_in $bytes_out $duration $response_time $connect_time "
            "$header_x_a $$ $cache_status $tls_version $request_id $end_reason")
    o = origin()
    d, log = logged(plain(o), form)
    d.ask("/p?q=1", headers=[("X-A", "val")], host="h.example")
    got = log.wait(1)[0].split(" ")
    assert got[:12] == ["127.0.0.1", "GET", "h.example", "/p", "q=1", "200", "all", "pool", "s0",
                        "web", "HTTP/1.1", "0"]
    assert int(got[12]) > 20 and int(got[13]) > 20
    assert all(0 <= float(x) < 60 for x in got[14:17])
    assert got[17:21] == ["val", "$", "-", "-"]
    assert got[21] == o.last().get("X-Request-Id")
    assert got[22] == "ok"


def test_bytes_of_the_log_and_of_the_counters_agree(logged, origin):
    d, log = logged(plain(origin()), "$bytes_in $bytes_out")
    d.ask("/bytes/100000", "POST", body=b"x" * 5000)
    stats = d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 1)
    assert log.wait(1)[0] == "%d %d" % (stats["routes"]["all"]["bytes_in"],
                                        stats["routes"]["all"]["bytes_out"])


def test_what_a_client_sends_cannot_forge_a_line(logged, origin):
    d, log = logged(plain(origin()))
    d.ask('/a"b%0a', headers=[("User-Agent", 'x" 200 "\\'), ("Referer", "\xe9\t\x80")])
    d.ask("/end")
    lines = log.wait(2)
    assert len(lines) == 2
    assert lines[0].count('"') >= 6
    assert 'x" 200' not in lines[0], "a quote inside a value is escaped"
    assert all(32 <= ord(c) for c in lines[0] if c < "\x80")


def test_refused_requests_are_logged(logged, origin):
    d, log = logged(plain(origin(), listener="max_body_size = 10"), "$status $method $end_reason")
    for data in (b"nonsense\r\n\r\n", request_bytes("POST", "/", body=b"x" * 100)):
        with d.client() as client:
            client.send(data)
            client.until_eof()
    lines = log.wait(2)
    assert lines[0].startswith("400 ")
    assert lines[1].startswith("413 POST ")


def test_errors_made_here_say_why(logged, origin):
    gone = origin()
    gone.close()
    d, log = logged(plain(gone), "$status $route $server $end_reason")
    status = d.ask().status
    line = log.wait(1)[0]
    assert line.startswith(f"{status} all ")
    assert not line.endswith("ok")


def test_client_that_left_is_logged(logged, origin):
    o = origin(lambda conn: (conn.request(), conn.wait_end()))
    d, log = logged(plain(o), "$status $end_reason")
    client = d.client()
    client.send(request_bytes())
    wait_until(lambda: o.requests)
    client.close()
    assert log.wait(1)[0].split(" ", 1)[1].startswith("client")


def test_tcp_sessions_are_logged(logged, origin):
    d, log = logged(plain(origin(tcp_echo), listener="mode = tcp"),
                    "$listener $route $server $bytes_in $bytes_out $end_reason")
    with d.client() as client:
        client.send(b"12345")
        assert client.exact(5) == b"12345"
    assert log.wait(1)[0].startswith("web all s0 5 5 ")


def test_route_may_be_left_out(logged):
    d, log = logged("""
        [listener web]
        bind = @web@
        [route quiet]
        path = /quiet
        respond = 200 x
        access_log = off
        [route all]
        respond = 200 x
        """, "$path")
    d.ask("/quiet")
    d.ask("/loud")
    d.ask("/quiet")
    d.ask("/last")
    assert log.wait(2) == ["/loud", "/last"]


def test_lines_are_whole_under_concurrency(logged, origin):
    """Three workers, lines of many lengths: none is torn, none is lost."""
    d, log = logged(plain(origin(canned(b"HTTP/1.1 204 No\r\n\r\n"))), "<$uri>", workers=3)
    clients, each = 10, 60

    def run(k):
        with d.client() as client:
            for n in range(each):
                client.ask(f"/{k}/{n}/" + "x" * ((k * 997 + n * 131) % 2000))
    threads = [threading.Thread(target=run, args=(k,)) for k in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    lines = log.wait(clients * each)
    assert len(lines) == clients * each
    seen = set()
    for line in lines:
        m = re.match(r"^</(\d+)/(\d+)/(x*)>$", line)
        assert m, line[:100]
        k, n = int(m[1]), int(m[2])
        assert len(m[3]) == (k * 997 + n * 131) % 2000
        seen.add((k, n))
    assert len(seen) == clients * each
    assert sum(w.get("log_dropped", 0) for w in d.stats()["workers"]) == 0


def test_value_that_is_too_long_is_cut_and_its_line_whole(logged):
    d, log = logged("[listener web]\nbind = @web@\n[route all]\nrespond = 200 x\n", "<$uri>")
    for n in range(3):
        d.ask(f"/{n}" + "x" * 20000)
    lines = log.wait(3)
    assert sorted(line[:5] for line in lines) == [f"</{n}xx" for n in range(3)]
    assert all(len(line) > 1000 and line.endswith(">") for line in lines)


def test_few_requests_are_logged_without_waiting_for_more(logged):
    d, log = logged("[listener web]\nbind = @web@\n[route all]\nrespond = 200 x\n", "$path")
    with d.client() as client:
        for n in range(3):
            client.ask(f"/{n}")
            assert log.wait(n + 1)[n] == f"/{n}"


def test_log_is_complete_after_a_stop(logged, origin):
    d, log = logged(plain(origin()), "$path")
    with d.client() as client:
        for n in range(50):
            client.ask(f"/{n}")
    d.signal(signal.SIGQUIT)
    d.wait_exit()
    assert log.lines() == [f"/{n}" for n in range(50)]


@pytest.mark.parametrize("how", ["signal", "rpctl"])
def test_reopen_after_rename(logged, how):
    d, log = logged("[listener web]\nbind = @web@\n[route all]\nrespond = 200 x\n", "$path")
    d.ask("/old")
    log.wait(1)
    moved = log.path.with_suffix(".1")
    log.path.rename(moved)
    d.ask("/still-old")
    wait_until(lambda: "/still-old" in moved.read_text())
    if how == "signal":
        d.signal(signal.SIGUSR1)
        wait_until(log.path.exists)

        def is_new():
            d.ask("/new")
            return log.lines()
        wait_until(is_new)
    else:
        assert d.ctl("reopen").returncode == 0
        d.ask("/new")
        assert log.wait(1) == ["/new"]
    assert "/new" not in Log(moved).lines()[:2]


@pytest.mark.parametrize("how", ["signal", "rpctl"])
def test_rotation_under_load_loses_no_line(logged, how):
    d, log = logged("[listener web]\nbind = @web@\n[route all]\nrespond = 200 x\n", "$path",
                    workers=3)
    rotations, clients, is_over = 20, 6, threading.Event()
    asked = [0] * clients

    def run(k):
        while not is_over.is_set():
            with d.client() as client:
                for _ in range(20):
                    assert client.ask(f"/{k}/{asked[k]}").status == 200
                    asked[k] += 1
    threads = [threading.Thread(target=run, args=(k,)) for k in range(clients)]
    for thread in threads:
        thread.start()
    for n in range(rotations):
        log.wait(1)
        log.path.rename(log.path.with_suffix(f".{n}"))
        if how == "signal":
            d.signal(signal.SIGUSR1)
        else:
            d.ctl("reopen", check=True)
    is_over.set()
    for thread in threads:
        thread.join(60)
    files = [log] + [Log(log.path.with_suffix(f".{n}")) for n in range(rotations)]
    want = sorted(f"/{k}/{n}" for k in range(clients) for n in range(asked[k]))
    assert len(want) >= clients * 20
    wait_until(lambda: sorted(line for one in files for line in one.lines()) == want)
    assert d.worker_total("log_dropped") == 0


def test_error_log_file_is_reopened_too(rpd, tmp_path):
    log = tmp_path / "error.log"
    d = rpd("[listener web]\nbind = @web@\n[route all]\nrespond = 200 x\n",
            globals_=f"log = {log}\n")
    assert log.exists()
    log.rename(log.with_suffix(".1"))
    assert d.ctl("reopen").returncode == 0
    assert log.exists()
    d.reload()
    wait_until(lambda: log.read_text())


def test_access_log_to_stdout(rpd):
    out = subprocess.PIPE
    d = rpd("[listener web]\nbind = @web@\n[route all]\nrespond = 200 x\n", stdout=out,
            globals_="access_log = stdout\naccess_log_format = got $path\n")
    d.ask("/here")
    assert d.proc.stdout.readline() == b"got /here\n"
    d.proc.stdout.close()


def test_log_that_takes_nothing_blocks_nobody(rpd):
    """stdout is a pipe that nobody reads: lines are dropped and counted, requests go on."""
    read, write = os.pipe()
    with os.fdopen(write, "wb") as end:
        d = rpd("[listener web]\nbind = @web@\n[route all]\nrespond = 200 x\n", stdout=end,
                globals_="access_log = stdout\naccess_log_format = $uri\n")
    with d.client() as client:
        for n in range(400):
            assert client.ask("/" + "x" * 1000).status == 200
    d.wait_stats(lambda s: sum(w["log_dropped"] for w in s["workers"]) > 0)
    d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 400)
    os.close(read)
    with d.client() as client:
        assert client.ask().status == 200, "a pipe without reader kills nobody"


def test_log_level(rpd):
    text = "[listener web]\nbind = @web@\n[route all]\nrespond = 200 x\n"
    quiet = rpd(text, globals_="log_level = error\n")
    loud = rpd(text, globals_="log_level = debug\n")
    for d in (quiet, loud):
        d.ask()
        d.reload()
    assert quiet.stderr() == ""
    assert loud.stderr() != ""


def test_access_log_may_be_turned_on_by_a_reload(rpd, tmp_path):
    text = "[listener web]\nbind = @web@\n[route all]\nrespond = 200 x\n"
    d = rpd(text)
    d.ask("/before")
    log = Log(tmp_path / "access.log")
    d.globals_ = f"access_log = {log.path}\naccess_log_format = $path\n"
    d.reload(text)
    d.ask("/after")
    assert log.wait(1) == ["/after"]


def test_logging_to_syslog_serves_with_or_without_one(rpd):
    d = rpd("[listener web]\nbind = @web@\n[route all]\nrespond = 200 x\n",
            globals_="log = syslog\naccess_log = syslog\n")
    for _ in range(3):
        assert d.ask().status == 200
    d.reload()
    assert d.ask().status == 200


def test_log_that_cannot_be_opened_is_an_error(site):
    for key in ("log", "access_log"):
        s = site("[listener web]\nbind = @web@\n[route all]\nrespond = 200 x\n",
                 globals_=f"{key} = /nonexistent/x.log\n")
        done = s.check()
        assert done.returncode == 1
        assert "/nonexistent/x.log" in done.stderr
