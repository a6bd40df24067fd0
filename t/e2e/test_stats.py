"""Statistics: exact, complete, and there whatever state the daemon is in."""

import os
import signal
import threading

import pytest

from harness.client import request_bytes
from harness.daemon import plain
from harness.util import freeze, wait_until

LATENCY = {"count", "mean", "p50", "p90", "p99", "p999", "max"}
STATUS = {f"status_{n}xx" for n in range(1, 6)}
FIELDS = {
    "rpd": {"version", "pid", "started", "uptime", "generation", "workers", "reloads", "upgrades",
            "worker_crashes"},
    "workers": {"pid", "slot", "generation", "state", "connections", "requests", "cpu_seconds",
                "started"},
    "listeners": {"connections_active", "connections_total", "requests_total", "bytes_in",
                  "bytes_out", "refused", "bad_requests"},
    "routes": STATUS | {"requests_total", "active", "bytes_in", "bytes_out", "retries", "latency"},
    "backends": {"requests_total", "queued", "active", "servers_up", "servers"},
    "servers": STATUS | {"address", "state", "admin", "weight", "active", "connections_total",
                         "connections_reused", "requests_total", "failures", "connect_errors",
                         "timeouts", "bytes_in", "bytes_out", "since", "last_error", "latency"},
}


def test_every_field_of_the_contract_is_there(rpd, origin):
    o = origin()
    d = rpd(plain(o))
    d.ask()
    stats = d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 1)
    assert FIELDS["rpd"] <= set(stats["rpd"])
    assert len(stats["workers"]) == 2
    for worker in stats["workers"]:
        assert FIELDS["workers"] <= set(worker)
    assert FIELDS["listeners"] <= set(stats["listeners"]["web"])
    route = stats["routes"]["all"]
    assert FIELDS["routes"] <= set(route) and LATENCY <= set(route["latency"])
    assert FIELDS["backends"] <= set(stats["backends"]["pool"])
    server = stats["backends"]["pool"]["servers"]["s0"]
    assert FIELDS["servers"] <= set(server) and LATENCY <= set(server["latency"])
    assert server["address"] == o.addr
    assert (server["admin"], server["weight"]) == ("ready", 1)
    assert server["state"] in ("unchecked", "up")
    assert stats["rpd"]["pid"] == d.pid
    assert 0 <= stats["rpd"]["uptime"] < 1000
    assert stats["rpd"]["generation"] >= 1


def test_counts_are_exact_over_workers(rpd, origin):
    o = origin()
    d = rpd(plain(o), workers=3)
    per_client, clients = 50, 12

    def run():
        with d.client() as client:
            for n in range(per_client):
                client.ask(f"/status/{(200, 301, 404, 500)[n % 4]}")
    threads = [threading.Thread(target=run) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    n = per_client * clients
    stats = d.wait_stats(lambda s: s["listeners"]["web"]["requests_total"] >= n
                         and s["listeners"]["web"]["connections_active"] == 0)
    server = stats["backends"]["pool"]["servers"]["s0"]
    assert stats["listeners"]["web"]["requests_total"] == n
    assert stats["listeners"]["web"]["connections_total"] == clients
    assert stats["routes"]["all"]["requests_total"] == n
    assert stats["backends"]["pool"]["requests_total"] == n
    assert server["requests_total"] == n == len(o.requests)
    assert sum(w["requests"] for w in stats["workers"]) == n
    for counters in (stats["routes"]["all"], server):
        assert [counters[f"status_{k}xx"] for k in range(2, 6)] == [156, 156, 144, 144]
        assert counters["latency"]["count"] == n
        assert counters["active"] == 0
    assert server["connections_total"] + server["connections_reused"] == n
    assert server["connections_total"] == len(o.connections)


def test_bytes_are_counted_on_both_sides(rpd, origin):
    o = origin()
    d = rpd(plain(o))
    with d.client() as client:
        request = request_bytes("POST", "/bytes/100000", body=b"x" * 50000)
        client.send(request)
        before = 0
        res = client.response_head()
        head_size = len(res.start) + 4 + sum(len(n) + len(v) + 4 for n, v in res.headers)
        client.exact(100000)
        before = head_size + 100000
    stats = d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 1)
    route, listener = stats["routes"]["all"], stats["listeners"]["web"]
    assert route["bytes_in"] == listener["bytes_in"] == len(request)
    assert route["bytes_out"] == listener["bytes_out"] == before
    server = stats["backends"]["pool"]["servers"]["s0"]
    assert server["bytes_in"] == 100000 + len(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    assert server["bytes_out"] > 50000


def test_latency_is_measured(rpd, origin):
    gate = threading.Event()

    def handler(conn):
        conn.request()
        gate.wait(0.2)
        conn.reply(b"x")
    d = rpd(plain(origin(handler)))
    d.ask()
    stats = d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 1)
    for latency in (stats["routes"]["all"]["latency"],
                    stats["backends"]["pool"]["servers"]["s0"]["latency"]):
        assert latency["count"] == 1
        assert 0.18 < latency["p50"] < 2
        assert 0.18 < latency["mean"] < 2 and 0.18 < latency["max"] < 2
        assert abs(latency["p50"] - latency["max"]) <= 0.07 * latency["max"]


def test_stats_answer_while_everything_is_stopped(rpd):
    d = rpd("[listener web]\nbind = @web@\n[route all]\nrespond = 200 x\n")
    for _ in range(5):
        d.ask()
    d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 5)
    pids = d.processes()
    assert len(pids) >= 3
    for pid in pids:
        freeze(pid)
    try:
        assert d.stats()["routes"]["all"]["requests_total"] == 5
        for command in (["stats"], ["workers"], ["health"], ["-o", "csv", "stats"]):
            done = d.ctl(*command)
            assert done.returncode == 0, done.stderr
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert d.ask().status == 200


def test_stats_answer_after_everything_was_killed(rpd, origin):
    d = rpd(plain(origin()))
    for _ in range(7):
        d.ask()
    d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 7)
    d.expect_status = None
    d.kill_all()
    stats = d.stats()
    assert stats["routes"]["all"]["requests_total"] == 7
    assert stats["backends"]["pool"]["servers"]["s0"]["requests_total"] == 7
    for command in ("stats", "workers", "health"):
        assert d.ctl(command).returncode == 0


def test_connections_active_follows(rpd, origin):
    d = rpd(plain(origin()))
    clients = [d.client() for _ in range(10)]
    for client in clients:
        client.ask()
    stats = d.wait_stats(lambda s: s["listeners"]["web"]["connections_active"] == 10)
    assert sum(w["connections"] for w in stats["workers"]) == 10
    for client in clients:
        client.close()
    d.wait_stats(lambda s: s["listeners"]["web"]["connections_active"] == 0)


def test_idle_server_connections_are_counted(rpd, origin):
    d = rpd(plain(origin()), workers=1)
    d.ask()
    d.wait_stats(lambda s: s["backends"]["pool"]["servers"]["s0"]["idle"] == 1)


def test_bad_requests_are_counted(rpd, origin):
    d = rpd(plain(origin()))
    for _ in range(3):
        with d.client() as client:
            client.send("nonsense\r\n\r\n")
            client.until_eof()
    stats = d.wait_stats(lambda s: s["listeners"]["web"]["bad_requests"] == 3)
    assert stats["routes"]["all"]["requests_total"] == 0


def test_totals_never_fall(rpd, origin):
    """Read while counted: no reader may see a total go back."""
    d = rpd(plain(origin()))
    stop = threading.Event()

    def run():
        with d.client() as client:
            while not stop.is_set():
                client.ask()
    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        last = 0
        for _ in range(15):
            now = d.route_count()
            assert now >= last
            last = now
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)


@pytest.mark.parametrize("servers", [200])
def test_many_objects(rpd, servers):
    text = "[listener web]\nbind = @web@\n"
    for n in range(servers):
        text += (f"[route r{n}]\npath = /r{n}\nbackend = b{n}\n"
                 f"[backend b{n}]\nserver = 127.0.0.1:9 name=one\n"
                 f"server = 127.0.0.1:10 name=two\n")
    d = rpd(text)
    d.ask("/r77")
    stats = d.wait_stats(lambda s: s["routes"]["r77"]["requests_total"] == 1)
    assert len(stats["routes"]) == len(stats["backends"]) == servers
    assert stats["routes"]["r78"]["requests_total"] == 0
    wait_until(lambda: d.stats()["routes"]["r77"]["status_5xx"] == 1)
