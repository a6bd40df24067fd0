"""Limits: a full worker stops accepting and drops nobody; want of descriptors sheds and counts."""

import re
import resource
import time

import pytest

from harness.client import request_bytes
from harness.daemon import plain
from harness.origin import tcp_echo
from harness.util import fd_count, holds_for, wait_until
from harness.wire import Eof

RESPOND = "[listener web]\nbind = @web@\n[route all]\nrespond = 200 hello\n"


def total(d, field):
    return sum(w[field] for w in d.stats()["workers"])


def test_full_worker_stops_accepting_and_the_queue_waits(rpd):
    d = rpd(RESPOND, workers=1, globals_="max_connections = 5\n")
    first = [d.client() for _ in range(5)]
    for client in first:
        assert client.ask().status == 200
    waiting = [d.client() for _ in range(10)]
    for client in waiting:
        client.send(request_bytes())
    d.wait_stats(lambda s: s["workers"][0]["full"] >= 1)
    holds_for(lambda: d.stats()["listeners"]["web"]["connections_active"] <= 5, 0.2)
    for client in first:
        assert client.ask().status == 200, "those inside are served on"
    for n, client in enumerate(first):
        client.close()
    for client in waiting:
        assert client.response().status == 200
        client.close()
    d.wait_stats(lambda s: s["listeners"]["web"]["connections_active"] == 0)
    assert d.ask().status == 200


def test_limit_is_raised_by_a_reload(rpd):
    d = rpd(RESPOND, workers=1, globals_="max_connections = 2\n")
    clients = [d.client() for _ in range(6)]
    for client in clients:
        client.send(request_bytes())
    d.wait_stats(lambda s: s["listeners"]["web"]["connections_active"] == 2)
    d.globals_ = "max_connections = 100\n"
    d.reload(RESPOND)
    for client in clients:
        assert client.response().status == 200


def test_full_worker_still_takes_tcp_sessions_ends(rpd, origin):
    d = rpd(plain(origin(tcp_echo), listener="mode = tcp"), workers=1,
            globals_="max_connections = 3\n")
    for _ in range(4):
        clients = [d.client() for _ in range(6)]
        for client in clients:
            client.send(b"x")
        for client in clients[:3]:
            assert client.exact(1) == b"x"
            client.close()
        for client in clients[3:]:
            assert client.exact(1) == b"x"
            client.close()


def few_descriptors(n):
    return [(resource.RLIMIT_NOFILE, n)]


def test_want_of_descriptors_sheds_and_is_counted(rpd):
    d = rpd(RESPOND, workers=1, limits=few_descriptors(64))
    clients = [d.client() for _ in range(100)]
    for client in clients:
        client.send(request_bytes())
    served = clients[0]
    assert served.response().status == 200
    wait_until(lambda: total(d, "accept_errors") + total(d, "shed_descriptors")
               + total(d, "full") > 0)
    assert served.ask().status == 200
    for client in clients:
        client.close()
    wait_until(lambda: d.ask().status == 200)
    d.wait_stats(lambda s: s["listeners"]["web"]["connections_active"] == 0)
    assert d.stats()["rpd"]["worker_crashes"] == 0


def test_want_of_descriptors_does_not_spin(rpd):
    d = rpd(RESPOND, workers=1, limits=few_descriptors(64))
    clients = [d.client() for _ in range(100)]
    wait_until(lambda: total(d, "accept_errors") + total(d, "full") > 0)

    def processor_time():
        with open(f"/proc/{d.worker_pids()[0]}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])
    before = processor_time()
    start = time.monotonic()
    holds_for(lambda: True, 0.5)
    assert processor_time() - before < 20 * (time.monotonic() - start) + 5
    assert clients


def test_want_of_descriptors_towards_servers_is_an_error_answer(rpd, origin):
    """Clients took them all: a request that needs one more is shed, the worker lives on."""
    o = origin()
    d = rpd(plain(o, backend="keepalive = 0"), workers=1, limits=few_descriptors(48))
    clients = [d.client() for _ in range(60)]
    answers = []
    for client in clients:
        client.send(request_bytes())
    for client in clients[:10]:
        answers.append(client.response().status)
    assert set(answers) <= {200, 503}, answers
    for client in clients:
        client.close()
    wait_until(lambda: d.ask().status == 200)
    assert d.stats()["rpd"]["worker_crashes"] == 0


def test_want_of_descriptors_in_tcp_mode(rpd, origin):
    d = rpd(plain(origin(tcp_echo), listener="mode = tcp"), workers=1, limits=few_descriptors(48))
    clients = [d.client() for _ in range(60)]
    for client in clients:
        try:
            client.send(b"x")
        except ConnectionError:
            pass
    wait_until(lambda: total(d, "accept_errors") + total(d, "shed_descriptors")
               + total(d, "full") > 0)
    for client in clients:
        client.close()

    def works():
        with d.client() as client:
            try:
                client.send(b"y")
                return client.exact(1) == b"y"
            except Exception:
                return False
    wait_until(works)
    d.wait_stats(lambda s: s["listeners"]["web"]["connections_active"] == 0)


def test_temporary_files_that_cannot_be_made_are_an_error_answer(rpd, origin):
    """A full disk: the body that has to be spilled is refused, nothing else suffers."""
    o = origin()
    d = rpd(plain(o, route="buffer_request = on"), workers=1)
    resource.prlimit(d.worker_pids()[0], resource.RLIMIT_FSIZE, (16 << 20, 16 << 20))
    with d.client() as client:
        try:
            client.send(request_bytes("POST", "/", body=b"x" * (32 << 20)))
        except ConnectionError:
            pass
        try:
            assert client.response().status in (413, 500, 503, 507)
        except (Eof, ConnectionError):
            pass
    assert d.ask().status == 200
    assert d.stats()["rpd"]["worker_crashes"] == 0


@pytest.mark.parametrize("n", [300])
def test_connections_that_come_and_go_leave_nothing(rpd, n):
    d = rpd(RESPOND, workers=1)
    pid = d.worker_pids()[0]
    d.ask()
    d.wait_stats(lambda s: s["listeners"]["web"]["connections_active"] == 0)
    before = fd_count(pid)
    for _ in range(n):
        d.client().reset()
    wait_until(lambda: d.stats()["listeners"]["web"]["connections_total"] == n + 1)
    wait_until(lambda: fd_count(pid) <= before)
    assert d.stats()["listeners"]["web"]["connections_active"] == 0


@pytest.mark.release_only
@pytest.mark.parametrize("kind", ["heads", "bodies"])
def test_want_of_memory_sheds_and_is_counted(rpd, origin, kind):
    """A worker that gets no more memory gives up single units of work, never itself."""
    # One request is at the server, the others wait and hold what came of their bodies.
    d = rpd(plain(origin(), listener="max_header_size = 64k",
                  backend="max_conns = 1\nqueue_timeout = 60s"), workers=1)
    d.ask()
    pid = d.worker_pids()[0]
    with open(f"/proc/{pid}/status") as status:
        size = int(re.search(r"VmSize:\s+(\d+) kB", status.read())[1]) * 1024
    resource.prlimit(pid, resource.RLIMIT_AS, (size + (4 << 20), size + (4 << 20)))
    if kind == "heads":
        data = b"GET / HTTP/1.1\r\nHost: test\r\nX: " + b"y" * 50000
    else:
        data = request_bytes("POST", "/", [("Content-Length", 10 << 20)]) + b"z" * 100000
    clients = [d.client() for _ in range(400)]
    for client in clients:
        try:
            client.send(data)
        except ConnectionError:
            pass
    wait_until(lambda: total(d, "shed_memory") > 0, 20)
    for client in clients:
        client.close()
    d.wait_stats(lambda s: s["listeners"]["web"]["connections_active"] == 0, 20)
    assert d.ask().status == 200
    assert d.worker_pids() == [pid]
    assert d.stats()["rpd"]["worker_crashes"] == 0
