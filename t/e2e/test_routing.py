"""Which route takes a request, and routes that answer by themselves."""

import pytest

ROUTES = """
[listener web]
bind = @web@
default_backend = pool

[listener other]
bind = @other@

[route path-a]
path = /a
respond = 200 path-a

[route path-ab]
path = /a/b
respond = 200 path-ab

[route path-slash]
path = /s/
respond = 200 path-slash

[route wild]
host = *.example.com
respond = 200 wild

[route wild-long]
host = *.sub.example.com
respond = 200 wild-long

[route exact]
host = api.example.com, api2.example.com
respond = 200 exact

[route exact-path]
host = api.example.com
path = /a
respond = 200 exact-path

[route only-other]
listener = other
path = /only
respond = 200 only-other

[route both]
path = /both
respond = 200 both-any

[route both-other]
listener = other
path = /both/x
respond = 200 both-other

[backend pool]
server = POOL
"""


@pytest.fixture(scope="module")
def up(shared_rpd, shared_origin):
    return shared_rpd(ROUTES.replace("POOL", shared_origin().addr))


@pytest.mark.parametrize("host, target, route", [
    # prefixes by whole segments, the longest first
    ("x", "/a", "path-a"), ("x", "/a/", "path-a"), ("x", "/a/c", "path-a"),
    ("x", "/a?q=/b", "path-a"), ("x", "/a/b", "path-ab"), ("x", "/a/b/c", "path-ab"),
    ("x", "/a/bc", "path-a"), ("x", "/ab", None), ("x", "/A", None), ("x", "/", None),
    ("x", "/s/x", "path-slash"), ("x", "/s", "path-slash"), ("x", "/sx", None),
    # hosts: exact, longest wildcard, none
    ("api.example.com", "/", "exact"), ("api2.example.com", "/a", "exact"),
    ("api.example.com", "/a", "exact-path"), ("api.example.com", "/a/b", "exact-path"),
    ("API.Example.COM", "/", "exact"), ("api.example.com:8080", "/", "exact"),
    ("x.example.com", "/", "wild"), ("x.example.com", "/a", "wild"),
    ("x.y.example.com", "/", "wild"), ("x.sub.example.com", "/", "wild-long"),
    ("sub.example.com", "/", "wild"), ("example.com", "/", None), ("xexample.com", "/", None),
    ("notapi.example.com", "/", "wild"),
    # listeners
    ("x", "/only", None), ("x", "/both/x", "both-any"),
])
def test_most_specific_route_wins(up, host, target, route):
    res = up.ask(target, host=host)
    assert res.status == 200
    if route is None:
        assert res.get("Content-Type") == "application/json", "default_backend answers"
    else:
        assert res.body.decode().strip() == route


@pytest.mark.parametrize("target, route", [("/only", "only-other"), ("/both/x", "both-other"),
                                           ("/both", "both-any"), ("/a", "path-a")])
def test_route_of_a_listener(up, target, route):
    assert up.ask(target, listener="other").body.decode().strip() == route


def test_listener_without_default_backend_says_404(up):
    res = up.ask("/nothing/here", listener="other")
    assert res.status == 404
    assert res.has("Proxy-Status")
    assert res.length < 1000


def test_404_keeps_the_connection(up):
    with up.client("other") as client:
        assert client.ask("/nothing").status == 404
        assert client.ask("/a").status == 200


def test_404_after_a_body_keeps_the_connection_in_step(up):
    with up.client("other") as client:
        assert client.ask("/nothing", "POST", body=b"x" * 5000).status == 404
        try:
            res = client.ask("/a")
        except Exception:
            return  # closing is fine too
        assert res.status == 200


@pytest.mark.parametrize("target", ["/a/../only", "/x/../a", "/%61"])
def test_paths_are_compared_as_they_are_sent_on(up, target):
    """What routing sees and what the server sees must be the same path."""
    res = up.ask(target)
    assert res.status in (200, 400)


def test_respond(rpd):
    d = rpd("""
        [listener web]
        bind = @web@
        [route text]
        path = /text
        respond = 200 hello $host $method
        [route empty]
        path = /empty
        respond = 204
        [route gone]
        path = /gone
        respond = 410 it is gone
        """)
    with d.client() as client:
        res = client.ask("/text", host="site.example")
        assert (res.status, res.body.strip()) == (200, b"hello site.example GET")
        assert res.get("Content-Type") == "text/plain; charset=utf-8"
        res = client.ask("/text", "HEAD")
        assert res.status == 200 and int(res.get("Content-Length")) > 0
        assert client.ask("/empty").status == 204
        assert client.ask("/gone").status == 410
        res = client.ask("/text", "POST", body=b"ignored" * 1000)
        assert res.body.strip() == b"hello test POST"
        assert client.ask("/text").status == 200
    stats = d.wait_stats(lambda s: s["routes"]["text"]["requests_total"] == 4)
    assert stats["routes"]["empty"]["status_2xx"] == 1
    assert stats["routes"]["gone"]["status_4xx"] == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect(rpd, status):
    d = rpd(f"""
        [listener web]
        bind = @web@
        [route all]
        redirect = {status} https://$host$uri
        """, workers=1)
    with d.client() as client:
        res = client.ask("/a/b?c=d", host="Site.Example:8080")
        assert res.status == status
        assert res.get("Location") == "https://site.example/a/b?c=d"
        assert client.ask().status == status


def test_route_counts_and_backend_counts(rpd, origin):
    o = origin()
    d = rpd(f"""
        [listener web]
        bind = @web@
        [route one]
        path = /one
        backend = pool
        [route two]
        path = /two
        backend = pool
        [backend pool]
        server = {o.addr} name=s
        """)
    for status in (200, 201, 301, 404, 500, 503):
        d.ask(f"/one/status/{status}")
    d.ask("/two")
    d.ask("/three")
    stats = d.wait_stats(lambda s: s["listeners"]["web"]["requests_total"] == 8)
    one = stats["routes"]["one"]
    assert [one[f"status_{n}xx"] for n in range(1, 6)] == [0, 2, 1, 1, 2]
    assert one["requests_total"] == 6 and stats["routes"]["two"]["requests_total"] == 1
    assert one["latency"]["count"] == 6
    server = stats["backends"]["pool"]["servers"]["s"]
    assert server["requests_total"] == stats["backends"]["pool"]["requests_total"] == 7
    assert [server[f"status_{n}xx"] for n in range(1, 6)] == [0, 3, 1, 1, 2]


def test_five_thousand_routes(rpd):
    text = "[listener web]\nbind = @web@\n"
    for n in range(2500):
        text += f"[route h{n}]\nhost = h{n}.example\nrespond = 200 h{n}\n"
        text += f"[route p{n}]\npath = /p{n}\nrespond = 200 p{n}\n"
    d = rpd(text)
    with d.client() as client:
        for n in (0, 1, 1249, 2499):
            assert client.ask(host=f"h{n}.example").body.strip() == b"h%d" % n
            assert client.ask(f"/p{n}/x").body.strip() == b"p%d" % n
        assert client.ask("/p2500").status == 404
