"""etc/examples: each is checked, run, and asked for what it promises; those with the configuration
of another proxy beside them do what that one does, where it is installed."""

import json
import shutil
import subprocess

import pytest

from harness.certs import Authority
from harness.client import Client
from harness.examples import EXAMPLES, Ground, Peer, fields_of, served_by
from harness.jwt import Issuer, in_seconds
from harness.origin import tcp_echo
from harness.tls import TlsClient, client_context, server_context
from harness.wire import Eof

OFFICE, STRANGER, BLOCKED = "192.0.2.7", "203.0.113.9", "198.51.100.4"


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def ground(origin, tmp_path):
    return Ground(origin, tmp_path)


def certify(ca, ground, label, *names):
    """A certificate where the example has it."""
    folder = ground.files / "tls"
    folder.mkdir(exist_ok=True)
    leaf = ca.issue(*names)
    shutil.copy(leaf.chain, folder / f"{label}.pem")
    shutil.copy(leaf.key, folder / f"{label}.key")


def tls_client(d, ca, name, listener="p443"):
    return TlsClient(d.addr(listener), client_context(ca.bundle), name)


def from_(address, *more):
    return [("X-Forwarded-For", address), *more]


def test_every_example_is_tested():
    here = {str(p.relative_to(EXAMPLES)) for p in EXAMPLES.rglob("*") if p.is_file()}
    assert here == {"ingress.ini", "canary.ini", "passthrough.ini", "gateway.ini",
                    "from-nginx/nginx.conf", "from-nginx/rpd.ini",
                    "from-haproxy/haproxy.cfg", "from-haproxy/rpd.ini"}


# ---- an ingress for ten services ----

INGRESS = [
    ("www.example.com", "GET", "/", "10.0.1.", "/"),
    ("www.example.com", "GET", "/cart/7?a=b", "10.0.2.", "/cart/7?a=b"),
    ("www.example.com", "GET", "/carton", "10.0.1.", "/carton"),
    ("www.example.com", "GET", "/search/books?q=x", "10.0.3.", "/books?q=x"),
    ("www.example.com", "GET", "/search", "10.0.3.", "/"),
    ("www.example.com", "GET", "/assets/app.0123abcd.js", "10.0.4.", "/assets/app.0123abcd.js"),
    ("www.example.com", "GET", "/assets/app.js", "10.0.1.", "/assets/app.js"),
    ("api.example.com", "GET", "/v1/users", "10.0.5.", "/v1/users"),
    ("api.example.com", "POST", "/v1/orders", "10.0.6.", "/v1/orders"),
    ("api.example.com", "GET", "/v1/orders/9", "10.0.7.", "/v1/orders/9"),
    ("api.example.com", "GET", "/v1/x/../orders", "10.0.7.", "/v1/orders"),
    ("live.example.com", "GET", "/", "10.0.8.", "/"),
    ("admin.example.com", "GET", "/", "10.0.9.", "/"),
    ("blue.shop.example.com", "GET", "/", "10.0.10.", "/"),
]


def test_ingress(rpd, ground, ca):
    certify(ca, ground, "example", "example.com", "*.example.com", "*.shop.example.com")
    d = rpd(ground.configuration("ingress.ini"))
    ground.wait_healthy(d)
    res = d.ask("/a?b", listener="p80", host="www.example.com")
    assert (res.status, res.get("Location")) == (301, "https://www.example.com/a?b")
    with tls_client(d, ca, "example.com") as client:
        res = client.ask("/a?b", host="example.com")
        assert (res.status, res.get("Location")) == (308, "https://www.example.com/a?b")
    for host, method, target, server, sent in INGRESS:
        with tls_client(d, ca, host) as client:
            res = client.ask(target, method, from_(OFFICE), host=host)
        at, asked = served_by(res)
        assert at.startswith(server) and asked == sent, (host, method, target, at, asked)
        assert res.get("Strict-Transport-Security")
    with tls_client(d, ca, "admin.example.com") as client:
        assert client.ask("/", "GET", from_(STRANGER), host="admin.example.com").status == 403
    assert fields_of(res)["x-tenant"] == "blue.shop.example.com"


# ---- a canary ----

def test_canary(rpd, ground):
    d = rpd(ground.configuration("canary.ini"))
    ground.wait_healthy(d)
    with d.client("p80") as client:
        at = {served_by(client.ask())[0] for _ in range(20)}
        tester = served_by(client.ask(headers=[("X-Canary", "yes")]))[0]
    assert len(at) > 1, "no cookie is sent back: each request is a client's first"
    assert tester in ("10.0.0.3:8080", "10.0.0.4:8080")
    status = json.loads(d.ctl("-o", "json", "stats", check=True).stdout)["canaries"]["checkout"]
    assert (status["state"], status["step"]) == ("running", 1)
    d.ctl("canary", "checkout", "rollback", check=True)
    with d.client("p80") as client:
        at = {served_by(client.ask())[0] for _ in range(20)}
    assert at <= {"10.0.0.1:8080", "10.0.0.2:8080"}


# ---- TLS passed through ----

def test_passthrough(rpd, ground, ca, origin):
    certify(ca, ground, "www", "www.example.com")
    ground.handler = None
    leaf = ca.issue("bank.example.com")
    seen = []

    def exact(sock, n):
        """No byte more: those behind are TLS's."""
        got = b""
        while len(got) < n:
            piece = sock.recv(n - len(got))
            if not piece:
                raise Eof("a check")
            got += piece
        return got

    def bank(conn):
        seen.append(exact(conn.sock, 16))
        exact(conn.sock, int.from_bytes(seen[-1][14:], "big"))
        conn.sock = server_context(leaf).wrap_socket(conn.sock, server_side=True)
        conn.send(b"the bank\n")
        tcp_echo(conn)
    ground.origins["10.0.1.1:443"] = ground.origins["10.0.1.2:443"] = origin(bank)
    d = rpd(ground.configuration("passthrough.ini", trusted=False))
    with tls_client(d, ca, "bank.example.com") as client:
        assert client.exact(9) == b"the bank\n"
    assert seen[-1][:12] == b"\r\n\r\n\0\r\nQUIT\n"
    with tls_client(d, ca, "www.example.com") as client:
        assert served_by(client.ask(host="www.example.com"))[0] == "10.0.3.1:8080"


# ---- an API gateway ----

def test_gateway(rpd, ground, ca, tmp_path):
    certify(ca, ground, "api", "api.example.com")
    issuer = Issuer(tmp_path, "rsa")
    (tmp_path / "errors").mkdir()
    for name in ("refused", "failed"):
        (tmp_path / "errors" / f"{name}.json").write_text(json.dumps({"error": name}))
    claims = {"sub": "acme", "iss": "https://login.example.com", "aud": "orders"}
    good, old = issuer.token(**claims, exp=in_seconds(600)), issuer.token(**claims, exp=1)
    d = rpd(ground.configuration("gateway.ini"))
    ground.wait_healthy(d)

    def ask(target, method="GET", *headers, body=None):
        with tls_client(d, ca, "api.example.com") as client:
            return client.ask(target, method, headers, body, host="api.example.com")
    for bad in ([], [("Authorization", f"Bearer {old}")], [("Authorization", f"Bearer {good}x")]):
        res = ask("/v1/orders", "GET", *bad)
        assert (res.status, json.loads(res.body)) == (401, {"error": "refused"})
        assert res.get("Content-Type") == "application/json"
        assert res.get("WWW-Authenticate").startswith("Bearer")
    res = ask("/v1/orders", "GET", ("Authorization", f"Bearer {good}"), ("X-Customer", "me"),
              ("Origin", "https://app.example.com"))
    assert fields_of(res)["x-customer"] == "acme"
    assert res.get("Access-Control-Allow-Origin") == "https://app.example.com"
    res = ask("/v1/orders", "OPTIONS", ("Origin", "https://app.example.com"),
              ("Access-Control-Request-Method", "DELETE"))
    assert res.status == 204 and "DELETE" in res.get("Access-Control-Allow-Methods")
    tries = [ask("/v1/login", "POST", body=b"").status for _ in range(8)]
    assert tries[:5] == [200] * 5 and tries[-1] == 429
    assert ask("/status").body == b"ok"
    assert served_by(ask("/v1/reports"))[0] == "10.0.3.1:8080"
    assert ground.server("10.0.2.1:8080").last().target == "/check"


# ---- from nginx, from HAProxy: the same answers ----

class Side:
    """What is compared of one of the two."""

    def __init__(self, ask):
        self.ask = ask

    def row(self, host, method, target, headers):
        res = self.ask(target, method, headers, host=host)
        at = served_by(res)
        return res.status, res.get("Location"), at and at[0].rsplit(".", 1)[0], at and at[1]


def compare(rows, *sides):
    for request, expected in rows:
        for side in sides:
            assert side.row(*request) == expected, request


SITE = "www.example.com"
NGINX = [
    (("example.com", "GET", "/a?b", ()), (301, f"http://{SITE}/a?b", None, None)),
    ((SITE, "GET", "/x?y=z", ()), (200, None, "10.0.1", "/x?y=z")),
    ((SITE, "GET", "/api/users?a", ()), (200, None, "10.0.1", "/v2/users?a")),
    ((SITE, "GET", "/chat/room", ()), (200, None, "10.0.2", "/chat/room")),
    ((SITE, "GET", "/internal/x", from_(OFFICE)), (200, None, "10.0.1", "/internal/x")),
    ((SITE, "GET", "/internal/x", from_(STRANGER)), (403, None, None, None)),
    ((SITE, "GET", "/old", ()), (301, f"http://{SITE}/new", None, None)),
    ((SITE, "GET", "/private", ()), (401, None, None, None)),
    ((SITE, "GET", "/private", (("Authorization", "Basic bWU6c2VjcmV0"),)),
     (200, None, "10.0.1", "/private")),
    ((SITE, "GET", "/private", (("Authorization", "Basic bWU6c2VjcmVU"),)),
     (401, None, None, None)),
]


@pytest.fixture
def peer(ground):
    made = []

    def make(*arguments):
        made.append(Peer(ground, *arguments))
        return made[-1]
    yield make
    for one in made:
        one.close()


def asks_anew(addr):
    def ask(*arguments, **kw):
        with Client(addr) as client:
            return client.ask(*arguments, **kw)
    return ask


def nginx(peer, tmp_path):
    """As it is, in the foreground, on free ports; it believes X-Forwarded-For as rpd does here."""
    if not shutil.which("nginx"):
        return None
    return peer("from-nginx/nginx.conf", ["nginx", "-p", str(tmp_path), "-c"], [
        (r"^events", "daemon off; master_process off; pid @dir@/pid; error_log stderr;\nevents"),
        (r"^http {", "http {\naccess_log off; set_real_ip_from 127.0.0.1; "
         "real_ip_header X-Forwarded-For;\n" + "".join(
             f"{kind}_temp_path @dir@/{kind};" for kind in
             ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))),
        (r"listen 80;", "listen @p80@; port_in_redirect off;"),
    ])


def test_from_nginx(rpd, ground, peer, tmp_path):
    secret = subprocess.run(["openssl", "passwd", "-6", "secret"], stdout=subprocess.PIPE,
                            check=True, text=True).stdout
    (tmp_path / "users").write_text(f"me:{secret}")
    d = rpd(ground.configuration("from-nginx/rpd.ini"))
    sides = [Side(asks_anew(d.addr("p80")))]
    other = nginx(peer, tmp_path)
    if other:
        sides.append(Side(asks_anew(other.addr("p80"))))
        other.wait_ready(lambda: sides[1].ask("/", host=SITE).status == 200)
    compare(NGINX, *sides)
    for side in sides:
        tries = [side.ask("/login", "GET", host=SITE).status for _ in range(9)]
        assert tries[:5] == [200] * 5 and tries[-1] == 429
        res = side.ask("/bytes/3", host=SITE, headers=[("Accept-Encoding", "gzip")])
        assert not res.has("Content-Encoding"), "too short"


HAPROXY = [
    ((SITE, "GET", "/home", ()), (302, "https://www.example.com/", None, None)),
    ((SITE, "GET", "/static/a/b.css?v=1", ()), (200, None, "10.0.3", "/a/b.css?v=1")),
    ((SITE, "GET", "/any", (("X-Beta", "yes"),)), (200, None, "10.0.2", "/any")),
    ((SITE, "GET", "/any", (("X-Beta", "no"),)), (200, None, "10.0.1", "/any")),
    (("API.example.com", "GET", "/v1", ()), (200, None, "10.0.4", "/v1")),
]


def haproxy(peer):
    if not shutil.which("haproxy"):
        return None
    return peer("from-haproxy/haproxy.cfg", ["haproxy", "-db", "-f"], [
        (r"bind :(\d+)", r"bind @p\1@"),
    ])


def say_hello(conn):
    conn.line()
    conn.send(b"hello\n")
    tcp_echo(conn)


def test_from_haproxy(rpd, ground, peer, origin):
    for address in ("10.0.5.1:5432", "10.0.5.2:5432"):
        ground.origins[address] = origin(say_hello)
    d = rpd(ground.configuration("from-haproxy/rpd.ini").replace(
        "@p5432@\ntrusted_proxies = 127.0.0.1", "@p5432@"))
    ground.wait_healthy(d)
    addresses = [d.addr]
    other = haproxy(peer)
    if other:
        addresses.append(other.addr)
        other.wait_ready(lambda: asks_anew(other.addr("p80"))("/", host=SITE).status == 200)
    compare(HAPROXY, *(Side(asks_anew(addr("p80"))) for addr in addresses))
    for addr in addresses:
        res = asks_anew(addr("p80"))("/", host=SITE)
        assert res.get("X-Frame-Options") == "DENY"
        assert res.get("Set-Cookie").startswith("SITE=")
        with Client(addr("p5432")) as client:
            assert client.exact(6) == b"hello\n"
    with d.client("p80") as client:
        assert client.ask("/", "GET", from_(BLOCKED), host=SITE).status == 403
