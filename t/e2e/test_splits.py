"""Requests and sessions of one route spread over several backends by weight, and clients that stay
with the one they came to."""

import collections
import re

from harness.moods import origin_of


def backends(*named):
    return "".join(f"[backend {name}]\nserver = {o.addr}\n" for name, o in named)


def split(weights, *named, route="", listener=""):
    return (f"[listener web]\nbind = @web@\n{listener}\n[route all]\nbackend = {weights}\n{route}\n"
            + backends(*named))


def tally(ask, n):
    return collections.Counter(origin_of(ask()) for _ in range(n))


def test_shares_are_those_of_the_weights(rpd, origin):
    a, b, c = origin(), origin(), origin()
    d = rpd(split("a 80, b 15, c 5", ("a", a), ("b", b), ("c", c)), workers=1)
    with d.client() as client:
        got = tally(client.ask, 400)
    assert got[a.name] + got[b.name] + got[c.name] == 400
    assert abs(got[a.name] - 320) <= 4 and abs(got[b.name] - 60) <= 4
    assert abs(got[c.name] - 20) <= 4
    stats = d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 400)
    assert stats["backends"]["b"]["requests_total"] == got[b.name]


def test_a_weight_of_nothing_gets_nothing(rpd, origin):
    a, b = origin(), origin()
    d = rpd(split("a 0, b 3", ("a", a), ("b", b)))
    with d.client() as client:
        assert tally(client.ask, 30) == {b.name: 30}


def test_a_reload_changes_the_weights(rpd, origin):
    a, b = origin(), origin()
    d = rpd(split("a 100, b 0", ("a", a), ("b", b)), workers=1)
    assert tally(d.ask, 5) == {a.name: 5}
    d.reload(split("a 0%, b 100%", ("a", a), ("b", b)))
    assert tally(d.ask, 5) == {b.name: 5}


def test_a_client_stays_by_its_cookie(rpd, origin):
    a, b = origin(), origin()
    d = rpd(split("a 50, b 50", ("a", a), ("b", b), route="split_sticky = cookie side"))
    seen = set()
    for _ in range(40):
        res = d.ask()
        value = re.fullmatch(r"side=([0-9a-f]{16}); Path=/; HttpOnly; SameSite=Lax",
                             res.get("Set-Cookie"))[1]
        seen.add(origin_of(res))
        for _ in range(3):  # over both workers
            again = d.ask(headers=[("Cookie", f"x=1; side={value}")])
            assert origin_of(again) == origin_of(res) and not again.all("Set-Cookie")
    assert seen == {a.name, b.name}


def test_clients_move_only_to_where_more_is_wanted(rpd, origin):
    a, b = origin(), origin()
    d = rpd(split("a 50, b 50", ("a", a), ("b", b), route="split_sticky = cookie side"))
    clients = {}
    for _ in range(40):
        res = d.ask()
        clients[res.get("Set-Cookie").split(";")[0]] = origin_of(res)
    d.reload(split("a 20, b 80", ("a", a), ("b", b), route="split_sticky = cookie side"))
    for cookie, name in clients.items():
        now = origin_of(d.ask(headers=[("Cookie", cookie)]))
        assert name == a.name or now == b.name


def test_a_client_stays_by_its_address(rpd, origin):
    a, b = origin(), origin()
    d = rpd(split("a 50, b 50", ("a", a), ("b", b), route="split_sticky = source",
                  listener="trusted_proxies = 127.0.0.0/8"))
    seen = set()
    for i in range(32):
        def ask(address=f"10.0.0.{i}"):
            return d.ask(headers=[("X-Forwarded-For", address)])
        got = tally(ask, 4)
        assert len(got) == 1
        seen |= set(got)
    assert seen == {a.name, b.name}


def test_further_tries_stay_with_the_backend(rpd, origin):
    a, b = origin(), origin()
    b.close()
    d = rpd(split("a 50, b 50", ("a", a), ("b", b), route="retries = 3"), workers=1)
    got = collections.Counter(d.ask().status for _ in range(20))
    assert 9 <= got[200] <= 11 and 9 <= got[503] <= 11


def test_sessions_are_split(rpd, origin):
    def banner(conn):
        conn.send(conn.origin.name.encode() + b"\r\n")
        conn.wait_end()
    a, b = origin(banner), origin(banner)

    def ask(d):
        with d.client() as client:
            return client.line()
    plain = rpd(split("a 75, b 25", ("a", a), ("b", b), route="listener = web",
                      listener="mode = tcp"), workers=1)
    got = collections.Counter(ask(plain) for _ in range(40))
    assert abs(got[a.name.encode()] - 30) <= 2
    sticky = rpd(split("a 50, b 50", ("a", a), ("b", b), listener="mode = tcp",
                       route="listener = web\nsplit_sticky = source"))
    assert len({ask(sticky) for _ in range(10)}) == 1


def test_every_backend_of_a_split_is_used_and_printed(site, origin):
    s = site(split("a 95, b 5", ("a", origin()), ("b", origin())))
    done = s.check()
    assert done.returncode == 0 and "nothing uses it" not in done.stderr
