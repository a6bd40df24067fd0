"""Clients that stay with their server: by a cookie, by their address; keys of balance = hash."""

import re

import pytest

from harness.certs import Authority
from harness.client import request_bytes
from harness.daemon import plain
from harness.moods import Holder, origin_of, pool
from harness.tls import TlsClient, client_context
from harness.util import wait_until

COOKIE = "sticky = cookie rpd_id"


def cookie_of(res):
    """Value and attributes of the cookie that is set; None if none is."""
    lines = res.all("Set-Cookie")
    assert len(lines) <= 1
    if not lines:
        return None
    value, *attributes = lines[0].split("; ")
    name, value = value.split("=")
    assert name == "rpd_id" and re.fullmatch("[0-9a-f]{16}", value)
    return value, attributes


def with_cookie(d, value, extra="a=b; "):
    return d.ask(headers=[("Cookie", f"{extra}rpd_id={value}; z=1")])


def newcomer(d):
    """A client without a cookie: its server's name, its cookie."""
    res = d.ask()
    return origin_of(res), cookie_of(res)[0]


def one_of_each(d, n):
    """A cookie for each of n servers."""
    found = {}

    def is_complete():
        name, value = newcomer(d)
        assert found.setdefault(name, value) == value
        return len(found) == n
    wait_until(is_complete)
    return found


def test_a_client_stays_with_its_server(rpd, origin):
    d = rpd(pool(*[(origin(), "") for _ in range(4)], backend=COOKIE))
    for name, value in one_of_each(d, 4).items():
        for _ in range(6):  # over both workers
            res = with_cookie(d, value)
            assert origin_of(res) == name and cookie_of(res) is None


def test_the_cookie_says_nothing_and_is_safe(rpd, origin):
    o = origin()
    d = rpd(pool((o, ""), backend=COOKIE))
    value, attributes = cookie_of(d.ask())
    assert attributes == ["Path=/", "HttpOnly", "SameSite=Lax"]
    assert o.name.encode().hex() not in value
    # Two backends with servers of one name: other values.
    d2 = rpd(pool((o, ""), backend=COOKIE).replace("pool", "other"))
    assert cookie_of(d2.ask())[0] != value


def test_over_tls_it_is_secure(rpd, origin, tmp_path):
    ca = Authority(tmp_path)
    www = ca.issue("www.test")
    o = origin()
    d = rpd(f"[listener web]\nbind = @web@\ntls = on\ncertificate = www\n{www.section('www')}"
            f"[route all]\nbackend = pool\n[backend pool]\nserver = {o.addr}\n{COOKIE}\n")
    with TlsClient(d.addr(), client_context(ca.bundle)) as client:
        assert cookie_of(client.ask(host="www.test"))[1][-1] == "Secure"


@pytest.mark.parametrize("value", ["", "0", "0000000000000000", "ffffffffffffffff",
                                   "FFFFFFFFFFFFFFFF", "x" * 16, "1" * 3000])
def test_a_cookie_that_is_nobodys_is_replaced(rpd, origin, value):
    d = rpd(pool((origin(), ""), backend=COOKIE), workers=1)
    res = with_cookie(d, value)
    assert res.status == 200 and cookie_of(res)


def test_a_drained_server_keeps_its_clients_and_gets_no_more(rpd, origin):
    d = rpd(pool((origin(), ""), (origin(), ""), backend=COOKIE))
    clients = one_of_each(d, 2)
    d.ctl("server", "pool/o0", "drain", check=True)
    for _ in range(6):
        res = with_cookie(d, clients["o0"])
        assert origin_of(res) == "o0" and cookie_of(res) is None
        assert newcomer(d)[0] == "o1"
    d.ctl("server", "pool/o0", "down", check=True)
    res = with_cookie(d, clients["o0"])
    assert origin_of(res) == "o1" and cookie_of(res)[0] == clients["o1"]
    d.ctl("server", "pool/o0", "ready", check=True)
    assert origin_of(with_cookie(d, clients["o0"])) == "o0"


def test_the_clients_of_a_dead_server_move(rpd, origin):
    origins = [origin(), origin(), origin()]
    d = rpd(pool(*[(o, "") for o in origins], backend=COOKIE + "\neject_after = 2"))
    clients = one_of_each(d, 3)
    origins[1].close()
    for _ in range(8):  # retried, then ejected
        res = with_cookie(d, clients["o1"])
        assert res.status == 200 and cookie_of(res)[0] == clients[origin_of(res)]
        assert origin_of(with_cookie(d, clients["o0"])) == "o0"
    assert d.stats()["backends"]["pool"]["servers"]["o1"]["state"] == "ejected"


def test_the_cookie_outlives_a_restart(rpd, origin):
    config = pool(*[(origin(), "") for _ in range(3)], backend=COOKIE)
    clients = one_of_each(rpd(config), 3)
    d = rpd(config)
    for name, value in clients.items():
        assert origin_of(with_cookie(d, value)) == name


def test_a_full_server_is_left_for_once(rpd, origin):
    hold = Holder()
    d = rpd(pool((origin(hold), "max_conns=1"), (origin(), ""), backend=COOKIE), workers=1)
    hold.gate.release()
    found = [d.ask() for _ in range(2)]
    mine, = [cookie_of(res)[0] for res in found if res.body.startswith(b"o0")]
    with d.client() as busy:
        busy.send(request_bytes(headers=[("Cookie", f"rpd_id={mine}")]))
        d.wait_stats(lambda s: s["backends"]["pool"]["servers"]["o0"]["active"] == 1)
        res = with_cookie(d, mine)
        assert origin_of(res) == "o1" and cookie_of(res) is None
        hold.gate.release()
        assert busy.response().body.startswith(b"o0")


def test_answers_made_here_set_none(rpd, origin):
    d = rpd(pool((origin(), "down"), backend=COOKIE))
    res = d.ask()
    assert res.status == 503 and cookie_of(res) is None


def from_source(d, ip, target="/"):
    return origin_of(d.ask(target, headers=[("X-Forwarded-For", ip)]))


def test_a_source_stays_with_its_server(rpd, origin):
    d = rpd(pool(*[(origin(), "") for _ in range(4)], backend="sticky = source",
                 listener="trusted_proxies = 127.0.0.1"))
    homes = {f"192.0.2.{i}": from_source(d, f"192.0.2.{i}") for i in range(40)}
    assert len(set(homes.values())) == 4
    d.ctl("server", "pool/o2", "drain", check=True)
    for ip, home in homes.items():
        now = from_source(d, ip)
        assert now != "o2" if home == "o2" else now == home
    d.ctl("server", "pool/o2", "ready", check=True)
    assert all(from_source(d, ip) == home for ip, home in homes.items())


@pytest.mark.parametrize("key, of", [
    ("$uri", lambda i: {"target": f"/{i}"}),
    ("$header_x_user", lambda i: {"headers": [("X-User", f"u{i}")]}),
    ("$cookie_id", lambda i: {"headers": [("Cookie", f"id={i}")]}),
    ("$host$path", lambda i: {"host": f"h{i}.test", "target": f"/?{i}"}),
])
def test_a_key_has_its_server(rpd, origin, key, of):
    config = pool(*[(origin(), "") for _ in range(4)], backend=f"balance = hash {key}")
    d = rpd(config)
    homes = [origin_of(d.ask(**of(i))) for i in range(30)]
    assert len(set(homes)) > 1
    assert [origin_of(d.ask(**of(i))) for i in range(30)] == homes
    d2 = rpd(config)
    assert [origin_of(d2.ask(**of(i))) for i in range(30)] == homes


def test_only_the_keys_of_a_server_that_leaves_move(rpd, origin):
    origins = [origin() for _ in range(4)]
    d = rpd(pool(*[(o, "") for o in origins], backend="balance = hash $uri"), workers=1)

    def homes():
        with d.client() as client:
            return [origin_of(client.ask(f"/{i}")) for i in range(200)]
    before = homes()
    d.reload(pool(*[(o, "") for o in origins if o.name != "o3"], backend="balance = hash $uri"))
    for old, new in zip(before, homes()):
        assert new == old or old == "o3"
    d.reload(pool(*[(o, "") for o in origins], backend="balance = hash $uri"))
    assert homes() == before


def test_without_a_key_requests_are_spread(rpd, origin):
    d = rpd(pool(*[(origin(), "") for _ in range(3)], backend="balance = hash $cookie_id"),
            workers=1)
    with d.client() as client:
        seen = [origin_of(client.ask()) for _ in range(150)]
    assert all(seen.count(f"o{i}") > 20 for i in range(3))


def test_sessions_stay_with_their_server(rpd, origin):
    """In tcp mode: by the client's address."""
    def who(conn):
        conn.send(conn.origin.name)
    origins = [origin(who) for _ in range(4)]
    for how in ("sticky = source", "balance = hash $client_ip"):
        d = rpd(plain(*origins, listener="mode = tcp", backend=how))
        said = set()
        for _ in range(12):
            with d.client() as client:
                said.add(client.until_eof())
            d.wait_stats(lambda s: s["backends"]["pool"]["active"] == 0)  # or its load is bounded
        assert len(said) == 1
