"""Who gets a request: weights, least_conn, backup, down, max_conns and its queue, retries."""

import time

import pytest

from harness.client import request_bytes
from harness.daemon import plain
from harness.moods import Holder, crowd, pool, servers_of
from harness.util import holds_for, patience, wait_until


def dead(origin):
    """An address where nothing listens (any more)."""
    one = origin()
    one.close()
    return one


@pytest.mark.parametrize("weights", [(1, 1), (3, 1), (5, 2, 1)])
def test_requests_are_shared_by_weight(rpd, origin, weights):
    servers = [origin() for _ in weights]
    d = rpd(pool(*[(o, f"weight={w}") for o, w in zip(servers, weights)]), workers=1)
    seen = servers_of(d, sum(weights) * 10)
    assert [seen.count(o.name) for o in servers] == [w * 10 for w in weights]


def test_weights_are_spread_smoothly(rpd, origin):
    servers = [origin(), origin()]
    d = rpd(pool((servers[0], "weight=3"), (servers[1], "weight=3")), workers=1)
    seen = servers_of(d, 12)
    assert all(a != b for a, b in zip(seen, seen[1:])), seen


def test_shares_hold_over_several_workers(rpd, origin):
    servers = [origin(), origin()]
    d = rpd(pool((servers[0], "weight=3"), (servers[1], "")))
    for _ in range(80):
        assert d.ask().status == 200
    counts = [len(o.requests) for o in servers]
    assert sum(counts) == 80 and abs(counts[0] - 60) <= 4, counts


def test_least_conn_prefers_the_idle_server(rpd, origin):
    hold = Holder()
    busy, idle = origin(hold), origin()
    d = rpd(pool((busy, ""), (idle, ""), backend="balance = least_conn"), workers=1)
    waiting = []
    while not busy.requests:
        client = d.client()
        client.send(request_bytes())
        waiting.append(client)
        wait_until(lambda: len(busy.requests) + len(idle.requests) == len(waiting))
        if not busy.requests:
            client.response()
    before = len(busy.requests)
    for _ in range(20):
        assert d.ask().status == 200
    assert len(busy.requests) == before
    hold.gate.release(50)
    assert waiting[-1].response().status == 200


def test_least_conn_respects_weight(rpd, origin):
    hold = Holder()
    big, small = origin(hold), origin(hold)
    d = rpd(pool((big, "weight=3"), (small, "weight=1"), backend="balance = least_conn"),
            workers=1)
    clients = [d.client() for _ in range(12)]
    for n, client in enumerate(clients):
        client.send(request_bytes())
        wait_until(lambda: len(big.requests) + len(small.requests) == n + 1)
    assert (len(big.requests), len(small.requests)) == (9, 3)
    hold.gate.release(12)
    for client in clients:
        assert client.response().status == 200


def test_backup_serves_only_when_the_others_cannot(rpd, origin):
    first, backup = origin(), origin()
    d = rpd(pool((first, ""), (backup, "backup")), workers=1)
    assert set(servers_of(d, 10)) == {first.name}
    first.close()
    assert set(servers_of(d, 5)) == {backup.name}


def test_down_server_gets_nothing(rpd, origin):
    up, down = origin(), origin()
    d = rpd(pool((up, ""), (down, "down")), workers=1)
    assert set(servers_of(d, 10)) == {up.name}
    stats = d.stats()["backends"]["pool"]
    assert stats["servers"][down.name]["admin"] == "down"
    assert stats["servers_up"] == 1


def test_weight_zero_gets_nothing_new(rpd, origin):
    one, none = origin(), origin()
    d = rpd(pool((one, ""), (none, "weight=0")), workers=1)
    assert set(servers_of(d, 10)) == {one.name}
    d.reload(pool((none, "weight=0")))
    assert d.ask().status == 503
    d.reload(pool((none, "weight=1")))
    assert d.ask().status == 200


def test_backup_takes_over_when_the_others_are_down(rpd, origin):
    down, backup = origin(), origin()
    d = rpd(pool((down, "down"), (backup, "backup")), workers=1)
    assert set(servers_of(d, 3)) == {backup.name}


def test_no_usable_server_is_503(rpd, origin):
    o = origin()
    d = rpd(pool((o, "down")))
    res = d.ask()
    assert res.status == 503
    assert res.has("Proxy-Status")
    assert not o.connections
    assert d.wait_stats(lambda s: s["backends"]["pool"]["no_server"] == 1)


# ---- retries ----

def test_refused_connect_is_tried_on_another_server(rpd, origin):
    gone, good = dead(origin), origin()
    d = rpd(pool((gone, ""), (good, "")), workers=1)
    for n in range(6):
        assert d.ask().status == 200
    stats = d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 6)
    server = stats["backends"]["pool"]["servers"][gone.name]
    assert stats["routes"]["all"]["retries"] == server["connect_errors"] >= 1
    assert server["last_error"] == "connect refused"
    assert server["requests_total"] == 0 or server["failures"] >= 1
    assert len(good.requests) == 6


def test_post_is_tried_again_when_no_byte_was_sent(rpd, origin):
    gone, good = dead(origin), origin()
    d = rpd(pool((gone, ""), (good, "")), workers=1)
    for _ in range(4):
        assert d.ask("/echo", "POST", body=b"payload").body == b"payload"


def test_every_server_gone_is_503_or_502(rpd, origin):
    d = rpd(pool((dead(origin), ""), (dead(origin), "")), workers=1)
    res = d.ask()
    assert res.status in (502, 503)
    assert res.has("Proxy-Status")


def test_retries_zero_tries_once(rpd, origin):
    gone, good = dead(origin), origin()
    d = rpd(pool((gone, ""), (good, ""), route="retries = 0"), workers=1)
    statuses = [d.ask().status for _ in range(4)]
    assert sorted(statuses)[:2] == [200, 200]
    assert all(s in (502, 503) for s in sorted(statuses)[2:])
    assert d.stats()["routes"]["all"]["retries"] == 0


def test_retries_bound_the_tries(rpd, origin):
    good = origin()
    d = rpd(pool(*[(dead(origin), "") for _ in range(5)], (good, "backup"),
                 route="retries = 2"), workers=1)
    assert d.ask().status in (502, 503)
    d.wait_stats(lambda s: s["routes"]["all"]["retries"] == 2)


def test_answer_502_of_a_server_is_not_retried(rpd, origin):
    one, two = origin(), origin()
    d = rpd(pool((one, ""), (two, "")), workers=1)
    assert d.ask("/status/502").status == 502
    assert len(one.requests) + len(two.requests) == 1


def test_reset_after_the_request_was_sent_is_not_retried(rpd, origin):
    def handler(conn):
        conn.request()
        conn.reset()
    one, two = origin(handler), origin(handler)
    d = rpd(pool((one, ""), (two, "")), workers=1)
    assert d.ask("/", "POST", body=b"x").status == 502
    assert len(one.requests) + len(two.requests) == 1


# ---- max_conns and the queue ----

@pytest.mark.parametrize("where", ["server", "backend"])
def test_max_conns_queues_what_is_too_much(rpd, origin, where):
    hold = Holder()
    o = origin(hold)
    option, setting = ("max_conns=2", "") if where == "server" else ("", "max_conns = 2")
    d = rpd(pool((o, option), backend=setting), workers=1)
    clients = [d.client() for _ in range(6)]
    for n, client in enumerate(clients):
        client.send(request_bytes(target=f"/{n}"))
    d.wait_stats(lambda s: s["backends"]["pool"]["queued"] == 4)
    wait_until(lambda: len(o.requests) == 2)
    holds_for(lambda: len(o.requests) == 2, 0.05)
    assert d.stats()["backends"]["pool"]["servers"][o.name]["active"] == 2
    for n in range(6):
        hold.gate.release()
    for client in clients:
        assert client.response().status == 200
    d.wait_stats(lambda s: s["backends"]["pool"]["queued"] == 0
                 and s["backends"]["pool"]["requests_total"] == 6)


def test_queue_is_served_in_order(rpd, origin):
    hold = Holder()
    o = origin(hold)
    d = rpd(pool((o, "max_conns=1")), workers=1)
    clients = crowd(d, 5)
    hold.gate.release(5)
    for client in clients:
        client.response()
    assert [r.target for r in o.requests] == [f"/{n}" for n in range(5)]


def test_waiting_too_long_is_503(rpd, origin):
    hold = Holder()
    o = origin(hold)
    d = rpd(pool((o, "max_conns=1"), backend="queue_timeout = 300ms"), workers=1)
    first, second = d.client(), d.client()
    first.send(request_bytes())
    wait_until(lambda: o.requests)
    start = time.monotonic()
    second.send(request_bytes())
    res = second.response()
    assert res.status == 503 and res.has("Proxy-Status")
    assert 0.2 < time.monotonic() - start < patience(5)
    d.wait_stats(lambda s: s["backends"]["pool"]["queue_timeouts"] == 1)
    hold.gate.release()
    assert first.response().status == 200


def test_full_queue_is_503_at_once(rpd, origin):
    hold = Holder()
    o = origin(hold)
    d = rpd(pool((o, "max_conns=1"), backend="queue = 1\nqueue_timeout = 60s"), workers=1)
    first, second = d.client(), d.client()
    first.send(request_bytes())
    wait_until(lambda: o.requests)
    second.send(request_bytes())
    d.wait_stats(lambda s: s["backends"]["pool"]["queued"] == 1)
    assert d.ask().status == 503
    d.wait_stats(lambda s: s["backends"]["pool"]["queue_full"] == 1)
    hold.gate.release(2)
    assert first.response().status == second.response().status == 200


def test_client_that_leaves_the_queue_is_forgotten(rpd, origin):
    hold = Holder()
    o = origin(hold)
    d = rpd(pool((o, "max_conns=1")), workers=1)
    first, second = d.client(), d.client()
    first.send(request_bytes(target="/first"))
    wait_until(lambda: o.requests)
    second.send(request_bytes(target="/second"))
    d.wait_stats(lambda s: s["backends"]["pool"]["queued"] == 1)
    second.close()
    d.wait_stats(lambda s: s["backends"]["pool"]["queued"] == 0)
    hold.gate.release(2)
    assert first.response().status == 200
    assert d.ask("/third").status == 200
    assert [r.target for r in o.requests] == ["/first", "/third"]


def test_max_conns_counts_over_all_workers(rpd, origin):
    hold = Holder()
    o = origin(hold)
    d = rpd(pool((o, "max_conns=2")), workers=2)
    clients = [d.client() for _ in range(16)]
    for client in clients:
        client.send(request_bytes())
    d.wait_stats(lambda s: s["backends"]["pool"]["queued"] == 14)
    wait_until(lambda: len(o.requests) == 2)
    holds_for(lambda: len(o.requests) == 2, 0.05)
    hold.gate.release(16)
    for client in clients:
        assert client.response().status == 200, "the last free place is found by every worker"


def test_max_conns_of_one_server_sends_the_rest_to_another(rpd, origin):
    hold = Holder()
    small, large = origin(hold), origin(hold)
    d = rpd(pool((small, "max_conns=1"), (large, "")), workers=1)
    clients = [d.client() for _ in range(8)]
    for client in clients:
        client.send(request_bytes())
    wait_until(lambda: len(small.requests) + len(large.requests) == 8)
    assert len(small.requests) == 1
    hold.gate.release(8)
    for client in clients:
        assert client.response().status == 200


def test_max_conns_is_given_back_after_every_end(rpd, origin):
    """Errors, timeouts and aborts free their place like good answers do."""
    def handler(conn):
        req = conn.request()
        if req.target == "/garbage":
            conn.send("nonsense\r\n\r\n")
        elif req.target == "/hang":
            conn.wait_end()
        elif req.target == "/ok":
            conn.reply(b"ok")
    o = origin(handler)
    d = rpd(pool((o, "max_conns=1"), route="timeout_response = 200ms\nretries = 0",
                 backend="queue_timeout = 20s"), workers=1)
    for target, status in (("/garbage", 502), ("/hang", 504), ("/close", 502)):
        assert d.ask(target).status == status
        assert d.ask("/ok").status == 200
    client = d.client()
    client.send(request_bytes(target="/hang"))
    wait_until(lambda: o.requests[-1].target == "/hang")
    client.reset()
    assert d.ask("/ok").status == 200
    assert d.stats()["backends"]["pool"]["servers"][o.name]["active"] == 0


def test_killed_worker_gives_its_places_back(rpd, origin):
    import os
    import signal
    hold = Holder()
    o = origin(hold)
    d = rpd(pool((o, "max_conns=1")), workers=1)
    client = d.client()
    client.send(request_bytes())
    wait_until(lambda: o.requests)
    os.kill(d.worker_pids()[0], signal.SIGKILL)
    hold.gate.release(5)
    wait_until(lambda: d.ask().status == 200)
