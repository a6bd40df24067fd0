"""What rpd may cost: memory of idle connections and of long bodies, system calls of a request."""

import re
import resource
import selectors
import signal
import socket
import subprocess
import threading

import pytest

from harness.client import Client, request_bytes
from harness.daemon import plain
from harness.util import patience, wait_until

GIB = 1 << 30
BATCH = 10  # connections opened at once: a burst's buffers belong to no idle connection


def total_anonymous(d):
    """What no other daemon's processes share, whose coming and going would count."""
    total = 0
    for pid in d.processes():
        with open(f"/proc/{pid}/smaps_rollup") as rollup:
            total += int(re.search(r"Pss_Anon:\s+(\d+) kB", rollup.read())[1]) * 1024
    return total


def peak(d):
    """Highest resident size any process of it has had."""
    most = 0
    for pid in d.processes():
        with open(f"/proc/{pid}/status") as status:
            most = max(most, int(re.search(r"VmHWM:\s+(\d+) kB", status.read())[1]) * 1024)
    return most


# ---- idle connections ----

@pytest.mark.release_only
@pytest.mark.slow
def test_idle_connections_cost_under_512_bytes_each(rpd, origin):
    n = 10000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    assert hard >= n + 1000, f"this test needs {n} descriptors, the limit is {hard}"
    d = rpd(plain(origin()), workers=2)
    for _ in range(20):  # what comes with the first requests belongs to none of the idle
        d.ask()
    d.wait_stats(lambda s: s["listeners"]["web"]["connections_active"] == 0)
    before = total_anonymous(d)
    request, socks = request_bytes(target="/bytes/1"), []
    selector = selectors.DefaultSelector()
    try:
        for start in range(0, n, BATCH):  # in batches: each has had a request and an answer
            batch = []
            for _ in range(start, start + BATCH):
                sock = socket.create_connection(d.addr(), patience(20))
                sock.sendall(request)
                selector.register(sock, selectors.EVENT_READ, bytearray())
                batch.append(sock)
            left = len(batch)
            while left:
                for key, _ in selector.select(patience(20)):
                    data = key.fileobj.recv(4096)
                    assert data, "closed"
                    key.data.extend(data)
                    head = key.data.find(b"\r\n\r\n")
                    if head >= 0 and len(key.data) >= head + 5:
                        assert key.data.startswith(b"HTTP/1.1 200 ")
                        selector.unregister(key.fileobj)
                        left -= 1
            socks += batch
        d.wait_stats(lambda s: s["listeners"]["web"]["connections_active"] == n)
        wait_until(lambda: sum(w["buffers"] for w in d.stats()["workers"]) == 0)
        each = (total_anonymous(d) - before) / n
        print(f"{each:.0f} bytes an idle connection")
        assert each < 512, each
        for sock in (socks[0], socks[n // 2], socks[-1]):
            sock.sendall(request)
            assert sock.recv(4096).startswith(b"HTTP/1.1 200 ")
    finally:
        selector.close()
        for sock in socks:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    d.wait_stats(lambda s: s["listeners"]["web"]["connections_active"] == 0)


# ---- long bodies ----

def flood(conn):
    """GET /N: N zero bytes, by length; POST: takes the body and says how long it was."""
    buffer = bytearray(1 << 20)
    while True:
        req = conn.request_head()
        if req.method == "GET":
            left = int(req.target[1:])
            conn.send(f"HTTP/1.1 200 OK\r\nContent-Length: {left}\r\n\r\n")
            block = bytes(1 << 20)
            while left:
                conn.sock.sendall(block[:left] if left < len(block) else block)
                left -= min(left, len(block))
        else:
            left = int(req.get("Content-Length")) - len(conn.buf)
            conn.buf.clear()
            while left:
                left -= conn.sock.recv_into(buffer)
            conn.reply(b"taken")


@pytest.mark.slow
@pytest.mark.parametrize("way", ["down", "up"])
def test_a_gibibyte_passes_in_constant_memory(rpd, origin, way):
    d = rpd(plain(origin(flood)), workers=1)
    with d.client(timeout=120) as client:
        client.ask("/1000000")
        before = peak(d)
        if way == "down":
            client.send(request_bytes(target=f"/{GIB}"))
            client.response_head()
            left, buffer = GIB - len(client.buf), bytearray(1 << 20)
            while left:
                got = client.sock.recv_into(buffer, min(left, len(buffer)))
                assert got
                left -= got
            client.buf.clear()
        else:
            client.send(request_bytes("POST", "/", [("Content-Length", GIB)]))
            block = bytes(1 << 20)
            for _ in range(1024):
                client.send(block)
            assert client.response().body == b"taken"
        assert peak(d) - before < 2 << 20
        assert client.ask("/5").length == 5
    route = d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 3)["routes"]["all"]
    assert route["bytes_out" if way == "down" else "bytes_in"] > GIB


# ---- system calls ----

def fixed(conn):
    """A small, quick origin: 1 KiB for each request head, no parsing."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n" + b"x" * 1024
    while True:
        conn.line()
        while conn.line():
            pass
        conn.send(answer)


def under_load(d, clients, each):
    """Keep-alive clients, each sends its next request when it has the answer."""
    done, failed = [0], []

    def run():
        try:
            with Client(d.addr()) as client:
                for _ in range(each):
                    client.send(request)
                    head_end = -1
                    while head_end < 0 or len(client.buf) < head_end + 4 + 1024:
                        client.fill()
                        head_end = client.buf.find(b"\r\n\r\n")
                    client.buf.clear()
                    done[0] += 1
        except Exception as error:
            failed.append(error)
    request = request_bytes()
    threads = [threading.Thread(target=run) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(patience(60))
    assert not failed, failed
    return done[0]


@pytest.mark.release_only
def test_a_kept_request_costs_two_reads_two_writes_and_no_epoll_ctl(rpd, origin, tmp_path):
    d = rpd(plain(origin(fixed)), workers=1)
    under_load(d, 8, 5)  # connections to the server are made
    out = tmp_path / "strace"
    tracer = subprocess.Popen(["strace", "-c", "-f", "-U", "calls,name", "-o", out, "-p",
                               str(d.worker_pids()[0])], stderr=subprocess.PIPE)
    try:
        seen = tracer.stderr.readline().decode()
        assert "attached" in seen, f"strace cannot attach: {seen}"
        n = under_load(d, 8, 250)
    finally:
        tracer.send_signal(2)
        tracer.wait(patience(20))
        tracer.stderr.close()
    calls = {name: int(count) for count, name in
             re.findall(r"^\s*(\d+)\s+(\w+)\s*$", out.read_text(), re.M) if name != "total"}
    print(n, calls)
    reads = sum(calls.get(c, 0) for c in ("read", "readv", "recvfrom", "recvmsg", "recvmmsg"))
    writes = sum(calls.get(c, 0) for c in ("write", "writev", "sendto", "sendmsg", "sendmmsg",
                                           "sendfile", "splice"))
    connections = 2 * 8  # each client's accept and close, and reads that see its end
    assert reads <= 2 * n + 2 * connections, calls
    assert writes <= 2 * n + 2 * connections, calls
    assert calls.get("epoll_ctl", 0) <= 2 * connections, calls
    assert calls.get("epoll_wait", 0) + calls.get("epoll_pwait", 0) <= n, calls
    others = sum(calls.values()) - reads - writes - sum(
        calls.get(c, 0) for c in ("epoll_wait", "epoll_pwait", "epoll_ctl", "accept4", "accept",
                                  "close", "setsockopt", "getsockname", "getpeername", "shutdown",
                                  "connect", "socket", "fcntl"))
    assert others < n / 10, calls


# ---- instructions ----

def instructions(rpd, config, n):
    """Of a worker in user space, for n requests one after another, start and end included."""
    d = rpd(config, workers=1, wrapper=["valgrind", "-q", "--tool=callgrind",
                                        "--callgrind-out-file=callgrind.%p"])
    worker = d.worker_pids()[0]
    assert under_load(d, 1, n) == n
    d.signal(signal.SIGTERM)
    assert d.wait_exit(60) == 0
    return int(re.search(r"^(?:summary|totals): (\d+)",
                         (d.dir / f"callgrind.{worker}").read_text(), re.M)[1])


@pytest.mark.release_only
@pytest.mark.parametrize("mode, budget", [("http", 8800), ("tcp", 1800)])
def test_a_kept_request_stays_within_its_instructions(rpd, origin, mode, budget):
    """One connection, so that every event is a batch of its own: `make bench` counts less. The
    budgets leave some room for compilers and timers, and none for a copy or a parse more."""
    config = plain(origin(fixed), listener=f"mode = {mode}")
    few, many = (instructions(rpd, config, n) for n in (300, 900))
    each = (many - few) / 600
    print(f"{each:.0f} instructions a request")
    assert each < budget
