"""Active checks: what servers that refuse, hang, fail or come back are worth, and how soon."""

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from harness.daemon import plain
from harness.origin import Origin, echo
from harness.tls_origin import server_context, tls
from harness.util import fd_count, freeze, holds_for, is_alive, patience, wait_until
from test_helper import wait_helper

FAST = "check_interval = 100ms\ncheck_timeout = 300ms\nrise = 2\nfall = 2\n"


def checked(what="http /healthz", more=""):
    return f"check = {what}\n{FAST}{more}"


def server(d, name="s0", backend="pool"):
    return d.stats()["backends"][backend]["servers"][name]


def health(d, name="s0", backend="pool"):
    done = d.ctl("-o", "json", "health", check=True)
    return json.loads(done.stdout)["backends"][backend]["servers"][name]


def wait_state(d, state, name="s0", backend="pool", timeout=10):
    return d.wait_stats(
        lambda s: s["backends"][backend]["servers"][name]["state"] == state,
        timeout)["backends"][backend]["servers"][name]


class Mood:
    """A handler that answers as it is told now."""

    def __init__(self, status="200 OK", body=b"fine"):
        self.status, self.body = status, body
        self.is_silent = self.is_rude = False
        self.release = threading.Event()

    def __call__(self, conn):
        while True:
            conn.request()
            if self.is_silent:
                conn.wait_end()
                return
            if self.is_rude:
                conn.close()
                return
            conn.reply(self.body, self.status, [("Connection", "close")])


def refusing_port():
    """A port that nobody listens at, held so that nobody will."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock, sock.getsockname()[1]


# ---- what is asked, and what answers are worth ----

def test_request_of_a_check(rpd, origin):
    o = origin()
    d = rpd(plain(o, backend=checked("http HEAD /alive 200-299 host=a.test")))
    req = o.wait_requests(1)[0]
    assert (req.method, req.target) == ("HEAD", "/alive")
    assert req.get("Host") == "a.test" and req.get("Connection") == "close"
    assert re.fullmatch(r"rpd/[\d.]+ \(health check\)", req.get("User-Agent"))
    wait_state(d, "up")
    d.reload(plain(o, backend=checked("http /other")))
    wait_until(lambda: o.last().target == "/other")
    assert o.last().get("Host") == o.addr and o.last().method == "GET"


def test_state_follows_the_answers(rpd, origin):
    mood = Mood()
    o = origin(mood)
    d = rpd(plain(o, backend=checked()))
    wait_state(d, "up")
    d.wait_log(r"backend pool: server s0: unchecked -> up: checks passed")
    mood.status = "500 Oops"
    down = wait_state(d, "down")
    assert down["checks_failed"] >= 2
    d.wait_log(r"backend pool: server s0: up -> down: checks failed: status 500")
    told = health(d)
    assert told["check_result"] == "status" and told["check_status"] == 500
    mood.status = "200 OK"
    wait_state(d, "up")
    assert len(re.findall(" -> ", d.stderr())) == 3, "one line a transition"


@pytest.mark.parametrize("kind, result", [
    ("refuses", "refused"), ("hangs", "timeout"), ("500", "status"), ("closes", "closed"),
    ("speaks", "bad answer"), ("body", "body")])
def test_a_server_that_is_bad_is_down_after_one_check(rpd, origin, kind, result):
    """When nothing is known of it the first result decides."""
    held = None
    if kind == "refuses":
        held, port = refusing_port()
        where = f"127.0.0.1:{port}"
    else:
        mood = Mood("500 Oops" if kind == "500" else "200 OK", b"not yet ready")
        mood.is_silent, mood.is_rude = kind == "hangs", kind == "closes"
        handler = (lambda conn: conn.send(b"220 smtp.test ESMTP\r\n")) if kind == "speaks" \
            else mood
        where = origin(handler)
    ask = "http / 200-399 body=ready: yes" if kind == "body" else "http /"
    d = rpd(plain(where, origin(), backend=checked(ask if kind == "body" else ask)
                  .replace("fall = 2", "fall = 100")))
    wait_state(d, "down")
    assert health(d)["check_result"] == result
    if kind != "body":
        wait_state(d, "up", "s1")
        for _ in range(4):
            assert d.ask().status == 200
        assert server(d)["requests_total"] == 0
    if held:
        held.close()


def test_body_is_looked_for(rpd, origin):
    mood = Mood(body=b"state: ready: yes\n")
    o = origin(mood)
    d = rpd(plain(o, backend=checked("http /healthz 200 body=ready: yes")))
    wait_state(d, "up")
    mood.body = b"state: ready: no\n"
    wait_state(d, "down")
    d.wait_log("checks failed: the body has no 'ready: yes'")


def test_tcp_check_connects(rpd, origin):
    o = origin()
    d = rpd(plain(o, backend=checked("tcp")))
    wait_state(d, "up")
    o.close()
    wait_state(d, "down")
    assert health(d)["check_result"] == "refused"
    assert o.requests == [] and len(o.connections) >= 1


def test_unix_socket(rpd, origin, tmp_path):
    o = origin(path=tmp_path / "sock")
    d = rpd(plain(o, backend=checked()))
    wait_state(d, "up")
    assert o.last().get("Host") == "localhost"
    o.close()
    wait_state(d, "down")


@pytest.mark.parametrize("version, header", [("v1", b"PROXY UNKNOWN\r\n"),
                                             ("v2", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0")])
@pytest.mark.parametrize("how", ["http /", "tcp"])
def test_proxy_header_of_a_check(rpd, origin, version, header, how):
    got = []

    def handler(conn):
        got.append(conn.exact(len(header)))
        if how == "tcp":
            conn.wait_end()
        else:
            echo(conn)
    d = rpd(plain(origin(handler), backend=checked(how, f"send_proxy = {version}\n")))
    wait_state(d, "up")
    wait_until(lambda: got)
    assert got[0] == header


def test_a_process_that_is_stopped_is_down_until_it_goes_on(rpd, origin, tmp_path):
    script = ("import http.server as h\n"
              "s = h.ThreadingHTTPServer(('127.0.0.1', 0), h.SimpleHTTPRequestHandler)\n"
              "print(s.server_port, flush=True)\n"
              "s.serve_forever()\n")
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.DEVNULL, cwd=tmp_path) as proc:
        try:
            port = int(proc.stdout.readline())
            d = rpd(plain(f"127.0.0.1:{port}", backend=checked("http /")))
            wait_state(d, "up")
            freeze(proc.pid)
            wait_state(d, "down")
            d.wait_log("checks failed: timeout after 300ms")
            os.kill(proc.pid, signal.SIGCONT)
            wait_state(d, "up")
        finally:
            proc.kill()


def test_a_server_that_flaps_stays_as_it_is(rpd, origin):
    """Alternately good and bad is neither in a row."""
    count = [0]

    def handler(conn):
        conn.request()
        count[0] += 1
        conn.reply(b"", "200 OK" if count[0] % 2 else "500 Oops")
    d = rpd(plain(origin(handler), backend=checked()))
    wait_state(d, "up")
    wait_until(lambda: count[0] >= 12)
    assert len(re.findall(" -> ", d.stderr())) == 1


def test_a_changing_server_is_checked_four_times_as_often(rpd, origin):
    mood, times = Mood(), []

    def handler(conn):
        times.append(time.monotonic())
        mood(conn)
    o = origin(handler)
    d = rpd(plain(o, backend="check = http /\ncheck_interval = 1s\nfall = 4\n"))
    wait_state(d, "up")
    mood.status = "500 Oops"
    wait_state(d, "down")
    gaps = [b - a for a, b in zip(times[-4:], times[-3:])]
    assert len(gaps) == 3 and all(0.2 < gap < patience(0.5) for gap in gaps), gaps


def test_slow_start_comes_before_up(rpd, origin):
    mood = Mood("500 Oops")
    d = rpd(plain(origin(mood), backend=checked(more="slow_start = 500ms\n")))
    wait_state(d, "down")
    mood.status = "200 OK"
    wait_state(d, "up")
    log = re.findall(r"(\w+ -> \w+): ([^\n]*)", d.stderr())
    assert log[-2:] == [("down -> starting", "checks passed"),
                        ("starting -> up", "slow start over")]


def test_admin_down_is_checked_still(rpd, origin):
    mood = Mood()
    d = rpd(plain(origin(mood), origin(), backend=checked(), options=""))
    wait_state(d, "up")
    d.ctl("server", "pool/s0", "down", check=True)
    mood.status = "500 Oops"
    wait_state(d, "down")
    assert server(d)["admin"] == "down"
    d.ctl("server", "pool/s0", "ready", check=True)
    assert server(d)["state"] == "down", "an operator's word is no health"


def test_same_address_in_two_backends(rpd, origin):
    """Each has a check, and a state, of its own."""
    def handler(conn):
        req = conn.request()
        conn.reply(b"", "200 OK" if req.target == "/good" else "500 Oops")
    o = origin(handler)
    d = rpd(plain(o, backend=checked("http /good"))
            + f"\n[backend other]\nserver = {o.addr} name=s0\n{checked('http /bad')}\n"
            + f"\n[backend third]\nserver = {o.addr} name=s0\n\n[route o]\npath = /o\n"
              "backend = other\n\n[route t]\npath = /t\nbackend = third\n")
    wait_state(d, "up")
    wait_state(d, "down", backend="other")
    third = server(d, backend="third")
    assert third["state"] == "unchecked" and third["checks_passed"] == 0
    assert d.ask("/o").status == 503 and d.ask("/good").status == 200


# ---- what rpctl says ----

def test_health_tells_the_last_check_and_why_a_server_is_out(rpd, origin):
    mood = Mood("503 Busy")
    d = rpd(plain(origin(mood), origin(), backend=checked()))
    wait_state(d, "down")
    wait_state(d, "up", "s1")
    table = d.ctl("health", check=True).stdout.splitlines()
    assert re.search(r"because +admin +weight +last check +took +ago +next in", table[0])
    rows = {line.split()[0]: line for line in table[1:] if line.startswith("pool/")}
    assert "down: checks failed: status 503" in rows["pool/s0"]
    assert re.search(r" up +\d+s +checks passed +ready +1 +passed ", rows["pool/s1"])
    told = health(d)
    assert told["reason"] == "checks failed" and told["checks_failed"] > 0
    assert told["why"] == "down: checks failed: status 503"
    assert abs(told["check_at"] - time.time()) < patience(5) and told["check_us"] > 0
    assert told["check_next"] > told["check_at"]
    lines = d.ctl("-o", "csv", "health", check=True).stdout.splitlines()
    assert len({line.count(",") for line in lines}) == 1
    assert "checks_failed" in lines[0] and ",checks failed," in lines[1]
    metrics = d.ctl("-o", "prometheus", "health", check=True).stdout
    assert re.search(r'rpd_server_checks_failed_total\{.*s0.*\} [1-9]', metrics)
    stats = d.ctl("stats", "server", check=True).stdout
    assert "checks_passed" in stats and "expired" not in stats


def test_health_has_no_columns_of_checks_where_there_are_none(rpd, origin):
    d = rpd(plain(origin()))
    assert "last check" not in d.ctl("health", check=True).stdout


# ---- TLS ----

@pytest.mark.parametrize("how", ["http /", "tcp"])
def test_check_over_tls(rpd, origin, pki, how):
    o = origin(leaf=pki.good)
    d = rpd(plain(o, backend=tls(pki) + checked(how)))
    wait_state(d, "up")
    shake = o.handshakes[0]
    assert shake.sni == "www.test" and not shake.is_resumed
    assert shake.alpn == ("http/1.1" if how != "tcp" else None)
    o.close()
    wait_state(d, "down")


@pytest.mark.parametrize("leaf, said", [
    ("expired", "certificate expired"), ("wrong", "certificate of another name"),
    ("stranger", "certificate untrusted")])
def test_certificates_are_verified(rpd, origin, pki, leaf, said):
    o = origin(leaf=getattr(pki, leaf))
    d = rpd(plain(o, backend=tls(pki) + checked("tcp")))
    wait_state(d, "down")
    d.wait_log(f"checks failed: TLS failed: {said}")
    assert health(d)["check_result"] == "TLS failed"
    d.reload(plain(o, backend=tls(pki, tls_verify="off") + checked("tcp")))
    wait_state(d, "up")


@pytest.mark.parametrize("key_process", ["on", "off"])
def test_client_certificate_is_shown(rpd, origin, pki, key_process):
    o = origin(context=server_context(pki.good, client_ca=pki.ca.bundle))
    text = plain(o, backend=tls(pki, tls_certificate="mine") + checked("http /"))
    d = rpd(text + pki.client.section("mine"), globals_=f"key_process = {key_process}\n")
    wait_state(d, "up")
    assert ((("commonName", "rpd itself"),),) == o.handshakes[0].client["subject"]
    if key_process == "on":
        os.kill(d.stats()["rpd"]["keys_pid"], signal.SIGKILL)
    passed = server(d)["checks_passed"]
    d.wait_stats(lambda s: s["backends"]["pool"]["servers"]["s0"]["checks_passed"] > passed + 3)
    os.kill(wait_helper(d), signal.SIGKILL)
    passed = server(d)["checks_passed"]
    d.wait_stats(lambda s: s["backends"]["pool"]["servers"]["s0"]["checks_passed"] > passed + 3)
    assert server(d)["checks_failed"] == 0


def test_server_without_tls_fails_the_handshake(rpd, origin, pki):
    o = origin(lambda conn: conn.send(b"220 smtp.test ESMTP\r\n"))
    d = rpd(plain(o, backend=tls(pki) + checked("tcp")))
    wait_state(d, "down")
    assert health(d)["check_result"] == "TLS failed"


# ---- many ----

def test_a_thousand_servers(rpd, origin):
    """Checked by one process; one that hangs does not hold up the others."""
    def handler(conn):
        conn.request()
        conn.reply(b"")
    o = origin(handler, backlog=4096)
    hanging = origin(lambda conn: conn.wait_end(), backlog=4096)
    n, nhanging = 990, 10
    lines = "".join(f"server = {o.addr} name=a{i}\n" for i in range(n))
    lines += "".join(f"server = {hanging.addr} name=h{i}\n" for i in range(nhanging))
    d = rpd(plain(o, backend=lines + "check = http /\ncheck_interval = 2s\n"))

    def settled(stats):
        servers = stats["backends"]["pool"]["servers"]
        return (all(servers[f"a{i}"]["state"] == "up" for i in range(n))
                and all(servers[f"h{i}"]["state"] == "down" for i in range(nhanging)))
    d.wait_stats(settled, 30)
    assert len(d.helper_pids()) == 1
    d.wait_stats(lambda s: all(s["backends"]["pool"]["servers"][f"a{i}"]["checks_passed"] >= 2
                               for i in range(n)), 30)


def test_those_that_hang_do_not_keep_others_waiting(rpd, origin):
    """More of them than checks are made at a time; who waits has his turn."""
    o = origin(Mood())
    with socket.socket() as silent:  # it takes connections and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen(4096)
        lines = "".join(f"server = 127.0.0.1:{silent.getsockname()[1]} name=h{i}\n"
                        for i in range(1200))
        lines += "".join(f"server = {o.addr} name=g{i}\n" for i in range(20))
        d = rpd(f"[listener web]\nbind = @web@\ndefault_backend = pool\n\n[backend pool]\n"
                f"{lines}{checked()}")

        def settled(stats):
            servers = stats["backends"]["pool"]["servers"]
            return all(s["state"] == ("up" if name[0] == "g" else "down")
                       for name, s in servers.items())
        d.wait_stats(settled, 20)
        for name in ("g0", "h0"):
            checks = server(d, name)
            n = checks["checks_passed"] + checks["checks_failed"]
            d.wait_stats(lambda s, name=name, n=n: sum(
                s["backends"]["pool"]["servers"][name][f"checks_{end}"]
                for end in ("passed", "failed")) > n + 1, 20)


def test_a_backend_that_hangs_does_not_keep_another_waiting(rpd, origin):
    """However many servers it has, and however long its checks may take."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(4096)
        where = f"127.0.0.1:{silent.getsockname()[1]}"
        dead = "".join(f"server = {where} name=h{i}\n" for i in range(1200))
        text = plain(origin(), backend=checked())
        d = rpd(f"{text}\n[backend dead]\n{dead}check = http /\ncheck_interval = 1s\n"
                "check_timeout = 1h\n\n[route dead]\npath = /dead\nbackend = dead\n")
        pid = wait_helper(d)
        wait_until(lambda: fd_count(pid) >= 500)
        passed = server(d)["checks_passed"]
        d.wait_stats(
            lambda s: s["backends"]["pool"]["servers"]["s0"]["checks_passed"] > passed + 5)
        # Waiting, in flight or neither: none of them is left when their backend goes.
        d.reload(text)
        wait_until(lambda: fd_count(pid) < 20)
        passed = server(d)["checks_passed"]
        d.wait_stats(
            lambda s: s["backends"]["pool"]["servers"]["s0"]["checks_passed"] > passed + 2)


def test_checks_that_cannot_be_made_are_no_servers_fault(rpd, origin):
    d = rpd(plain(origin(), backend=checked()))
    wait_state(d, "up")
    pid = wait_helper(d)
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, hard))
    d.wait_log("health checks cannot be made: Too many open files")
    failed = server(d)["checks_failed"]
    holds_for(lambda: server(d)["state"] == "up", 0.5)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
    passed = server(d)["checks_passed"]
    d.wait_stats(lambda s: s["backends"]["pool"]["servers"]["s0"]["checks_passed"] > passed + 2)
    assert server(d)["checks_failed"] == failed == 0


def test_small_backend_is_checked_at_once(rpd, origin):
    origins = [origin() for _ in range(10)]
    d = rpd(plain(*origins, backend="check = http /\ncheck_interval = 1h\n"))
    d.wait_stats(lambda s: all(s["backends"]["pool"]["servers"][f"s{i}"]["state"] == "up"
                               for i in range(10)), 5)


# ---- reload, crash, upgrade ----

def test_reload_keeps_what_checks_know(rpd, origin):
    """Other settings of time, the same question: no state is lost, and nothing is asked anew."""
    mood = Mood()
    o, other = origin(mood), origin()
    slow = "check = http /\ncheck_interval = 1h\n"
    d = rpd(plain(o, backend=slow))
    wait_state(d, "up")
    assert len(o.requests) == 1
    for n in range(5):
        d.reload(plain(o, other, backend=slow + f"rise = {n + 1}\n"))
        wait_state(d, "up", "s1")
        assert server(d)["state"] == "up"
    assert len(o.requests) == 1, "it is not due"
    d.reload(plain(o, other, backend=slow.replace("1h", "200ms")))
    o.wait_requests(3)
    assert " -> down" not in d.stderr()


def test_reload_turns_checks_off_and_on(rpd, origin):
    mood = Mood("500 Oops")
    o = origin(mood)
    d = rpd(plain(o, backend=checked()))
    wait_state(d, "down")
    assert d.ask().status == 503
    d.reload(plain(o))
    wait_state(d, "unchecked")
    d.wait_log("down -> unchecked: not checked any more")
    assert health(d)["check_next"] == 0
    n = len(o.requests)
    holds_for(lambda: len(o.requests) == n, 0.4)
    d.reload(plain(o, backend=checked()))
    wait_state(d, "down")
    mood.status = "200 OK"
    wait_state(d, "up")


def test_last_results_stand_while_the_helper_is_away(rpd, origin):
    bad, good = origin(Mood("500 Oops")), origin()
    d = rpd(plain(bad, good, backend=checked()))
    wait_state(d, "down")
    wait_state(d, "up", "s1")
    for _ in range(3):
        pid = wait_helper(d)
        os.kill(pid, signal.SIGKILL)
        assert server(d)["state"] == "down"
        for _ in range(5):
            assert d.ask().status == 200
    before = server(d)["checks_failed"]
    d.wait_stats(lambda s: s["backends"]["pool"]["servers"]["s0"]["checks_failed"] > before + 2)
    assert server(d)["requests_total"] == 0
    assert len(re.findall("s0: .* -> ", d.stderr())) == 1


def test_upgrade_keeps_states_and_goes_on(rpd, origin):
    mood = Mood("500 Oops")
    d = rpd(plain(origin(mood), origin(), backend=checked()))
    wait_state(d, "down")
    d.upgrade()
    assert server(d)["state"] == "down"
    mood.status = "200 OK"
    wait_state(d, "up")
    assert len(re.findall("s0: .* -> ", d.stderr())) == 2


def test_results_reach_all_workers(rpd, origin):
    mood = Mood()
    bad, good = origin(mood), origin()
    d = rpd(plain(bad, good, backend=checked()), workers=4)
    wait_state(d, "up")
    mood.status = "500 Oops"
    wait_state(d, "down")
    before = server(d)["requests_total"]
    for _ in range(40):
        assert d.ask().status == 200
    assert server(d)["requests_total"] == before


# ---- time, and outliers ----

@pytest.mark.slow
@pytest.mark.parametrize("more, back", [
    ("eject_time = 1m\n", None),
    ("eject_time = 500ms\n", "s0: ejected -> unchecked: ejection over"),
    ("eject_time = 1h\n" + FAST + "check = tcp\n", "s0: ejected -> up: checks passed")])
def test_a_server_that_fails_more_than_the_others_is_ejected(rpd, origin, more, back):
    """One in three of its requests: too few in a row for anything else to notice. It comes back
    by time or by checks, though nobody asks for anything any more."""
    count = [0]

    def sometimes(conn):
        while True:
            conn.request()
            count[0] += 1
            conn.reply(b"", "500 Oops" if count[0] % 3 == 0 else "200 OK")
    good = origin(echo)
    servers = "".join(f"server = {good.addr} name=g{i}\n" for i in range(5))
    d = rpd(plain(origin(sometimes), backend=servers + more))
    stop, failed, counts = threading.Event(), [], [0]
    thread = threading.Thread(target=load, args=(d, 0, stop, failed, counts))
    thread.start()
    try:
        d.wait_log(r"s0: \w+ -> ejected: more failures than the others: 6\d\.\d %", 30)
    finally:
        stop.set()
        thread.join()
    assert server(d)["ejections"] == 1 and set(failed) == {500}
    if back:
        d.wait_log(back)
        return
    assert health(d)["reason"] == "more failures than the others"
    assert re.fullmatch(r"ejected: more failures than the others, for \d+s more",
                        health(d)["why"])
    before = server(d)["requests_total"]
    for _ in range(12):
        assert d.ask().status == 200
    assert server(d)["requests_total"] == before


# ---- under load ----

def load(d, n, stop, failed, counts):
    while not stop.is_set():
        try:
            with d.client() as client:
                for _ in range(20):
                    status = client.ask().status
                    counts[n] += 1
                    if status != 200:
                        failed.append(status)
        except Exception as error:  # shown at the end
            failed.append(repr(error))


def test_one_of_three_servers_killed_under_load(rpd, origin, tmp_path):
    """No request fails that a further try could have hidden."""
    script = ("import http.server as h\n"
              "class H(h.BaseHTTPRequestHandler):\n"
              "    def do_GET(self):\n"
              "        self.send_response(200)\n"  # in one write: an answer is there or is not
              "        self.send_header('Content-Length', '0')\n"
              "        self.end_headers()\n"
              "    def log_message(self, *a):\n"
              "        pass\n"
              "s = h.ThreadingHTTPServer(('127.0.0.1', 0), H)\n"
              "print(s.server_port, flush=True)\n"
              "s.serve_forever()\n")
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.DEVNULL, cwd=tmp_path) as proc:
        victim = f"127.0.0.1:{int(proc.stdout.readline())}"
        d = rpd(plain(victim, origin(), origin(), backend="keepalive = 0\ncheck = http /\n"
                      "check_interval = 500ms\ncheck_timeout = 400ms\nfall = 2\n",
                      route="retries = 2\nretry_on = connect-failure, reset\n"))
        for name in ("s0", "s1", "s2"):
            wait_state(d, "up", name)
        stop, failed, counts = threading.Event(), [], [0] * 3
        threads = [threading.Thread(target=load, args=(d, n, stop, failed, counts))
                   for n in range(3)]
        for thread in threads:
            thread.start()
        wait_until(lambda: sum(counts) > 50)
        proc.kill()
        proc.wait()
        wait_state(d, "down")
        after = server(d)["requests_total"]
        wait_until(lambda n=sum(counts): sum(counts) > n + 50)
        stop.set()
        for thread in threads:
            thread.join()
        assert not is_alive(proc.pid)
        assert not failed, failed[:5]
        assert server(d)["requests_total"] <= after + 3, "who had picked it before"


def test_helper_killed_under_load(rpd, origin):
    """Requests notice nothing, and what is down stays so."""
    d = rpd(plain(origin(Mood("500 Oops")), origin(), origin(), backend=checked()))
    wait_state(d, "down")
    wait_state(d, "up", "s1")
    wait_state(d, "up", "s2")
    stop, failed, counts = threading.Event(), [], [0] * 2
    threads = [threading.Thread(target=load, args=(d, n, stop, failed, counts)) for n in range(2)]
    for thread in threads:
        thread.start()
    pid = 0
    for _ in range(3):
        pid = wait_helper(d, not_=pid)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda n=sum(counts): sum(counts) > n + 50)
    wait_helper(d, not_=pid)
    stop.set()
    for thread in threads:
        thread.join()
    assert not failed, failed[:5]
    assert server(d)["requests_total"] == 0
