"""SIGHUP and `rpctl reload`: the configuration changes in place, under the connections."""

import json
import re
import signal
import socket
import threading

import pytest

from harness.client import request_bytes
from harness.daemon import free_port, plain
from harness.origin import tcp_echo, upgrade_echo
from harness.util import fd_count, is_sanitized, memory, wait_until

ONE = "[listener web]\nbind = @web@\n[route all]\nrespond = 200 one\n"
TWO = ONE.replace("200 one", "200 two")


def test_next_request_of_a_kept_connection_meets_the_new_rules(rpd):
    d = rpd(ONE)
    with d.client() as client:
        assert client.ask().body.strip() == b"one"
        d.reload(TWO)
        assert client.ask().body.strip() == b"two"
    stats = d.stats()
    assert stats["listeners"]["web"]["connections_total"] == 1
    assert (stats["rpd"]["reloads"], stats["rpd"]["generation"]) == (1, 2)


def test_sighup_reloads(rpd):
    d = rpd(ONE)
    d.write(TWO)
    d.signal(signal.SIGHUP)
    d.wait_stats(lambda s: s["rpd"]["reloads"] == 1)
    wait_until(lambda: d.ask().body.strip() == b"two")


def test_processes_stay_the_same(rpd):
    d = rpd(ONE)
    before = sorted(d.processes())
    for text in (TWO, ONE, TWO):
        d.reload(text)
    assert sorted(d.processes()) == before
    assert d.stats()["rpd"]["worker_crashes"] == 0


def test_every_worker_takes_the_new_one_before_rpctl_returns(rpd):
    d = rpd(ONE, workers=3)
    d.reload(TWO)
    assert {w["generation"] for w in d.stats()["workers"]} == {2}
    for _ in range(30):
        assert d.ask().body.strip() == b"two"


def test_request_in_progress_ends_under_its_old_rules(rpd, origin):
    gate = threading.Event()

    def handler(conn):
        conn.request()
        gate.wait(20)
        conn.reply(b"slow")
    o, other = origin(handler), origin()
    d = rpd(plain(o, route="response_header = set X-Rules: old"))
    with d.client() as client:
        client.send(request_bytes())
        wait_until(lambda: o.requests)
        d.reload(plain(other, route="response_header = set X-Rules: new"))
        gate.set()
        res = client.response()
        assert (res.body, res.get("X-Rules")) == (b"slow", "old")
        assert client.ask().get("X-Rules") == "new"
    assert len(other.requests) == 1


def test_tunnels_and_sessions_live_on(rpd, origin):
    ws, raw = origin(upgrade_echo), origin(tcp_echo)
    text = plain(ws) + f"""
[listener raw]
bind = @raw@
mode = tcp
[route raw]
listener = raw
backend = echoes
[backend echoes]
server = {raw.addr}
"""
    d = rpd(text)
    tunnel, session = d.client(), d.client("raw")
    tunnel.send(request_bytes(headers=[("Connection", "upgrade"), ("Upgrade", "x")]))
    assert tunnel.response_head().status == 101
    session.send(b"a")
    assert session.exact(1) == b"a"
    for n in range(3):
        d.reload(text + f"\n[route extra{n}]\npath = /{n}\nrespond = 200 x\n")
        for client in (tunnel, session):
            client.send(b"still %d" % n)
            assert client.exact(7) == b"still %d" % n
    d.reload(ONE)  # even when their listener, route and backend are gone
    for client in (tunnel, session):
        client.send(b"yes")
        assert client.exact(3) == b"yes"


@pytest.mark.parametrize("how", ["rpctl", "signal"])
def test_bad_configuration_is_refused_and_the_old_one_stays(rpd, how):
    d = rpd(ONE)
    d.write("[listener web]\nbnd = @web@\n[route all]\nrespond = 200 two\ntimeout_connect = 5\n")
    if how == "rpctl":
        done = d.ctl("reload")
        assert done.returncode == 1
        out = done.stdout + done.stderr
    else:
        d.signal(signal.SIGHUP)
        d.wait_log("did you mean 'bind'")
        out = d.stderr()
    assert "did you mean 'bind'" in out and "timeout_connect" in out, "every error is printed"
    assert re.search(r"rpd\.ini:\d+: ", out)
    stats = d.wait_stats(lambda s: s["rpd"]["reloads_refused"] == 1)
    assert (stats["rpd"]["reloads"], stats["rpd"]["generation"]) == (0, 1)
    assert d.ask().body.strip() == b"one"
    d.reload(TWO)
    assert d.ask().body.strip() == b"two"


def test_new_listener_with_a_taken_port_is_refused(rpd, origin):
    o = origin()
    d = rpd(ONE)
    done = d.reload(ONE + f"[listener more]\nbind = {o.addr}\n", status=1)
    assert "in use" in (done.stdout + done.stderr).lower()
    assert d.ask().body.strip() == b"one"


def test_missing_file_is_refused(rpd):
    d = rpd(ONE)
    d.config.unlink()
    assert d.ctl("reload").returncode == 1
    assert d.ask().body.strip() == b"one"


def test_listener_added_and_removed(rpd):
    d = rpd(ONE)
    d.reload(ONE + "[listener more]\nbind = @more@\n")
    for _ in range(10):
        assert d.ask(listener="more").status == 200
    d.wait_stats(lambda s: s["listeners"]["more"]["requests_total"] == 10)
    with d.client("more") as client:
        assert client.ask().status == 200
        d.reload(ONE)
        with pytest.raises(ConnectionRefusedError):
            d.client("more")
    assert d.ask().status == 200
    assert "more" not in d.stats()["listeners"]
    d.reload(ONE + "[listener more]\nbind = @more@\n")
    stats = d.stats()
    assert stats["listeners"]["more"]["requests_total"] >= 10, "counts come back with the name"


def test_bind_added_to_a_listener_and_moved(rpd):
    d = rpd(ONE)
    with d.client() as kept:
        assert kept.ask().status == 200
        d.reload(ONE.replace("@web@", "@web@, @second@"))
        assert d.ask(listener="second").status == 200
        d.reload(ONE.replace("@web@", "@second@"))
        assert d.ask(listener="second").status == 200
        with pytest.raises(ConnectionRefusedError):
            d.client("web")


def test_counters_survive(rpd, origin):
    o = origin()
    d = rpd(plain(o))
    for _ in range(10):
        d.ask()
    before = d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 10)
    d.reload(plain(o, route="retries = 0"))
    after = d.stats()
    for key in ("requests_total", "status_2xx", "bytes_in", "bytes_out"):
        assert after["routes"]["all"][key] == before["routes"]["all"][key]
    assert after["backends"]["pool"]["servers"]["s0"]["requests_total"] == 10
    d.ask()
    d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 11)


def test_server_replaced(rpd, origin):
    old, new = origin(), origin()
    d = rpd(plain(old))
    with d.client() as client:
        assert json.loads(client.ask().body)["origin"] == old.name
        d.reload(plain(new))
        assert json.loads(client.ask().body)["origin"] == new.name
    wait_until(lambda: not old.open_connections(), 10, "idle connections of the old one to close")


def test_workers_added_and_removed(rpd):
    d = rpd(ONE, workers=2)
    kept = set(d.worker_pids())
    d.workers_wanted = 4
    d.reload(ONE)
    wait_until(lambda: len(d.worker_pids()) == 4)
    assert kept <= set(d.worker_pids())
    for _ in range(40):
        assert d.ask().status == 200
    d.workers_wanted = 1
    d.reload(ONE)
    wait_until(lambda: len(d.worker_pids()) == 1)
    for _ in range(40):  # the remaining one has adopted the others' sockets
        assert d.ask().status == 200
    stats = d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 80)
    assert stats["rpd"]["worker_crashes"] == 0


def test_removed_workers_finish_their_requests(rpd, origin):
    gate = threading.Event()

    def handler(conn):
        while True:
            conn.request()
            gate.wait(20)
            conn.reply(b"done")
    o = origin(handler)
    d = rpd(plain(o), workers=4)
    clients = [d.client() for _ in range(16)]
    for client in clients:
        client.send(request_bytes())
    wait_until(lambda: len(o.requests) == 16)
    d.workers_wanted = 1
    d.reload(plain(o))
    gate.set()
    for client in clients:
        assert client.response().body == b"done"
    wait_until(lambda: len(d.worker_pids()) == 1 and len(d.children()) == 1)


def test_restart_only_setting_is_named(rpd):
    """run_dir cannot change while it runs: the reload says so, one way or the other."""
    d = rpd(ONE)
    other = d.dir / "other"
    other.mkdir()
    text = d.config.read_text()
    d.config.write_text(text.replace(f"run_dir = {d.run_dir}", f"run_dir = {other}"))
    d.ctl("reload")
    wait_until(lambda: "run_dir" in d.stderr() or d.stats()["rpd"]["reloads_refused"] == 1)
    assert d.ask().status == 200


def test_fifty_reloads_leak_nothing(rpd, origin):
    o = origin()
    texts = [plain(o) + f"\n[route r{n}]\npath = /r\nrespond = 200 {n}\n" for n in range(2)]
    texts[1] += "\n[listener more]\nbind = @more@\n"
    d = rpd(texts[0])
    with d.client() as client:
        for n in range(4):  # settled: allocators and pools have their size
            d.reload(texts[n % 2])
            assert client.ask().status == 200
        wait_until(lambda: len(d.processes()) == 4, 10, "the reader to end")
        pids = sorted(d.processes())
        fds = [fd_count(pid) for pid in pids]
        sizes = [memory(pid, "Private_Dirty") for pid in pids]
        for n in range(50):
            d.reload(texts[n % 2])
            assert client.ask("/r").body.strip() == b"%d" % (n % 2)
    wait_until(lambda: sorted(d.processes()) == pids, 10, "the same processes")
    wait_until(lambda: [fd_count(pid) for pid in pids] <= fds, 5,
               f"descriptors {[fd_count(pid) for pid in pids]} to be as before {fds}")
    if not is_sanitized():
        for pid, size in zip(pids, sizes):
            assert memory(pid, "Private_Dirty") - size < 200 << 10
    assert d.stats()["rpd"]["reloads"] == 54


def test_reload_under_load_loses_no_request(rpd, origin):
    o = origin()
    texts = [plain(o, route=f"response_header = set X-N: {n}") for n in range(2)]
    d = rpd(texts[0])
    stop, failed, count = threading.Event(), [], [0]

    def run():
        try:
            while not stop.is_set():
                with d.client() as client:
                    for _ in range(10):
                        assert client.ask().status == 200
                        count[0] += 1
        except Exception as error:
            failed.append(error)
    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for n in range(15):
        d.reload(texts[n % 2])
    stop.set()
    for thread in threads:
        thread.join(20)
    assert not failed
    assert count[0] > 0


def test_signals_that_pile_up_are_one_reload_or_more(rpd):
    d = rpd(ONE)
    d.write(TWO)
    for _ in range(20):
        d.signal(signal.SIGHUP)
    wait_until(lambda: d.ask().body.strip() == b"two")
    assert 1 <= d.stats()["rpd"]["reloads"] <= 20


def test_include_files_are_read_again(rpd, tmp_path):
    part = tmp_path / "part.ini"
    part.write_text("[route all]\nrespond = 200 one\n")
    d = rpd("[listener web]\nbind = @web@\n", globals_=f"include = {part}\n")
    assert d.ask().body.strip() == b"one"
    part.write_text("[route all]\nrespond = 200 two\n")
    d.reload()
    assert d.ask().body.strip() == b"two"


def test_listener_for_another_rpd_port_is_free_after_removal(rpd):
    """A removed address is really given up: somebody else can bind it."""
    port = free_port()
    d = rpd(ONE + f"[listener more]\nbind = 127.0.0.1:{port}\n")
    d.reload(ONE)

    def can_bind():
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
                sock.listen()
                return True
            except OSError:
                return False
    wait_until(can_bind)


def test_what_waits_in_a_queue_is_served_over_a_reload(rpd, origin):
    gate = threading.Event()

    def handler(conn):
        while True:
            req = conn.request()
            gate.wait(20)
            conn.reply(req.target)
    o = origin(handler)
    text = plain(o, backend="max_conns = 1")
    d = rpd(text, workers=1)
    clients = [d.client() for _ in range(4)]
    for n, client in enumerate(clients):
        client.send(request_bytes(target=f"/{n}"))
        d.wait_stats(lambda s: s["backends"]["pool"]["queued"] == n)
    d.reload(text.replace("max_conns = 1", "max_conns = 2"))
    d.reload(text.replace("name=s0", "name=renamed"))
    gate.set()
    for n, client in enumerate(clients):
        assert client.response().body == f"/{n}".encode()
    d.wait_stats(lambda s: s["backends"]["pool"]["queued"] == 0
                 and s["backends"]["pool"]["active"] == 0)


def test_body_being_buffered_survives_a_reload(rpd, origin):
    text = plain(origin(), route="buffer_request = on")
    d = rpd(text)
    with d.client() as client:
        client.send(request_bytes("POST", "/echo", [("Content-Length", 200000)]) + b"x" * 100000)
        d.wait_stats(lambda s: s["listeners"]["web"]["bytes_in"] > 100000)
        d.reload(text + "\n[route more]\npath = /more\nrespond = 200 x\n")
        client.send(b"y" * 100000)
        assert client.response().body == b"x" * 100000 + b"y" * 100000
