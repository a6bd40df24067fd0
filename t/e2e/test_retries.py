"""Failures that clients do not see: what is tried again at another server, what is not, and how
often at most."""

import pathlib
import random
import signal
import subprocess
import sys
import threading

import pytest

from harness.client import request_bytes
from harness.daemon import plain
from harness.util import pattern, sha, wait_until
from harness.wire import chunked

ALL = "connect-failure, reset, timeout, 502, 503, 504"
KINDS = ("connect", "reset", "timeout", "status")


def break_off(conn):
    conn.request()
    conn.reset()


def close_early(conn):
    conn.request()


def half_a_head(conn):
    conn.request()
    conn.send("HTTP/1.1 200 OK\r\nContent-Le")


def nonsense(conn):
    conn.request()
    conn.send("nonsense\r\n\r\n")


def hang(conn):
    conn.request()
    conn.wait_end()


def says(status):
    def handler(conn):
        while True:
            conn.request()
            conn.reply(b"its own", f"{status} Of Mine", [("X-Own", "yes")])
    handler.__name__ = f"says_{status}"
    return handler


# How a first server fails: what retry_on calls it, what it is counted as, what the client gets if
# it is not tried again.
FAILURES = [
    (break_off, "reset", "reset", 502),
    (close_early, "reset", "reset", 502),
    (half_a_head, "reset", "reset", 502),
    (nonsense, "reset", "reset", 502),
    (hang, "timeout", "timeout", 504),
    (says(502), "502", "status", 502),
    (says(503), "503", "status", 503),
    (says(504), "504", "status", 504),
    ("refuses", "connect-failure", "connect", 503),
]
IDS = [getattr(f[0], "__name__", f[0]) for f in FAILURES]


def make(origin, how):
    if how != "refuses":
        return origin(how)
    one = origin()
    one.close()
    return one


def counts(d, n=1):
    """The backend's counters once n requests are over; they must be in order."""
    stats = d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == n)
    b = stats["backends"]["pool"]
    assert b["retries"] == sum(b[f"retries_{kind}"] for kind in KINDS)
    assert b["retries"] == stats["routes"]["all"]["retries"]
    assert b["active"] == 0 and all(s["active"] == 0 for s in b["servers"].values())
    assert b["requests_total"] == n
    return b


@pytest.mark.parametrize("how, word, kind, status", FAILURES, ids=IDS)
def test_a_failure_that_retry_on_names_is_hidden(rpd, origin, how, word, kind, status):
    bad, good = make(origin, how), origin()
    d = rpd(plain(bad, good, route=f"retry_on = {word}\nretry_timeout = 200ms"), workers=1)
    assert d.ask("/x").status == 200
    b = counts(d)
    assert b["retries"] == b[f"retries_{kind}"] == 1
    assert len(good.requests) == 1
    server = b["servers"]["s0"]
    assert server["failures"] == (kind != "status")
    assert server["status_5xx"] == (kind == "status")


@pytest.mark.parametrize("how, word, kind, status", FAILURES, ids=IDS)
def test_one_that_it_does_not_name_is_not(rpd, origin, how, word, kind, status):
    bad, good = make(origin, how), origin()
    others = ", ".join(w for w in ALL.split(", ") if w != word)
    d = rpd(plain(bad, good, route=f"retry_on = {others}\ntimeout_response = 200ms"), workers=1)
    res = d.ask("/x")
    assert res.status == status
    assert res.has("Proxy-Status") != (kind == "status")
    assert counts(d)["retries"] == 0 and not good.requests


@pytest.mark.parametrize("how, word, kind, status", FAILURES, ids=IDS)
def test_a_post_is_sent_once(rpd, origin, how, word, kind, status):
    bad, good = make(origin, how), origin()
    d = rpd(plain(bad, good, route=f"retry_on = {ALL}\ntimeout_response = 200ms"), workers=1)
    res = d.ask("/echo", "POST", body=b"payload")
    if kind == "connect":
        assert (res.status, res.body) == (200, b"payload"), "nobody had heard of it"
        assert counts(d)["retries_connect"] == 1
    else:
        assert res.status == status
        assert len(bad.requests) == 1 and not good.requests
        assert counts(d)["retries"] == 0


def test_the_last_answer_is_passed_on_as_it_is(rpd, origin):
    servers = [origin(says(503)) for _ in range(3)]
    d = rpd(plain(*servers, route=f"retry_on = {ALL}\nretries = 5"), workers=1)
    res = d.ask()
    assert (res.status, res.reason, res.body) == (503, "Of Mine", b"its own")
    assert res.get("X-Own") == "yes" and not res.has("Proxy-Status")
    assert [len(o.requests) for o in servers] == [1, 1, 1], "each server once"
    assert counts(d)["retries_status"] == 2


def test_retries_are_as_many_as_said(rpd, origin):
    servers = [origin(break_off) for _ in range(4)] + [origin()]
    d = rpd(plain(*servers, route=f"retry_on = {ALL}\nretries = 2"), workers=1)
    res = d.ask()
    assert res.status == 502 and res.has("Proxy-Status")
    assert [len(o.requests) for o in servers] == [1, 1, 1, 0, 0]
    assert counts(d)["retries_reset"] == 2


def test_the_log_tells_of_them(rpd, origin, tmp_path):
    log = tmp_path / "access"
    d = rpd(plain(origin(break_off), origin(says(503)), origin(),
                  route=f"retry_on = {ALL}\nretries = 2"), workers=1,
            globals_=f"access_log = {log}\naccess_log_format = $status $retries $server")
    assert d.ask().status == 200
    counts(d)
    wait_until(lambda: log.exists() and log.read_text() == "200 2 s2\n")


def test_an_answer_that_has_begun_is_not_taken_back(rpd, origin):
    def dies_within(conn):
        conn.request()
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello")
    bad, good = origin(dies_within), origin()
    d = rpd(plain(bad, good, route=f"retry_on = {ALL}"), workers=1)
    with d.client() as client:
        client.send(request_bytes())
        assert client.until_eof().endswith(b"hello")
    assert counts(d)["retries"] == 0 and not good.requests


def test_who_has_nowhere_else_to_go_waits_on(rpd, origin):
    """retry_timeout is for those who have."""
    gate = threading.Event()

    def slow(conn):
        conn.request()
        gate.wait(20)
        conn.reply(b"late")
    one, two = origin(hang), origin(slow)
    d = rpd(plain(one, two, route=f"retry_on = {ALL}\nretry_timeout = 100ms"), workers=1)
    with d.client() as client:
        client.send(request_bytes())
        d.wait_stats(lambda s: s["backends"]["pool"]["retries_timeout"] == 1)
        wait_until(lambda: two.requests)
        threading.Timer(0.4, gate.set).start()
        assert client.response().body == b"late"


# ---- bodies ----

def takes(n, then):
    """Reads a head and n bytes behind it, and breaks off: then is "close" or "reset"."""
    def handler(conn):
        conn.request_head()
        conn.exact(n)
        if then == "reset":
            conn.reset()
    return handler


@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize("size, taken, is_hidden", [
    (10000, 0, True), (10000, 4000, True), (65536, 60000, True), (65537, 60000, False)])
def test_a_body_is_said_again_up_to_retry_buffer(rpd, origin, size, taken, is_hidden, then):
    bad, good = origin(takes(taken, then)), origin()
    d = rpd(plain(bad, good, route=f"retry_on = {ALL}"), workers=1)
    body = pattern(size)
    with d.client() as client:
        client.send(request_bytes("PUT", "/x", body=body[:taken]).replace(
            b"Content-Length: %d" % taken, b"Content-Length: %d" % size))
        wait_until(lambda: bad.connections and bad.connections[0].is_ended.is_set())
        client.send(body[taken:])
        res = client.response("PUT")
    assert (res.status == 200) == is_hidden, res
    if is_hidden:
        assert good.last().sha == sha(body) and good.last().framing == "length"
    else:
        assert res.status == 502 and not good.heads


@pytest.mark.parametrize("size, is_hidden", [(10000, True), (65536, True), (65537, False)])
def test_a_chunked_body_too(rpd, origin, size, is_hidden):
    def reads_all(conn):
        conn.request()
        conn.reset()
    bad, good = origin(reads_all), origin()
    d = rpd(plain(bad, good, route=f"retry_on = {ALL}"), workers=1)
    body = pattern(size)
    with d.client() as client:
        client.send(request_bytes("PUT", "/x", [("Transfer-Encoding", "chunked"),
                                                ("Trailer", "X-Sum")]))
        client.send(chunked(*(body[i:i + 3000] for i in range(0, size, 3000)),
                            trailers=[("X-Sum", "42")]))
        res = client.response("PUT")
    assert (res.status == 200) == is_hidden, res
    if is_hidden:
        assert good.last().sha == sha(body) and good.last().framing == "chunked"
        assert good.last().trailers == [("X-Sum", "42")]


def test_a_long_body_with_room_for_it(rpd, origin):
    size = 3 << 20
    bad, good = origin(takes(1 << 20, "reset")), origin()
    d = rpd(plain(bad, good, route=f"retry_on = {ALL}\nretry_buffer = 4m"), workers=1)
    res = d.ask("/x", "PUT", body=pattern(size))
    assert res.status == 200 and good.last().sha == sha(pattern(size))


def test_a_body_taken_in_first_has_no_limit(rpd, origin):
    size = 1 << 20
    bad, good = origin(takes(1 << 19, "reset")), origin()
    d = rpd(plain(bad, good, route=f"retry_on = {ALL}\nbuffer_request = on"), workers=1)
    res = d.ask("/x", "PUT", body=pattern(size))
    assert res.status == 200 and good.last().sha == sha(pattern(size))


def test_the_client_is_told_to_continue_once(rpd, origin):
    def says_continue(conn):
        conn.request_head()
        conn.send("HTTP/1.1 100 Continue\r\n\r\n")
    bad, good = origin(says_continue), origin()
    d = rpd(plain(bad, good, route=f"retry_on = {ALL}"), workers=1)
    with d.client() as client:
        client.send(request_bytes("PUT", "/x", [("Expect", "100-continue"),
                                                ("Content-Length", "5")]))
        assert client.response_head().status == 100
        wait_until(lambda: good.heads)
        client.send(b"hello")
        res = client.response("PUT")
    assert res.status == 200 and not res.interim
    assert good.last().body == b"hello" and not good.last().has("Expect")


# ---- how many ----

def crowd(d, n, threads=8, **kw):
    """n requests at once by several; their statuses."""
    statuses, lock = [], threading.Lock()

    def run(share):
        with d.client() as client:
            for _ in range(share):
                status = client.ask(**kw).status
                with lock:
                    statuses.append(status)
    workers = [threading.Thread(target=run, args=(n // threads,)) for _ in range(threads)]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    return statuses


def test_a_backend_that_is_down_is_not_asked_twice_as_much(rpd, origin):
    servers = [origin(says(503)) for _ in range(3)]
    d = rpd(plain(*servers, route=f"retry_on = {ALL}\nretries = 2",
                  backend="retry_budget = 10%\neject_after = 0"), workers=1)
    n = 800
    assert set(crowd(d, n)) == {503}
    b = counts(d, n)
    seconds = 60  # a token each, should it take that long
    assert 10 <= b["retries"] <= 10 + n // 10 + seconds
    assert b["retries_over_budget"] > 0
    assert sum(len(o.requests) for o in servers) == n + b["retries"]


def test_tcp_connects_count_too(rpd, origin):
    from harness.origin import tcp_echo
    gone, good = make(origin, "refuses"), origin(tcp_echo)
    d = rpd(plain(gone, good, listener="mode = tcp"), workers=1)
    for _ in range(3):
        with d.client() as client:
            client.send(b"hello")
            assert client.exact(5) == b"hello"
    b = counts(d, 3)
    assert b["retries"] == b["retries_connect"] >= 1


# ---- servers that come and go ----

def test_connections_closed_idle_at_random_are_nobodys_trouble(rpd, origin):
    dice = random.Random(7)

    def fickle(conn):
        is_on = True
        while is_on:
            req = conn.request()
            conn.reply(req.body)
            is_on = dice.random() < 0.7
    d = rpd(plain(origin(fickle), origin(fickle), route=f"retry_on = {ALL}",
                  backend="retry_budget = 100%"), workers=1)
    assert set(crowd(d, 200, method="PUT", body=pattern(5000))) == {200}
    assert set(crowd(d, 200)) == {200}
    counts(d, 400)


SERVER = """
import signal, sys
sys.path.insert(0, sys.argv[1])
from harness.origin import Origin
one = Origin()
print(one.addr, flush=True)
signal.pause()
"""


@pytest.fixture
def process():
    """Makes servers that are processes: process() -> (Popen, address)."""
    made = []

    def make_one():
        one = subprocess.Popen([sys.executable, "-B", "-c", SERVER,
                                str(pathlib.Path(__file__).parent)], stdout=subprocess.PIPE,
                               text=True)
        made.append(one)
        return one, one.stdout.readline().strip()
    yield make_one
    for one in made:
        one.kill()
        one.wait()
        one.stdout.close()


def test_a_server_killed_under_load_is_not_missed(rpd, process):
    """No check finds it: failures alone do. Its answers come in one piece, or not at all."""
    servers = [process() for _ in range(3)]
    d = rpd(plain(*(addr for _, addr in servers), route=f"retry_on = {ALL}\nretries = 2",
                  backend="retry_budget = 50%"), workers=2)
    answered, failed, is_over = [], [], threading.Event()

    def run():
        with d.client() as client:
            try:
                while not is_over.is_set():
                    answered.append(client.ask().status)
            except Exception as error:
                failed.append(error)
    load = [threading.Thread(target=run) for _ in range(12)]
    for one in load:
        one.start()
    wait_until(lambda: len(answered) > 300)
    servers[1][0].send_signal(signal.SIGKILL)
    d.wait_stats(lambda s: s["backends"]["pool"]["servers"]["s1"]["failures"] > 0)
    more = len(answered) + 300
    wait_until(lambda: len(answered) > more or failed)
    is_over.set()
    for one in load:
        one.join()
    assert not failed and set(answered) == {200}
    b = counts(d, len(answered))
    assert b["retries_over_budget"] == 0


def test_a_reload_between_two_tries(rpd, origin):
    first, gone, new = origin(hang), origin(), origin()
    route = f"retry_on = {ALL}\nretry_timeout = 1s"
    d = rpd(plain(first, gone, route=route), workers=1)
    with d.client() as client:
        client.send(request_bytes(target="/x"))
        wait_until(lambda: first.requests)
        d.reload(plain(first, route=route).replace("name=s0", "name=s0 down")
                 + f"server = {new.addr} name=new\n")
        assert client.response().status == 200
    assert len(new.requests) == 1 and not gone.requests
