"""jwt_key: requests need a token that was signed for this route; its claims are variables."""
import pytest

from harness.daemon import plain
from harness.jwt import Issuer, bearer, in_seconds
from harness.util import wait_until

CONFIG = """
[listener web]
bind = @web@
[backend pool]
server = {origin}
[route open]
backend = pool
[route locked]
path = /locked
jwt_key = {keys}
jwt_issuer = https://login.example.com
jwt_audience = orders, billing
request_header = set X-Sub: $jwt_sub, set X-Groups: $jwt_groups, set X-Plan: $jwt_plan_name
backend = pool
[route any]
path = /any
jwt_key = {keys}
jwt_leeway = 1m
backend = pool
"""
GLOBALS = """access_log = {log}
access_log_format = $status $jwt_sub $end_reason
"""
GOOD = {"iss": "https://login.example.com", "aud": "orders", "sub": "alice"}


@pytest.fixture(scope="module")
def issuers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("issuers")
    return {kind: Issuer(folder, kind, kind) for kind in ("rsa", "ec", "ed25519")}


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return Issuer(tmp_path_factory.mktemp("other"), "ec")


@pytest.fixture(scope="module")
def up(shared_rpd, shared_origin, issuers, tmp_path_factory):
    log = tmp_path_factory.mktemp("log") / "access.log"
    keys = ", ".join(str(issuer.public) for issuer in issuers.values())
    origin = shared_origin()
    d = shared_rpd(CONFIG.format(origin=origin.addr, keys=keys), globals_=GLOBALS.format(log=log))
    d.origin, d.log = origin, log
    return d


def ask(d, token, path="/locked", **kw):
    return d.ask(path, headers=bearer(token), **kw)


@pytest.mark.parametrize("kind", ["rsa", "ec", "ed25519"])
def test_a_good_token_lets_in(up, issuers, kind):
    token = issuers[kind].token(**GOOD, exp=in_seconds(60), groups=["a", "b"], **{"plan-name": 7})
    assert ask(up, token).status == 200
    seen = up.origin.requests[-1]
    assert (seen.get("X-Sub"), seen.get("X-Groups"), seen.get("X-Plan")) == ("alice", "a,b", "7")
    assert seen.get("Authorization") == f"Bearer {token}"


def test_without_a_token(up):
    before = len(up.origin.requests)
    for headers in ([], [("Authorization", "Basic YTpi")], [("Authorization", "Bearertoken")]):
        res = up.ask("/locked", headers=headers)
        assert (res.status, res.get("WWW-Authenticate")) == (401, "Bearer")
        assert b"no token" in res.body
    assert up.ask("/open").status == 200
    assert len(up.origin.requests) == before + 1


@pytest.mark.parametrize("claims, why", [
    ({"iss": "https://evil.example.com"}, "another issuer"),
    ({"aud": "shipping"}, "another audience"),
    ({"aud": ["shipping"]}, "another audience"),
    ({"exp": in_seconds(-60)}, "expired"),
    ({"nbf": in_seconds(3600)}, "not valid yet"),
    ({"exp": "never"}, "malformed"),
])
def test_claims_that_do_not_fit(up, issuers, claims, why):
    res = ask(up, issuers["ec"].token(**{**GOOD, **claims}))
    assert res.status == 401
    assert res.get("WWW-Authenticate").startswith('Bearer error="invalid_token", ')
    assert why in res.get("WWW-Authenticate") and why in res.get("Proxy-Status")


def test_of_several_audiences_one_is_enough(up, issuers):
    assert ask(up, issuers["ec"].token(**{**GOOD, "aud": ["x", "billing"]})).status == 200


def test_the_leeway(up, issuers):
    token = issuers["ec"].token(exp=in_seconds(-40))
    assert ask(up, token, "/any").status == 200
    assert ask(up, issuers["ec"].token(exp=in_seconds(-90)), "/any").status == 401


def test_forged_tokens(up, issuers, other):
    good = issuers["ec"].token(**GOOD)
    head, claims, signature = good.split(".")
    forged = [
        other.token(**GOOD), f"{head}.{claims}.", f"{head}.{claims}", "x", "a.b.c",
        f"{head}.{issuers['ec'].token(**{**GOOD, 'sub': 'root'}).split('.')[1]}.{signature}",
        issuers["ec"].token({"alg": "none"}, **GOOD), issuers["ec"].token({"alg": "HS256"}, **GOOD),
        issuers["ec"].token({"alg": "RS256"}, **GOOD), issuers["ec"].token({"crit": ["x"]}, **GOOD),
        "A" * 20000,
    ]
    for token in forged:
        assert ask(up, token).status == 401, token
    twice = up.ask("/locked", headers=bearer(good) + bearer(other.token(**GOOD)))
    assert twice.status == 401
    assert ask(up, good).status == 200


def test_a_client_cannot_say_who_it_is(up, issuers):
    token = issuers["ec"].token(**GOOD)
    up.ask("/locked", headers=bearer(token) + [("X-Sub", "root")])
    assert up.origin.requests[-1].all("X-Sub") == ["alice"]


def test_counted_and_logged(up, issuers):
    before = up.route_count("locked", "unauthorized")
    up.ask("/locked")
    ask(up, issuers["ec"].token(**{**GOOD, "sub": "bob"}))
    up.wait_stats(lambda s: s["routes"]["locked"]["unauthorized"] == before + 1)
    wait_until(lambda: {"401 - no token", "200 bob ok"} <= set(up.log.read_text().split("\n")))


def test_a_body_that_was_on_its_way(up, issuers):
    res = up.ask("/locked", method="POST", body=b"x" * 1000)
    assert res.status == 401
    res = up.ask("/locked", method="POST", body=b"x" * 100000, headers=bearer(
        issuers["ed25519"].token(**GOOD)))
    assert res.status == 200 and len(up.origin.requests[-1].body) == 100000


def test_a_reload_takes_new_keys(rpd, origin, issuers, other, tmp_path):
    key = tmp_path / "keys.pem"
    key.write_bytes(issuers["ec"].public.read_bytes())
    d = rpd(plain(origin(), route=f"jwt_key = {key}"))
    assert ask(d, issuers["ec"].token(), "/").status == 200
    assert ask(d, other.token(), "/").status == 401
    key.write_bytes(issuers["ec"].public.read_bytes() + other.public.read_bytes())
    d.reload()
    assert ask(d, issuers["ec"].token(), "/").status == 200
    assert ask(d, other.token(), "/").status == 200


def test_default_backend_asks_too(rpd, origin, issuers):
    d = rpd(f"[listener web]\nbind = @web@\ndefault_backend = app\n"
            f"[defaults route]\njwt_key = {issuers['ec'].public}\n"
            f"[backend app]\nserver = {origin().addr}\n")
    assert d.ask("/").status == 401
    assert ask(d, issuers["ec"].token(), "/").status == 200


@pytest.mark.parametrize("content, why", [
    ("hello", "no public key"), ("{}", "none of its keys"), ("[", "no public key"),
    ("private", "private key"),
])
def test_files_without_keys(rpd, origin, issuers, tmp_path, content, why):
    file = tmp_path / "keys"
    file.write_text(issuers["ec"].key.read_text() if content == "private" else content)
    d = rpd(plain(origin()))
    text = plain("127.0.0.1:9", route=f"jwt_key = {file}")
    said = d.reload(text, status=1).stderr
    line = next(n for n, l in enumerate(d.config.read_text().split("\n"), 1) if "jwt_key" in l)
    assert f":{line}: [route all] jwt_key: '{file}'" in said and why in said
