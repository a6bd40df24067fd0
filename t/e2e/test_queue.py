"""Waiting for a server, over workers: who goes first, what the others are told, and loads that all
workers count together."""

import os
import signal

import pytest

from harness.client import request_bytes
from harness.moods import Holder, crowd, pool
from harness.util import wait_until
from harness.wire import Eof


def waiting(d):
    return d.stats()["backends"]["pool"]["queued"]


def test_least_conn_is_shared_by_workers(rpd, origin):
    hold = Holder()
    origins = [origin(hold) for _ in range(3)]
    d = rpd(pool(*[(o, "") for o in origins], backend="balance = least_conn"), workers=2)
    clients = [d.client() for _ in range(24)]
    for n, client in enumerate(clients):
        client.send(request_bytes())
        wait_until(lambda: sum(len(o.requests) for o in origins) == n + 1)
        counts = [len(o.requests) for o in origins]
        assert max(counts) - min(counts) <= 1, counts
    assert all(w["connections"] > 0 for w in d.stats()["workers"]), "both had some"
    hold.gate.release(24)
    for client in clients:
        assert client.response().status == 200


def test_max_conns_are_shared_by_workers(rpd, origin):
    """While many come and go, no origin ever has more than its own."""
    hold = Holder()
    origins = [origin(hold), origin(hold)]
    d = rpd(pool((origins[0], "max_conns=3"), (origins[1], "max_conns=2")), workers=2)
    clients = [d.client() for _ in range(20)]
    for client in clients:
        client.send(request_bytes())
    d.wait_stats(lambda s: s["backends"]["pool"]["queued"] == 15)
    for done in range(20):
        wait_until(lambda: sum(len(o.requests) for o in origins) == min(5 + done, 20))
        one = d.stats()["backends"]["pool"]["servers"]
        assert one["o0"]["active"] <= 3 and one["o1"]["active"] <= 2
        hold.gate.release()
        wait_until(lambda: sum(s["requests_total"] for s in
                               d.stats()["backends"]["pool"]["servers"].values()) == done + 1)
    for client in clients:
        assert client.response().status == 200
    assert len(origins[0].connections) <= 3 * 2 and len(origins[1].connections) <= 2 * 2


def test_the_queue_is_fair_over_workers(rpd, origin):
    hold = Holder()
    o = origin(hold)
    d = rpd(pool((o, "max_conns=1"), backend="queue_timeout = 60s"), workers=2)
    clients = crowd(d, 14)
    for n in range(14):
        hold.gate.release()
        assert clients[n].response().body == f"o0 /{n}".encode()
    assert [r.target for r in o.requests] == [f"/{n}" for n in range(14)]


def test_a_queued_client_that_leaves_frees_its_place(rpd, origin):
    hold = Holder()
    o = origin(hold)
    d = rpd(pool((o, "max_conns=1"), backend="queue = 1\nqueue_timeout = 60s"), workers=1)
    first, gone = d.client(), d.client()
    first.send(request_bytes())
    wait_until(lambda: o.requests)
    gone.send(request_bytes())
    wait_until(lambda: waiting(d) == 1)
    assert d.ask().status == 503
    gone.reset()
    wait_until(lambda: waiting(d) == 0)
    after = d.client()
    after.send(request_bytes(target="/after"))
    wait_until(lambda: waiting(d) == 1)
    hold.gate.release(2)
    assert first.response().status == 200
    assert after.response().body == b"o0 /after"


@pytest.mark.parametrize("queue, why", [("queue = 0", "queue full"),
                                        ("queue_timeout = 100ms", "queue timeout")])
def test_who_is_refused_is_told_when_to_come_back(rpd, origin, queue, why):
    hold = Holder()
    o = origin(hold)
    d = rpd(pool((o, "max_conns=1"), backend=queue))
    with d.client() as first:
        first.send(request_bytes())
        wait_until(lambda: o.requests)
        res = d.ask()
        assert res.status == 503 and res.get("Retry-After") == "1" and why in str(res.body)
        hold.gate.release()
        assert first.response().status == 200


def test_without_a_server_clients_are_told_to_come_back(rpd, origin):
    res = rpd(pool((origin(), "down"))).ask()
    assert res.status == 503 and res.get("Retry-After") == "1"


def test_the_answer_of_a_server_is_its_own(rpd, origin):
    d = rpd(pool((origin(), "")))
    res = d.ask("/status/503")
    assert res.status == 503 and not res.has("Retry-After")


def test_queued_requests_go_to_whoever_comes_back(rpd, origin):
    hold = Holder()
    one, other = origin(hold), origin()
    d = rpd(pool((one, "max_conns=1"), (other, "down"), backend="queue_timeout = 60s"))
    clients = [d.client() for _ in range(6)]
    for client in clients:
        client.send(request_bytes())
    d.wait_stats(lambda s: s["backends"]["pool"]["queued"] == 5)
    d.ctl("server", "pool/o1", "ready", check=True)
    wait_until(lambda: len(other.requests) == 5)
    hold.gate.release()
    for client in clients:
        assert client.response().status == 200


def test_who_waits_in_a_worker_that_dies_holds_nobody_up(rpd, origin):
    hold = Holder()
    o = origin(hold)
    d = rpd(pool((o, "max_conns=1"), backend="queue_timeout = 60s"), workers=2)
    clients = [d.client() for _ in range(12)]
    for n, client in enumerate(clients):
        client.send(request_bytes())
        d.wait_stats(lambda s: s["backends"]["pool"]["active"] == n + 1)
    os.kill(d.worker_pids()[0], signal.SIGKILL)
    hold.gate.release(24)
    answers = []
    for client in clients:
        try:
            answers.append(client.response().status)
        except (Eof, ConnectionError):
            answers.append(None)  # it was the dead one's
    assert set(answers) <= {200, None}, answers
    assert d.ask().status == 200
