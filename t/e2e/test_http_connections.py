"""HTTP connections on both sides: keep-alive, pipelining, pools, who gets which request."""

import json
import threading

import pytest

from harness.client import Client, request_bytes
from harness.daemon import plain
from harness.origin import canned, chunked
from harness.util import pattern_sha, wait_until


def test_client_connection_is_kept(rpd, origin):
    d = rpd(plain(origin()))
    with d.client() as client:
        for n in range(20):
            res = client.ask(f"/{n}")
            assert json.loads(res.body)["target"] == f"/{n}"
            assert "close" not in res.options("Connection")
    stats = d.wait_stats(lambda s: s["listeners"]["web"]["requests_total"] == 20)
    assert stats["listeners"]["web"]["connections_total"] == 1


def test_client_that_asks_to_close_is_closed(rpd, origin):
    d = rpd(plain(origin()))
    with d.client() as client:
        res = client.ask(headers=[("Connection", "close")])
        assert res.status == 200
        assert "close" in res.options("Connection")
        assert client.is_closed()


def test_pipelined_requests_are_answered_in_order(rpd, origin):
    d = rpd(plain(origin(), origin()))
    with d.client() as client:
        client.send(b"".join(request_bytes(target=f"/{n}") for n in range(50)))
        for n in range(50):
            assert json.loads(client.response().body)["target"] == f"/{n}"


def test_pipelined_requests_with_bodies_are_answered_in_order(rpd, origin):
    d = rpd(plain(origin()))
    with d.client() as client:
        batch = b""
        for n in range(30):
            body = b"body %d " % n * (n * 50)
            if n % 2:
                batch += request_bytes("POST", "/echo", [("Transfer-Encoding", "chunked")])
                batch += chunked(body[:7], body[7:])
            else:
                batch += request_bytes("POST", "/echo", body=body)
        client.send(batch)
        for n in range(30):
            assert client.response().body == b"body %d " % n * (n * 50)


def test_pipelined_requests_byte_by_byte(rpd, origin):
    d = rpd(plain(origin()))
    with d.client() as client:
        for byte in (request_bytes(target="/a") + request_bytes("POST", "/echo", body=b"xyz")
                     + request_bytes("POST", "/echo", [("Transfer-Encoding", "chunked")])
                     + chunked(b"ab", b"c")):
            client.send(bytes([byte]))
        assert json.loads(client.response().body)["target"] == "/a"
        assert client.response().body == b"xyz"
        assert client.response().body == b"abc"


def test_slow_answer_holds_back_the_ones_behind_it(rpd, origin):
    gate = threading.Event()

    def handler(conn):
        while True:
            req = conn.request()
            if req.target == "/slow":
                gate.wait(20)
            conn.reply(req.target)
    d = rpd(plain(origin(handler), origin(handler)))
    with d.client() as client:
        client.send(request_bytes(target="/slow") + request_bytes(target="/fast"))
        client.sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.fill()
        client.sock.settimeout(20)
        gate.set()
        assert client.response().body == b"/slow"
        assert client.response().body == b"/fast"


def test_each_request_of_a_connection_may_go_to_another_server(rpd, origin):
    servers = [origin(), origin(), origin()]
    d = rpd(plain(*servers), workers=1)
    with d.client() as client:
        seen = [json.loads(client.ask().body)["origin"] for _ in range(30)]
    assert all(seen.count(o.name) == 10 for o in servers), seen
    assert all(a != b for a, b in zip(seen, seen[1:]))
    stats = d.wait_stats(lambda s: s["backends"]["pool"]["requests_total"] == 30)
    for server in stats["backends"]["pool"]["servers"].values():
        assert server["requests_total"] == 10
        assert server["connections_total"] == 1
        assert server["connections_reused"] == 9


def test_server_connections_are_pooled(rpd, origin):
    o = origin()
    d = rpd(plain(o), workers=1)
    for _ in range(10):
        assert d.ask().status == 200
    assert len(o.connections) == 1
    server = d.wait_stats(lambda s: s["backends"]["pool"]["requests_total"] == 10)
    server = server["backends"]["pool"]["servers"]["s0"]
    assert (server["connections_total"], server["connections_reused"]) == (1, 9)


def test_keepalive_zero_makes_a_connection_for_each_request(rpd, origin):
    o = origin()
    d = rpd(plain(o, backend="keepalive = 0"))
    with d.client() as client:
        for _ in range(5):
            assert client.ask().status == 200
    assert len(o.connections) == 5
    assert all("close" in req.options("Connection") for req in o.requests)
    server = d.stats()["backends"]["pool"]["servers"]["s0"]
    assert (server["connections_total"], server["connections_reused"]) == (5, 0)
    wait_until(lambda: not o.open_connections())


def test_pool_keeps_no_more_than_keepalive(rpd, origin):
    barrier = threading.Barrier(6)

    def handler(conn):
        while True:
            conn.request()
            if not barrier.broken:
                barrier.wait(20)
            conn.reply(b"x")
    o = origin(handler)
    d = rpd(plain(o, backend="keepalive = 2"), workers=1)
    clients = [d.client() for _ in range(6)]
    for client in clients:
        client.send(request_bytes())
    for client in clients:
        assert client.response().status == 200
        client.close()
    assert len(o.connections) == 6
    wait_until(lambda: len(o.open_connections()) == 2)


def test_idle_server_connection_is_closed_after_keepalive_timeout(rpd, origin):
    o = origin()
    d = rpd(plain(o, backend="keepalive_timeout = 200ms"), workers=1)
    assert d.ask().status == 200
    wait_until(lambda: not o.open_connections(), 5)
    assert d.ask().status == 200
    assert len(o.connections) == 2


def test_server_that_closes_an_idle_connection_costs_no_request(rpd, origin):
    def handler(conn):
        conn.request()
        conn.reply(b"x")
    o = origin(handler)
    d = rpd(plain(o), workers=1)
    for n in range(20):
        assert d.ask().status == 200
        wait_until(lambda: len(o.connections) == n + 1 and not o.open_connections())


def test_request_on_a_connection_the_server_just_closed_is_sent_again(rpd, origin):
    """The race every pool has: the server closes while the request is on its way."""
    def handler(conn):
        conn.request()
        conn.reply(b"x")
        conn.request_head()  # takes the second request's head and hangs up without an answer
    o = origin(handler)
    d = rpd(plain(o), workers=1)
    with d.client() as client:
        for n in range(6):
            assert client.ask().status == 200, n


def test_server_that_says_close_is_not_reused(rpd, origin):
    o = origin(canned(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx"))
    d = rpd(plain(o), workers=1)
    with d.client() as client:
        for _ in range(3):
            res = client.ask()
            assert res.status == 200
            assert "close" not in res.options("Connection")
    assert len(o.connections) == 3


def test_http10_server_is_understood(rpd, origin):
    o = origin(canned(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nold", then_close=True))
    d = rpd(plain(o), workers=1)
    with d.client() as client:
        for _ in range(2):
            res = client.ask()
            assert (res.version, res.body) == ("HTTP/1.1", b"old")
            assert res.framing == "chunked"
    assert len(o.connections) == 2


def test_http10_server_without_keep_alive_is_not_reused(rpd, origin):
    o = origin(canned(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold"))
    d = rpd(plain(o), workers=1)
    for _ in range(2):
        assert d.ask().body == b"old"
    assert len(o.connections) == 2


def test_requests_to_servers_are_http11(rpd, origin):
    o = origin()
    d = rpd(plain(o))
    d.ask(version="1.0")
    assert o.last().version == "HTTP/1.1"


@pytest.mark.parametrize("target", ["/bytes/1000", "/chunked/1000", "/close/1000"])
def test_http10_client_is_closed_after_the_answer(rpd, origin, target):
    d = rpd(plain(origin()))
    with d.client() as client:
        res = client.ask(target, version="1.0")
        assert res.sha == pattern_sha(1000)
        assert not res.has("Transfer-Encoding")
        assert client.is_closed()


def test_http10_client_may_keep_alive(rpd, origin):
    d = rpd(plain(origin()))
    with d.client() as client:
        for _ in range(3):
            res = client.ask("/bytes/10", version="1.0", headers=[("Connection", "keep-alive")])
            assert res.sha == pattern_sha(10)
            assert "keep-alive" in res.options("Connection")


def test_http10_client_without_host_is_served(rpd, origin):
    d = rpd(plain(origin()))
    assert d.ask(version="1.0", host=None).status == 200


def test_answer_without_length_to_http10_keep_alive_closes(rpd, origin):
    d = rpd(plain(origin()))
    with d.client() as client:
        res = client.ask("/chunked/5000", version="1.0", headers=[("Connection", "keep-alive")])
        assert (res.framing, res.sha) == ("close", pattern_sha(5000))


def test_many_clients_at_once(rpd, origin):
    o = origin(lambda conn: [conn.reply(r.target) for r in iter(conn.request, None)])
    d = rpd(plain(o))
    clients = [d.client() for _ in range(200)]
    for turn in range(3):
        for n, client in enumerate(clients):
            client.send(request_bytes(target=f"/{turn}/{n}"))
        for n, client in enumerate(clients):
            assert client.response().body == f"/{turn}/{n}".encode()
    assert d.wait_stats(lambda s: s["listeners"]["web"]["requests_total"] == 600)
    for client in clients:
        client.close()
    d.wait_stats(lambda s: s["listeners"]["web"]["connections_active"] == 0)


def test_what_comes_behind_connection_close_is_not_served(rpd, origin):
    o = origin()
    d = rpd(plain(o))
    with d.client() as client:
        client.send(request_bytes(headers=[("Connection", "close")])
                    + request_bytes(target="/behind"))
        assert client.response().status == 200
        assert client.is_closed()
    assert [r.target for r in o.requests] == ["/"]


def test_answer_is_whole_when_the_client_sent_more_than_was_read(rpd, origin):
    """Closing with unread input must not reset what is on its way to the client."""
    d = rpd(plain(origin()))
    with d.client() as client:
        client.send(request_bytes(target="/bytes/300000", headers=[("Connection", "close")])
                    + request_bytes(target="/behind") * 500)
        assert client.response().sha == pattern_sha(300000)


@pytest.mark.parametrize("workers", [1, 3])
def test_clients_of_a_unix_socket_are_shared_by_workers(rpd, workers):
    d = rpd("[listener web]\nbind = unix:@dir@/s\n[route all]\nrespond = 200 x\n", workers=workers)
    for _ in range(30):
        with Client(str(d.dir / "s")) as client:
            assert client.ask().status == 200
    d.wait_stats(lambda s: s["listeners"]["web"]["requests_total"] == 30
                 and s["listeners"]["web"]["connections_active"] == 0)
    d.reload()
    with Client(str(d.dir / "s")) as client:
        assert client.ask().status == 200
