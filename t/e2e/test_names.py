"""Servers by name: as many as the name has addresses, followed by TTL, SRV records, and answers
that do not come."""

import json
import os
import re
import signal
import socket
import threading

import pytest

from harness.daemon import plain
from harness.names import NameServer
from harness.util import children, cmdline, is_alive, wait_until

NAME = "api.test"


@pytest.fixture
def names():
    one = NameServer()
    yield one
    one.close()


class Hosts:
    """Origins on addresses of their own and one port."""

    def __init__(self, origin):
        self.make, self.port, self.made = origin, 0, {}

    def __call__(self, *addresses):
        """Those that are there already stay."""
        for address in addresses:
            if address not in self.made:
                family = socket.AF_INET6 if ":" in address else socket.AF_INET
                self.made[address] = self.make(family=family, host=address, port=self.port,
                                               name=address)
                self.port = self.made[address].port
        return addresses

    def text(self, address):
        return f"[{address}]:{self.port}" if ":" in address else f"{address}:{self.port}"


@pytest.fixture
def hosts(origin):
    one = Hosts(origin)
    one("127.0.0.1")
    return one


def by_name(hosts, name=NAME, options="", backend="", **kw):
    return plain(backend=f"server = {name}:{hosts.port} {options}\n{backend}", **kw)


def servers(d, backend="pool"):
    return d.stats()["backends"][backend]["servers"]


def wait_servers(d, *expected, backend="pool", timeout=15):
    wait_until(lambda: set(servers(d, backend)) == set(expected), timeout,
               f"servers {expected}, last {set(servers(d, backend))}")


def origin_of(answer):
    return json.loads(answer.body)["origin"] if answer.status == 200 else answer.status


def wait_reached(d, hosts, *addresses, target="/", timeout=15):
    """Until those and no others get requests, by every worker."""
    def seen():
        return {origin_of(d.ask(target)) for _ in range(4 * len(addresses) + 8)}
    wait_until(lambda: seen() == set(addresses), timeout, f"reached {addresses}, last {seen()}")


def test_one_address_keeps_the_name_and_the_name_moves(rpd, names, hosts):
    hosts("127.0.0.1", "127.0.0.2")
    names.set(NAME, "127.0.0.1")
    d = rpd(by_name(hosts), globals_=names.globals_)
    wait_reached(d, hosts, "127.0.0.1")
    assert list(servers(d)) == [f"{NAME}:{hosts.port}"]
    assert servers(d)[f"{NAME}:{hosts.port}"]["address"] == hosts.text("127.0.0.1")
    names.set(NAME, "127.0.0.2")
    wait_reached(d, hosts, "127.0.0.2")
    assert list(servers(d)) == [f"{NAME}:{hosts.port}"]
    assert servers(d)[f"{NAME}:{hosts.port}"]["address"] == hosts.text("127.0.0.2")


def test_each_address_is_a_server_and_they_follow_the_name(rpd, names, hosts):
    first = hosts("127.0.0.1", "127.0.0.2")
    names.set(NAME, *first)
    d = rpd(by_name(hosts), globals_=names.globals_)
    assert set(servers(d)) == {hosts.text(a) for a in first}
    wait_reached(d, hosts, *first)
    more = hosts("127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4")
    names.set(NAME, *reversed(more))
    wait_servers(d, *map(hosts.text, more))
    wait_reached(d, hosts, *more)
    names.set(NAME, "127.0.0.4")
    wait_servers(d, f"{NAME}:{hosts.port}")
    wait_reached(d, hosts, "127.0.0.4")
    assert d.stats()["rpd"]["generation"] == 1


def test_both_families_are_used(rpd, names, hosts):
    both = hosts("127.0.0.1", "::1")
    names.set(NAME, *both)
    d = rpd(by_name(hosts), globals_=names.globals_)
    assert set(servers(d)) == {hosts.text(a) for a in both}
    wait_reached(d, hosts, *both)


def test_order_and_duplicates_change_nothing(rpd, names, hosts):
    two = hosts("127.0.0.1", "127.0.0.2")
    names.set(NAME, *two)
    d = rpd(by_name(hosts), globals_=names.globals_)
    names.set(NAME, "127.0.0.2", "127.0.0.1", "127.0.0.2")
    names.wait_asked(NAME, 4)
    assert "now:" not in d.stderr() and set(servers(d)) == {hosts.text(a) for a in two}


def test_options_are_every_servers(rpd, names, hosts):
    two = hosts("127.0.0.1", "127.0.0.2")
    names.set(NAME, *two)
    d = rpd(by_name(hosts, options="weight=7 backup"), globals_=names.globals_)
    assert [s["weight"] for s in servers(d).values()] == [7, 7]
    wait_reached(d, hosts, *two)


def test_statistics_outlive_an_absence(rpd, names, hosts):
    two = hosts("127.0.0.1", "127.0.0.2")
    names.set(NAME, *two)
    d = rpd(by_name(hosts), globals_=names.globals_)
    wait_reached(d, hosts, *two)
    was = servers(d)[hosts.text("127.0.0.2")]["requests_total"]
    hosts("127.0.0.3")
    names.set(NAME, "127.0.0.1", "127.0.0.3")
    wait_servers(d, *map(hosts.text, ("127.0.0.1", "127.0.0.3")))
    assert d.stats()["backends"]["pool"]["servers_up"] == 2
    names.set(NAME, *two)
    wait_servers(d, *map(hosts.text, two))
    assert servers(d)[hosts.text("127.0.0.2")]["requests_total"] >= was > 0


@pytest.mark.parametrize("how", ["servfail", "nxdomain", "empty", "silent"])
def test_an_answer_that_fails_keeps_the_last(rpd, names, hosts, how):
    two = hosts("127.0.0.1", "127.0.0.2")
    names.set(NAME, *two)
    d = rpd(by_name(hosts), globals_=names.globals_)
    names.fail(NAME, how)
    d.wait_log(re.escape(f"{NAME}:{hosts.port}") + ": does not resolve: .*: the last answer stays",
               30)
    assert set(servers(d)) == {hosts.text(a) for a in two}
    wait_reached(d, hosts, *two)
    names.set(NAME, "127.0.0.2")
    d.wait_log("resolves now", 30)
    wait_servers(d, f"{NAME}:{hosts.port}")
    assert d.stderr().count("does not resolve") == 1


def test_one_family_that_fails_keeps_its_last(rpd, names, hosts):
    both = hosts("127.0.0.1", "::1")
    hosts("127.0.0.2")
    names.set(NAME, *both)
    d = rpd(by_name(hosts), globals_=names.globals_)
    names.set(NAME, "127.0.0.1", "127.0.0.2")
    names.fail(NAME, "servfail", ("AAAA",))
    wait_servers(d, *map(hosts.text, ("127.0.0.1", "127.0.0.2", "::1")))
    d.wait_log("was not answered in all")
    names.set(NAME, "127.0.0.1", "127.0.0.2")
    wait_servers(d, *map(hosts.text, ("127.0.0.1", "127.0.0.2")))


def test_a_name_that_comes_up_later(rpd, names, hosts):
    names.fail(NAME, "nxdomain")
    d = rpd(by_name(hosts), globals_=names.globals_)
    assert "does not resolve and is down" in d.stderr()
    assert d.ask().status == 503
    one = servers(d)[f"{NAME}:{hosts.port}"]
    assert one["state"] == "down" and one["last_error"] == "unresolved"
    two = hosts("127.0.0.1", "127.0.0.2")
    names.set(NAME, *two)
    wait_servers(d, *map(hosts.text, two))
    wait_reached(d, hosts, *two)
    assert {s["state"] for s in servers(d).values()} == {"unchecked"}


def test_strict_refuses_a_name_that_does_not_resolve(site, names):
    names.fail(NAME, "servfail")
    text, globals_ = plain(backend=f"server = {NAME}:80"), names.globals_ + "strict = on"
    done = site(text, globals_=globals_).check()
    assert done.returncode == 1 and f"'{NAME}:80' does not resolve" in done.stderr + done.stdout
    names.set(NAME, "127.0.0.1")
    done = site(text, globals_=globals_).check()
    assert done.returncode == 0, done.stderr


def test_ttl_is_followed(rpd, names, hosts):
    names.set(NAME, "127.0.0.1", ttl=1)
    names.set("slow.test", "127.0.0.1", ttl=300)
    d = rpd(by_name(hosts, backend=f"server = slow.test:{hosts.port}"), globals_=names.globals_)
    wait_until(lambda: names.count("slow.test") == 4)  # at the start, and by the helper
    names.wait_asked(NAME, 6)
    assert names.count("slow.test") == 4 and d.is_running()


def test_long_answers_come_over_tcp(rpd, names, hosts):
    many = [f"127.1.{i // 200}.{i % 200 + 1}" for i in range(400)]
    names.set(NAME, *many)
    d = rpd(by_name(hosts), globals_=names.globals_)
    assert set(servers(d)) == {hosts.text(a) for a in many} and names.over_tcp > 0
    names.set(NAME, *[f"127.1.{i // 200}.{i % 200 + 1}" for i in range(600)])
    wait_until(lambda: len(servers(d)) == 512)
    d.wait_log("more than 512 addresses")
    names.set(NAME, "127.0.0.1")
    wait_reached(d, hosts, "127.0.0.1")


def test_srv_gives_ports_weights_and_backups(rpd, names, origin):
    a, b, c = (origin(name=n, host=h) for n, h in
               (("a", "127.0.0.1"), ("b", "127.0.0.2"), ("c", "127.0.0.3")))
    for one in (a, b, c):
        names.set(f"{one.name}.test", one.addr.split(":")[0])
    records = [(1, 30, a.port, "a.test"), (1, 10, b.port, "b.test"), (5, 10, c.port, "c.test")]
    names.set("_http._tcp.web.test", srv=records)
    d = rpd(plain(backend="server = srv:_http._tcp.web.test"), globals_=names.globals_, workers=1)
    assert {n: s["weight"] for n, s in servers(d).items()} == {a.addr: 30, b.addr: 10, c.addr: 10}
    with d.client() as client:
        seen = [json.loads(client.ask().body)["origin"] for _ in range(40)]
    assert (seen.count("a"), seen.count("b"), seen.count("c")) == (30, 10, 0)
    names.set("_http._tcp.web.test", srv=[(1, 0, b.port, "b.test"), (5, 10, c.port, "c.test")])
    wait_servers(d, b.addr, c.addr)
    assert servers(d)[b.addr]["weight"] == 1
    names.set("c.test", "127.0.0.3")
    names.set("_http._tcp.web.test", srv=[(5, 10, c.port, "c.test")])
    wait_servers(d, "srv:_http._tcp.web.test")
    wait_until(lambda: origin_of(d.ask()) == "c")


def test_srv_answers_that_fail_keep_the_last(rpd, names, hosts):
    """Those of the records, and those of their targets."""
    two = hosts("127.0.0.1", "127.0.0.2")
    names.set("a.test", "127.0.0.1")
    names.set("b.test", "127.0.0.2")
    service = "_http._tcp.web.test"
    records = [(1, 1, hosts.port, "a.test"), (1, 1, hosts.port, "b.test")]
    names.set(service, srv=records)
    d = rpd(plain(backend=f"server = srv:{service}"), globals_=names.globals_)
    names.fail("b.test", "servfail")
    d.wait_log("was not answered in all")
    assert set(servers(d)) == {hosts.text(a) for a in two}
    names.fail(service, "servfail")
    d.wait_log(f"{service}: does not resolve: .*: the last answer stays", 30)
    assert set(servers(d)) == {hosts.text(a) for a in two}
    wait_reached(d, hosts, *two)


def test_srv_with_many_targets(rpd, names, hosts):
    many = [f"t{i}.test" for i in range(300)]
    for i, target in enumerate(many):
        names.set(target, f"127.2.{i // 200}.{i % 200 + 1}", ttl=300)
    names.set("_x._tcp.test", srv=[(0, 0, hosts.port, t) for t in many], ttl=300)
    d = rpd(plain(backend="server = srv:_x._tcp.test"), globals_=names.globals_)
    assert len(servers(d)) == 300
    assert {s["weight"] for s in servers(d).values()} == {1}


def test_srv_without_service_is_down_until_it_is_there(rpd, names, hosts):
    names.set("_http._tcp.web.test", srv=[(0, 0, 0, ".")])
    d = rpd(plain(backend="server = srv:_http._tcp.web.test name=one"), globals_=names.globals_)
    assert servers(d)["one"]["state"] == "down" and d.ask().status == 503
    names.set("a.test", "127.0.0.1")
    names.set("_http._tcp.web.test", srv=[(0, 0, hosts.port, "a.test")])
    wait_reached(d, hosts, "127.0.0.1")
    assert servers(d)["one"]["address"] == hosts.text("127.0.0.1")


def test_shrinking_under_load_fails_nobody(rpd, names, hosts):
    four = hosts("127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4")
    names.set(NAME, *four)
    d = rpd(by_name(hosts), globals_=names.globals_)
    statuses, stop = [], threading.Event()

    def load():
        with d.client() as client:
            while not stop.is_set():
                statuses.append(client.ask().status)
    threads = [threading.Thread(target=load) for _ in range(4)]
    for one in threads:
        one.start()
    for some in (four[:2], four[1:3], four, four[3:], four[:3]):
        names.set(NAME, *some)
        wait_servers(d, *(map(hosts.text, some) if len(some) > 1 else [f"{NAME}:{hosts.port}"]))
    stop.set()
    for one in threads:
        one.join()
    assert set(statuses) == {200} and len(statuses) > 100


def test_request_at_a_server_that_goes_is_finished_there(rpd, names, origin):
    gate = threading.Event()

    def slow(conn):
        conn.request()
        gate.wait(30)
        conn.reply("late")
    old = origin(slow, host="127.0.0.2")
    new = origin(host="127.0.0.1", port=old.port, name="127.0.0.1")
    names.set(NAME, "127.0.0.2")
    d = rpd(plain(backend=f"server = {NAME}:{old.port}"), globals_=names.globals_)
    got = []
    asking = threading.Thread(target=lambda: got.append(d.ask()))
    asking.start()
    wait_until(lambda: len(old.requests) == 1)
    names.set(NAME, "127.0.0.1")
    wait_until(lambda: servers(d)[f"{NAME}:{old.port}"]["address"] == new.addr)
    wait_until(lambda: origin_of(d.ask()) == "127.0.0.1")
    gate.set()
    asking.join()
    assert (got[0].status, got[0].body) == (200, b"late")


def test_reload_to_another_name_server(rpd, names, hosts):
    two = hosts("127.0.0.1", "127.0.0.2")
    names.set(NAME, "127.0.0.1", ttl=300)
    d = rpd(by_name(hosts), globals_=names.globals_)
    other = NameServer()
    other.set(NAME, *two)
    d.globals_ = other.globals_
    d.reload(by_name(hosts))
    wait_servers(d, *map(hosts.text, two))
    wait_reached(d, hosts, *two)
    other.close()


def test_reload_keeps_answers(rpd, names, hosts):
    two = hosts("127.0.0.1", "127.0.0.2")
    names.set(NAME, *two)
    d = rpd(by_name(hosts), globals_=names.globals_)
    names.fail(NAME, "servfail")
    d.wait_log("the last answer stays")
    done = d.reload(by_name(hosts, backend="queue = 7"))
    assert set(servers(d)) == {hosts.text(a) for a in two}
    assert "does not resolve and is down" not in d.stderr(), done
    wait_reached(d, hosts, *two)
    d.reload(plain(hosts.made["127.0.0.1"]))
    wait_servers(d, "s0")


def helper_pid(d, not_=0):
    return wait_until(lambda: next((p for p in children(d.pid) if cmdline(p) == "rpd: helper"
                                    and p != not_), 0))


def test_helper_that_is_killed_goes_on(rpd, names, hosts):
    two = hosts("127.0.0.1", "127.0.0.2")
    names.set(NAME, *two)
    d = rpd(by_name(hosts), globals_=names.globals_)
    names.set(NAME, "127.0.0.2")
    wait_servers(d, f"{NAME}:{hosts.port}")
    pid = helper_pid(d)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid))
    wait_reached(d, hosts, "127.0.0.2")
    names.set(NAME, *two)
    helper_pid(d, not_=pid)
    wait_servers(d, *map(hosts.text, two))


def test_worker_that_is_replaced_has_the_servers_of_now(rpd, names, hosts):
    two = hosts("127.0.0.1", "127.0.0.2")
    names.set(NAME, "127.0.0.1")
    d = rpd(by_name(hosts), globals_=names.globals_, workers=1)
    names.set(NAME, *two)
    wait_servers(d, *map(hosts.text, two))
    names.fail(NAME, "servfail")
    d.wait_log("the last answer stays")
    old = d.worker_pids()[0]
    os.kill(old, signal.SIGKILL)
    wait_until(lambda: d.worker_pids() and d.worker_pids()[0] != old)
    wait_reached(d, hosts, *two)


def test_operator_reaches_servers_of_a_name(rpd, names, hosts):
    two = hosts("127.0.0.1", "127.0.0.2")
    names.set(NAME, *two)
    d = rpd(by_name(hosts), globals_=names.globals_)
    names.set(NAME, "127.0.0.1", *hosts("127.0.0.2", "127.0.0.3"))
    wait_servers(d, *map(hosts.text, ("127.0.0.1", "127.0.0.2", "127.0.0.3")))
    d.ctl("server", f"pool/{hosts.text('127.0.0.3')}", "drain", check=True)
    wait_reached(d, hosts, *two)
    d.reload()
    wait_reached(d, hosts, *two)
    done = d.ctl("server", f"pool/{hosts.text('127.0.0.4')}", "drain")
    assert done.returncode != 0 and "did you mean" in done.stderr + done.stdout


def test_checks_follow_the_servers(rpd, names, hosts):
    hosts("127.0.0.1", "127.0.0.2")
    names.set(NAME, "127.0.0.1")
    d = rpd(by_name(hosts, backend="check = tcp\ncheck_interval = 100ms"), globals_=names.globals_)

    def states():
        return {name: s["state"] for name, s in servers(d).items()}
    wait_until(lambda: states() == {f"{NAME}:{hosts.port}": "up"})
    names.set(NAME, "127.0.0.1", "127.0.0.2", "127.0.0.3")
    one, two, three = map(hosts.text, ("127.0.0.1", "127.0.0.2", "127.0.0.3"))
    wait_until(lambda: states() == {one: "up", two: "up", three: "down"})
    wait_reached(d, hosts, "127.0.0.1", "127.0.0.2")
    names.set(NAME, "127.0.0.3")
    wait_until(lambda: states() == {f"{NAME}:{hosts.port}": "down"})
    hosts("127.0.0.3")
    wait_until(lambda: states() == {f"{NAME}:{hosts.port}": "up"})


def test_name_in_two_backends_is_asked_once(rpd, names, hosts):
    two = hosts("127.0.0.1", "127.0.0.2")
    names.set(NAME, "127.0.0.1", ttl=300)
    d = rpd(by_name(hosts) + f"""
[route other]
path = /other
backend = other
[backend other]
server = {NAME}:{hosts.port}
server = {hosts.text("127.0.0.2")}
""", globals_=names.globals_)
    wait_until(lambda: names.count(NAME) == 4)
    wait_reached(d, hosts, *two, target="/other")
    wait_reached(d, hosts, "127.0.0.1")


def test_upgrade_goes_on_with_names(rpd, names, hosts):
    two = hosts("127.0.0.1", "127.0.0.2")
    names.set(NAME, *two)
    d = rpd(by_name(hosts), globals_=names.globals_)
    hosts("127.0.0.3")
    names.set(NAME, "127.0.0.2", "127.0.0.3")
    wait_servers(d, *map(hosts.text, ("127.0.0.2", "127.0.0.3")))
    d.ctl("server", f"pool/{hosts.text('127.0.0.2')}", "drain", check=True)
    names.fail(NAME, "servfail")
    d.wait_log("the last answer stays")
    d.upgrade()
    assert set(servers(d)) == set(map(hosts.text, ("127.0.0.2", "127.0.0.3")))
    assert servers(d)[hosts.text("127.0.0.2")]["admin"] == "drain"
    wait_reached(d, hosts, "127.0.0.3")
    names.set(NAME, *two)
    wait_servers(d, *map(hosts.text, two))
    wait_reached(d, hosts, "127.0.0.1")
    d.ctl("server", f"pool/{hosts.text('127.0.0.2')}", "ready", check=True)
    wait_reached(d, hosts, *two)
