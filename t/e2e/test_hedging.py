"""hedge_after: what takes long is asked of a second server; the first answer is the client's."""

import random
import threading
import time

import pytest

from harness.client import request_bytes
from harness.daemon import plain
from harness.origin import answer, upgrade_echo
from harness.util import freeze, holds_for, pattern, sha, times, wait_until
from test_retries import ALL, counts, process  # noqa: F401  (a fixture)


class Gate:
    """An origin handler that answers when it is opened; until then, never."""

    def __init__(self, status="200 OK"):
        self.event, self.status = threading.Event(), status
        self.shuts = threading.Event()

    def __call__(self, conn):
        while True:
            req = conn.request()
            self.event.wait(30)
            if self.shuts.is_set():
                conn.reset()
                return
            if self.status == "200 OK":
                answer(conn, req)
            else:
                conn.reply(b"its own", self.status)

    def open(self):
        self.event.set()

    def shut(self):
        """Breaks off instead."""
        self.shuts.set()
        self.event.set()


@pytest.fixture
def pair(rpd, origin):
    """Two servers behind gates and a client whose request is at both: pair(route) -> ..."""
    def make(route="", method="GET", body=None, gates=None, **kw):
        gates = gates or (Gate(), Gate())
        servers = [origin(gate) for gate in gates]
        d = rpd(plain(*servers, route="hedge_after = 50ms\n" + route, **kw), workers=1)
        client = d.client()
        client.send(request_bytes(method, "/x", body=body))
        for one in servers:
            one.wait_requests(1)
        return d, client, gates, servers
    return make


def hedges(b):
    return b["hedges"], b["hedges_won"]


@pytest.mark.parametrize("winner", [0, 1])
def test_the_first_answer_is_taken(pair, winner):
    d, client, gates, servers = pair()
    gates[winner].open()
    res = client.response()
    assert res.status == 200 and servers[winner].name in res.body.decode()
    b = counts(d)
    assert hedges(b) == (1, winner)
    assert b["retries"] == 0
    loser = b["servers"][f"s{1 - winner}"]
    assert loser["failures"] == 0 and loser["requests_total"] == 1
    gates[1 - winner].open()
    client.send(request_bytes(target="/y"))  # nobody hears of the other answer
    assert client.response().status == 200


def test_what_is_answered_in_time_is_asked_once(rpd, origin):
    servers = [origin(), origin()]
    d = rpd(plain(*servers, route="hedge_after = 10s"), workers=1)
    for _ in range(10):
        assert d.ask().status == 200
    assert hedges(counts(d, 10)) == (0, 0)
    assert sum(len(o.requests) for o in servers) == 10


@pytest.mark.parametrize("bad", [0, 1])
def test_when_one_fails_the_other_goes_on(pair, bad):
    d, client, gates, servers = pair("retry_on = reset")
    gates[bad].shut()
    d.wait_stats(lambda s: s["backends"]["pool"]["servers"][f"s{bad}"]["failures"] == 1)
    assert d.stats()["backends"]["pool"]["active"] == 1
    gates[1 - bad].open()
    assert client.response().status == 200
    b = counts(d)
    assert hedges(b) == (1, 1 - bad) and b["retries"] == 0
    assert [len(o.requests) for o in servers] == [1, 1]


def test_when_both_fail_the_client_is_told(pair):
    d, client, gates, _ = pair("retry_on = reset\nretries = 3")
    gates[0].shut()
    d.wait_stats(lambda s: s["backends"]["pool"]["servers"]["s0"]["failures"] == 1)
    gates[1].shut()
    res = client.response()
    assert res.status == 502 and res.has("Proxy-Status")
    b = counts(d)
    assert hedges(b) == (1, 0) and b["retries"] == 0


def test_when_both_fail_a_third_may_be_tried(rpd, origin):
    gates = Gate(), Gate()
    servers = [origin(gates[0]), origin(gates[1]), origin()]
    d = rpd(plain(*servers, route="hedge_after = 50ms\nretry_on = reset"), workers=1)
    with d.client() as client:
        client.send(request_bytes())
        for one in servers[:2]:
            one.wait_requests(1)
        gates[1].shut()
        d.wait_stats(lambda s: s["backends"]["pool"]["servers"]["s1"]["failures"] == 1)
        gates[0].shut()
        assert client.response().status == 200
    b = counts(d)
    assert hedges(b) == (1, 0) and b["retries_reset"] == 1
    assert [len(o.requests) for o in servers] == [1, 1, 1]


def test_an_answer_of_503_leaves_it_to_the_other(pair):
    d, client, gates, _ = pair("retry_on = 503", gates=(Gate("503 Busy"), Gate()))
    gates[0].open()
    d.wait_stats(lambda s: s["backends"]["pool"]["servers"]["s0"]["status_5xx"] == 1)
    gates[1].open()
    assert client.response().status == 200
    assert hedges(counts(d)) == (1, 1)


def test_a_client_that_leaves_ends_both(pair):
    d, client, _, servers = pair()
    client.close()
    d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 1)
    b = counts(d)
    assert b["servers"]["s0"]["failures"] == b["servers"]["s1"]["failures"] == 0
    assert hedges(b) == (1, 0)


def test_a_body_that_is_kept_goes_to_both(pair):
    body = pattern(60000)
    d, client, gates, servers = pair("retry_on = reset", "PUT", body)
    gates[1].open()
    assert client.response("PUT").status == 200
    assert [o.last().sha for o in servers] == [sha(body)] * 2
    assert hedges(counts(d)) == (1, 1)


@pytest.mark.parametrize("request_", [
    request_bytes("POST", "/x", body=b""),
    request_bytes("POST", "/x", body=b"hello"),
    request_bytes("PATCH", "/x", body=b"hello"),
    request_bytes("PUT", "/x", [("Content-Length", "5")]) + b"hell",
], ids=["POST", "POST with a body", "PATCH", "a body under way"])
def test_what_has_a_side_effect_or_is_not_all_there_is_not_hedged(rpd, origin, request_):
    gates = Gate(), Gate()
    servers = [origin(gate) for gate in gates]
    d = rpd(plain(*servers, route="hedge_after = 20ms\nretry_on = reset"), workers=1)
    with d.client() as client:
        client.send(request_)
        wait_until(lambda: servers[0].heads)
        holds_for(lambda: not servers[1].heads, 0.15)
        assert hedges(d.stats()["backends"]["pool"]) == (0, 0)


def test_an_upgrade_is_not_hedged(rpd, origin):
    gate = threading.Event()

    def slow(conn):
        gate.wait(30)
        upgrade_echo(conn)
    one, two = origin(slow), origin()
    d = rpd(plain(one, two, route="hedge_after = 20ms"), workers=1)
    with d.client() as client:
        client.send(request_bytes(headers=[("Connection", "Upgrade"), ("Upgrade", "websocket")]))
        wait_until(lambda: one.connections)
        holds_for(lambda: not two.connections, 0.15)
        gate.set()
        assert client.response().status == 101
        client.send(b"hello")
        assert client.exact(5) == b"hello"


def test_long_is_what_most_do_not_take(rpd, origin):
    """A quantile, of what all workers have counted, and not before a hundred requests."""
    gate = threading.Event()

    def handler(conn):
        while True:
            req = conn.request()
            if req.target == "/slow":
                gate.wait(30)
            conn.reply(b"")
    servers = [origin(handler), origin(handler)]
    d = rpd(plain(*servers, route="hedge_after = p95"), workers=2)
    with d.client() as client:
        client.send(request_bytes(target="/slow"))
        wait_until(lambda: any(o.requests for o in servers))
        holds_for(lambda: sum(len(o.requests) for o in servers) == 1, 0.15)
        gate.set()
        assert client.response().status == 200
        gate.clear()
    with d.client() as client:
        for _ in range(150):
            assert client.ask().status == 200

    def slow_is_hedged():
        before = sum(len(o.requests) for o in servers)
        with d.client() as client:
            client.send(request_bytes(target="/slow"))
            try:
                wait_until(lambda: sum(len(o.requests) for o in servers) == before + 2, 0.3)
                return True
            except AssertionError:
                return False
    wait_until(slow_is_hedged, 20)  # each worker looks every few seconds
    gate.set()


def test_hedges_keep_to_the_budget(rpd, origin):
    gates = Gate(), Gate()
    servers = [origin(gate) for gate in gates]
    d = rpd(plain(*servers, route="hedge_after = 20ms", backend="retry_budget = 10%"), workers=1)
    clients = [d.client() for _ in range(60)]
    for client in clients:
        client.send(request_bytes())
    d.wait_stats(lambda s: (b := s["backends"]["pool"])["hedges"]
                 + b["retries_over_budget"] == 60)
    b = d.stats()["backends"]["pool"]
    assert 10 <= b["hedges"] <= 30 and b["retries_over_budget"] >= 30
    for gate in gates:
        gate.open()
    for client in clients:
        assert client.response().status == 200
    counts(d, 60)


def test_a_server_that_stands_still_is_hardly_noticed(rpd, process):  # noqa: F811
    servers = [process() for _ in range(3)]
    d = rpd(plain(*(addr for _, addr in servers), backend="retry_budget = 100%\neject_after = 0",
                  route="hedge_after = 50ms\ntimeout_response = 60s"), workers=1)
    with d.client() as client:
        for _ in range(6):
            assert client.ask().status == 200
        freeze(servers[1][0].pid)
        for _ in range(15):
            assert client.ask().status == 200
    b = counts(d, 21)
    assert b["hedges_won"] >= 5 and b["servers"]["s1"]["failures"] == 0


def test_a_reload_while_two_are_under_way(pair, origin):
    d, client, gates, servers = pair()
    new = origin()
    d.reload(plain(new).replace("name=s0", "name=new"))
    gates[1].open()
    assert client.response().status == 200
    client.send(request_bytes(target="/y"))
    assert client.response().status == 200
    assert len(new.requests) == 1
    d.wait_stats(lambda s: s["backends"]["pool"]["requests_total"] == 2)


def test_everything_at_once(rpd, origin):
    """Whatever servers and clients do: requests end, each is counted once, no place is lost."""
    dice = random.Random(11)

    def moody(conn):
        while True:
            req = conn.request()
            mood = dice.random()
            if mood < 0.1:
                conn.reset()
                return
            if mood < 0.2:
                return
            if mood < 0.3:
                conn.reply(b"no", "503 Busy")
                continue
            if mood < 0.4:
                conn.wait_end()
                return
            if mood < 0.5:
                conn.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Le")
                return
            if mood < 0.7:
                time.sleep(dice.random() * 0.06)
            conn.reply(req.body)
    servers = [origin(moody) for _ in range(4)]
    d = rpd(plain(*servers, options="max_conns=6", backend="retry_budget = 100%\neject_after = 0",
                  route="hedge_after = 10ms\nretries = 3\nretry_timeout = 40ms\n"
                  f"timeout_response = 300ms\nretry_on = {ALL}"), workers=2)
    n, seen, failed = times(100), [], []

    def ask(own):
        body = pattern(own.choice((0, 10, 20000, 70000)))
        method = own.choice(("GET", "GET", "PUT", "POST"))
        with d.client() as client:
            client.send(request_bytes(method, body=body if method != "GET" else None))
            if own.random() < 0.1:
                return
            res = client.response()
        seen.append(res.status)
        if res.status not in (200, 502, 503, 504):
            failed.append(res)
        elif res.status == 200 and res.body != (body if method != "GET" else b""):
            failed.append(res)

    def run(seed):
        own = random.Random(seed)
        for _ in range(n):
            try:
                ask(own)
            except Exception as error:
                failed.append(error)
    load = [threading.Thread(target=run, args=(seed,)) for seed in range(8)]
    for one in load:
        one.start()
    for one in load:
        one.join()
    assert not failed
    b = d.wait_stats(lambda s: s["backends"]["pool"]["active"] == 0)["backends"]["pool"]
    assert all(s["active"] == 0 for s in b["servers"].values())
    assert b["hedges"] > b["hedges_won"] > 0 and b["retries_timeout"] > 0
    assert len(seen) > n * 6 and seen.count(200) > len(seen) * 0.7
