"""auth_basic: who comes in with a password."""

import base64
import json
import re
import signal

import pytest

from harness.client import request_bytes
from harness.daemon import plain
from harness.util import wait_until

# crypt(3) of: bcrypt, SHA-crypt, yescrypt
USERS = {
    "ann": ("open sesame", "$2b$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW"),
    "bob": ("b:o:b", "$5$rounds=1000$salt$sGdZSpaW4hjeX/9ckrofw03p3IuWmZaF1IBDFk7hGZ/"),
    "cyd": ("cyd's", "$6$rounds=1000$saltsalt$4Sp5pwhZIL4g869ZvdUBkqiY5t93zNfmY8HxJsEipfjCkpygzV7O"
            "2sokHOP5kCv18PQKG6T5dg6BMUe5R74Wm/"),
    "dée": ("dée", "$y$j75$abcdefgh$WDD5qjKS9IKp3/avVQYda0AcbQ.fcF5wHAcisJlQiCA"),
    "eve": ("", "$2y$05$abcdefghijklmnopqrstuu0oImNDIy4flhldV9YqunRgBAePKmw7m"),
    "fay": ("f", "$2a$05$abcdefghijklmnopqrstuuqbGtCT4ucHzWSZgEaz8C/Il55wdREbS"),
}
# Takes a good part of a second; that of `slow`.
SLOW = ("$6$rounds=400000$salt$lScAMGETBDgkITx8zgRdc.Q.aIzxuBmYaHmKpxOkAidnO0Aj9LnJimlgVqlTCJJkH0"
        ".egWjW4CDq7DUIGtXY//")
# Takes seconds, and fits no password.
SLOWEST = f"$6$rounds=3000000$salt${'x' * 86}"
HEAD = "[listener web]\nbind = @web@\n"


def basic(user, password, scheme="Basic"):
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    return [("Authorization", f"{scheme} {token}")]


def raw(data):
    return [("Authorization", "Basic " + base64.b64encode(data).decode())]


def lines(users):
    return "".join(f"{user}:{of[1]}\n" for user, of in users.items())


@pytest.fixture
def users(tmp_path):
    path = tmp_path / "users"
    path.write_text(lines(USERS))
    return path


@pytest.fixture(scope="module")
def up(shared_rpd, shared_origin, tmp_path_factory):
    path = tmp_path_factory.mktemp("auth") / "users"
    path.write_text("# of the test\n\n" + lines(USERS).replace("\nbob", ":a remark\r\nbob"))
    return shared_rpd(f"""
        [listener web]
        bind = @web@
        [route in]
        auth_basic = {path}
        request_header = set X-User: $auth_user
        backend = pool
        [route named]
        host = api.example.com
        auth_basic = {path}
        respond = 200 hello $auth_user
        [route quoted]
        path = /quoted
        auth_basic = {path}
        auth_realm = The "A\\B" team
        respond = 200 x
        [route open]
        path = /open
        respond = 200 open
        [backend pool]
        server = {shared_origin().addr}
        """)


def header(res, name):
    """Of the request as the origin got it."""
    return dict((k.lower(), v) for k, v in json.loads(res.body)["headers"]).get(name)


@pytest.mark.parametrize("user", USERS)
def test_good_passwords(up, user):
    for _ in range(2):
        res = up.ask("/", headers=basic(user, USERS[user][0]))
        assert res.status == 200
    assert header(res, "x-user").encode("latin-1").decode() == user
    assert header(res, "authorization").startswith("Basic "), "it is passed on"


@pytest.mark.parametrize("sent", [
    basic("ann", "open sesam"), basic("ann", "open sesame "), basic("ann", ""),
    basic("bob", "b"), basic("nobody", "open sesame"), basic("", "open sesame"),
    basic("ann ", "open sesame"), basic("ANN", "open sesame"), basic("an", "open sesame"),
    basic("eve", "x"), basic("ann", "x" * 511), basic("ann", "x" * 512), basic("ann", "x" * 9000),
    raw(b"ann"), raw(b""), raw(b":"), raw(b"ann:open sesame\0"), raw(b"ann\0:open sesame"),
    raw(b"\xff\xfe:\x80"),
    [("Authorization", "Basic YW5uOm9wZW4gc2VzYW1l=")],
    [("Authorization", "Basic YW5uOm9wZW4gc2Vz YW1l")],
    [("Authorization", "Basic YW5uOm9wZW4gc2VzYW1lYW5uOm9wZW4gc2VzYW1")],
    [("Authorization", "Basic")], [("Authorization", "Basic ")],
    basic("ann", "open sesame", "Bearer"), basic("ann", "open sesame", "Basically"),
    basic("ann", "open sesame") + basic("ann", "open sesame"),
    basic("ann", "open sesame") + [("Authorization", "x")],
    [("Proxy-Authorization", basic("ann", "open sesame")[0][1])], [],
])
def test_anything_else_is_refused(up, sent):
    before = up.route_count("in", "unauthorized")
    res = up.ask("/", headers=sent)
    assert res.status == 401
    assert res.get("WWW-Authenticate") == 'Basic realm="in", charset="UTF-8"'
    assert "http_request_denied" in res.get("Proxy-Status")
    up.wait_stats(lambda s: s["routes"]["in"]["unauthorized"] == before + 1)


def test_the_scheme_is_a_word_of_any_case(up):
    assert up.ask("/", headers=basic("ann", "open sesame", "bASIC")).status == 200
    assert up.ask("/", headers=basic("ann", "open sesame", "Basic  ")).status == 200


def test_realms(up):
    def realm(target, host):
        res = up.ask(target, host=host)
        assert res.status == 401 and res.body == b"401 Unauthorized: no password\n"
        return res.get("WWW-Authenticate")
    assert realm("/", "api.example.com") == 'Basic realm="api.example.com", charset="UTF-8"'
    assert realm("/quoted", "x") == r'Basic realm="The \"A\\B\" team", charset="UTF-8"'
    assert up.ask("/open").status == 200


def test_one_connection_is_asked_each_time(up):
    good = request_bytes("GET", "/", basic("ann", "open sesame"), host="api.example.com")
    bad = request_bytes("GET", "/", basic("ann", "x"), host="api.example.com")
    with up.client() as c:
        c.send(good + bad + good + bad + good)
        got = [c.response() for _ in range(5)]
    assert [res.status for res in got] == [200, 401, 200, 401, 200]
    assert [res.body for res in got[::2]] == [b"hello ann"] * 3


def test_a_body_is_carried_after_the_wait(rpd, users, origin):
    d = rpd(plain(origin(), route=f"auth_basic = {users}"))
    body = b"x" * 300_000
    res = d.ask("/echo", "POST", headers=basic("cyd", "cyd's"), body=body)
    assert res.status == 200
    assert d.ask("/echo", "POST", headers=basic("cyd", "no"), body=body).status == 401
    assert d.ask("/", headers=basic("cyd", "cyd's")).status == 200


def test_what_was_good_is_known(rpd, users):
    d = rpd(HEAD + f"[route all]\nauth_basic = {users}\nrespond = 200 x\n", workers=1)
    for _ in range(5):
        assert d.ask("/", headers=basic("cyd", "cyd's")).status == 200
    d.wait_stats(lambda s: s["routes"]["all"]["requests_total"] == 5)
    assert d.worker_total("password_checks") == 1
    for name in ("cyd", "nobody", ""):
        for _ in range(2):
            assert d.ask("/", headers=basic(name, "wrong")).status == 401
    assert d.worker_total("password_checks") == 7, "a wrong one costs a check, whose it may be"


def test_a_reload_reads_the_file_again(rpd, users):
    d = rpd(HEAD + f"[route all]\nauth_basic = {users}\nrespond = 200 x\n")
    assert d.ask("/", headers=basic("cyd", "cyd's")).status == 200
    users.write_text(lines({"cyd": USERS["fay"], "fay": USERS["cyd"]}))
    assert "content" in d.ctl("config", "diff", d.config).stdout
    d.reload()
    assert d.ask("/", headers=basic("cyd", "cyd's")).status == 401
    assert d.ask("/", headers=basic("cyd", "f")).status == 200
    assert d.ask("/", headers=basic("fay", "cyd's")).status == 200
    assert d.ask("/", headers=basic("ann", "open sesame")).status == 401
    users.write_text("cyd:secret\n")
    d.ctl("reload")
    d.wait_log(rf"{users}:1: 'cyd' has a password in the clear.*named at .*rpd.ini:\d+")
    assert "secret" not in d.stderr()
    assert d.ask("/", headers=basic("cyd", "f")).status == 200, "the old configuration stays"


def test_the_loop_goes_on_meanwhile(rpd, tmp_path):
    (tmp_path / "slowest").write_text(f"slow:{SLOWEST}\n")
    d = rpd(HEAD + f"[route all]\nauth_basic = {tmp_path}/slowest\nrespond = 200 x\n"
            "[route open]\npath = /open\nrespond = 200 open\n", workers=1)
    with d.client() as waits:
        waits.send(request_bytes("GET", "/", basic("slow", "x")))
        d.wait_stats(lambda s: s["routes"]["all"]["active"] == 1)
        for _ in range(20):
            assert d.ask("/open").status == 200
        assert d.worker_total("password_checks") == 0
        assert waits.response().status == 401
    assert d.worker_total("password_checks") == 1


def test_the_same_question_is_asked_once(rpd, tmp_path):
    (tmp_path / "slow").write_text(f"slow:{SLOW}\n")
    d = rpd(HEAD + f"[route all]\nauth_basic = {tmp_path}/slow\nrespond = 200 x\n", workers=1)
    clients = [d.client() for _ in range(10)]
    for c in clients:
        c.send(request_bytes("GET", "/", basic("slow", "slow")))
    assert {c.response().status for c in clients} == {200}
    assert d.worker_total("password_checks") == 1


def test_who_leaves_is_forgotten(rpd, users, tmp_path):
    (tmp_path / "slow").write_text(f"slow:{SLOW}\n")
    d = rpd(HEAD + f"[route all]\nauth_basic = {tmp_path}/slow\nrespond = 200 x\n"
            f"[route fast]\npath = /fast\nauth_basic = {users}\nrespond = 200 fast\n", workers=1)
    leavers = [d.client() for _ in range(20)]
    for n, c in enumerate(leavers):
        c.send(request_bytes("GET", "/", basic("slow", n)))
    d.wait_stats(lambda s: s["routes"]["all"]["active"] == len(leavers))
    for c in leavers:
        c.close()
    d.wait_stats(lambda s: s["routes"]["all"]["active"] == 0)
    assert d.ask("/fast", headers=basic("cyd", "cyd's")).status == 200
    done = d.worker_total("password_checks")
    assert done < len(leavers), "what nobody waits for is not checked"
    assert d.route_count("all", "unauthorized") < done


def test_too_many_are_told_to_come_again(rpd, users, tmp_path):
    (tmp_path / "slowest").write_text(f"slow:{SLOWEST}\n")
    d = rpd(HEAD + f"[route all]\nauth_basic = {tmp_path}/slowest\nrespond = 200 x\n"
            f"[route fast]\npath = /fast\nauth_basic = {users}\nrespond = 200 fast\n", workers=1)
    with d.client() as known:
        known.ask("/fast", headers=basic("cyd", "cyd's"))
        waiting = [d.client() for _ in range(65)]
        for n, c in enumerate(waiting):
            c.send(request_bytes("GET", "/", basic("slow", n)))
        d.wait_stats(lambda s: s["routes"]["all"]["active"] == 65)
        res = d.ask("/", headers=basic("slow", "one more"))
        assert res.status == 503 and b"password queue full" in res.body
        assert int(res.get("Retry-After")) > 0
        assert d.worker_total("password_shed") == 1
        assert known.ask("/fast", headers=basic("cyd", "cyd's")).status == 200, "known is known"
        for c in waiting:
            c.close()
        d.wait_stats(lambda s: s["routes"]["all"]["active"] == 0)
        assert known.ask("/fast", headers=basic("fay", "f")).status == 200, "there is room again"


def test_a_retiring_worker_waits_for_the_answer(rpd, tmp_path):
    (tmp_path / "slow").write_text(f"slow:{SLOW}\n")
    d = rpd(HEAD + f"[route all]\nauth_basic = {tmp_path}/slow\nrespond = 200 in\n", workers=1)
    with d.client() as c:
        c.send(request_bytes("GET", "/", basic("slow", "slow")))
        d.wait_stats(lambda s: s["routes"]["all"]["active"] == 1)
        d.signal(signal.SIGQUIT)
        res = c.response()
        assert res.status == 200 and res.body == b"in"
    assert d.wait_exit() == 0


def test_a_worker_that_stops_does_not_wait_for_those_in_the_queue(rpd, tmp_path):
    (tmp_path / "slow").write_text(f"slow:{SLOW}\n")
    d = rpd(HEAD + f"[route all]\nauth_basic = {tmp_path}/slow\nrespond = 200 in\n")
    clients = [d.client() for _ in range(30)]
    for n, c in enumerate(clients):
        c.send(request_bytes("GET", "/", basic("slow", n)))
    d.wait_stats(lambda s: s["routes"]["all"]["active"] > 10)
    d.signal(signal.SIGTERM)
    assert d.wait_exit() == 0


def test_there_is_no_thread_before_it_is_needed(rpd, users):
    d = rpd(HEAD + f"[route all]\nauth_basic = {users}\nrespond = 200 x\n", workers=1)
    (pid,) = d.worker_pids()

    def threads():
        with open(f"/proc/{pid}/status", encoding="utf-8") as f:
            return int(re.search(r"Threads:\s+(\d+)", f.read())[1])
    assert d.ask("/").status == 401
    before = threads()
    assert d.ask("/", headers=basic("ann", "no")).status == 401
    assert threads() == before + 1


def test_the_log_names_who_came_in(rpd, users, tmp_path):
    log = tmp_path / "access.log"
    d = rpd(HEAD + f"[route all]\nauth_basic = {users}\nrespond = 200 x\n",
            globals_=f"access_log = {log}\n")
    d.ask("/", headers=basic("ann", "open sesame"))
    d.ask("/", headers=basic("ann", "x"))
    wait_until(lambda: log.read_text().count("\n") == 2, 10, "the lines")
    first, second = log.read_text().splitlines()
    assert first.startswith("127.0.0.1 - ann [") and second.startswith("127.0.0.1 - - [")


def test_defaults_and_their_exceptions(rpd, users, origin):
    d = rpd(f"[listener web]\nbind = @web@\ndefault_backend = pool\n"
            f"[defaults route]\nauth_basic = {users}\nauth_realm = all of it\n"
            f"[route open]\npath = /open\nauth_basic =\nrespond = 200 x\n"
            f"[backend pool]\nserver = {origin().addr}\n")
    res = d.ask("/")
    assert res.status == 401 and 'realm="all of it"' in res.get("WWW-Authenticate")
    assert d.ask("/", headers=basic("ann", "open sesame")).status == 200
    assert d.ask("/open").status == 200
    printed = d.ctl("config", check=True).stdout
    assert "auth_realm = all of it" not in printed.split("[route open]")[1]


@pytest.mark.parametrize("text, line, says", [
    ("ann:$apr1$abcdefgh$" + "x" * 22, 1, r"'ann' has an MD5 hash.*openssl passwd -6.*htpasswd -B"),
    ("ann:$1$abcdefgh$" + "x" * 22, 1, r"'ann' has an MD5 hash"),
    ("ann:{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk=", 1, r"'ann' has a \{...\} hash.*openssl passwd -6"),
    ("ann:hunter2", 1, r"'ann' has a password in the clear.*openssl passwd -6"),
    ("ann:", 1, r"'ann' has no hash of a password.*openssl passwd -6"),
    ("ann:$argon2id$v=19$m=65536", 1, r"'ann' has a hash of a kind that is not known: \$2a\$"),
    ("# who\n\nann:$2b$05$abc", 3, r"'ann' has a bcrypt hash that is cut off or garbled"),
    ("ann:$2b$17$" + "x" * 53, 1, r"takes seconds to check: its cost may be 16"),
    ("ann:$5$salt$" + "x" * 42, 1, r"'ann' has a SHA-crypt hash that is cut off"),
    ("ann:$6$salt$" + "x" * 85 + "!", 1, r"'ann' has a SHA-crypt hash that is cut off"),
    ("ann:$6$rounds=20000000$salt$" + "x" * 86, 1, r"10000000 rounds at most"),
    ("ann:$6$rounds=many$salt$" + "x" * 86, 1, r"'ann' has a SHA-crypt hash that is cut off"),
    ("ann:$y$j9T$salt$" + "x" * 42, 1, r"'ann' has a yescrypt hash.*mkpasswd -m yescrypt"),
    ("ann:$2b$" + "x" * 300, 1, r"'ann' has a hash that is too long"),
    (f"ann:{USERS['ann'][1]}\nbob:{USERS['bob'][1]}\nann:{USERS['bob'][1]}", 3,
     r"'ann' stands in line 1 already"),
    (USERS["ann"][1], 1, r"no `user:HASH`: there is no colon"),
    (f":{USERS['ann'][1]}", 1, r"no `user:HASH`: the user has no name"),
    (f"a\tb:{USERS['ann'][1]}", 1, r"control characters"),
    ("# nobody yet\n", 1, r"the file has no user in it"),
])
def test_mistakes_of_a_file_have_their_lines(site, tmp_path, text, line, says):
    (tmp_path / "bad").write_text(text + "\n")
    s = site(HEAD + f"[route a]\nauth_basic = {tmp_path}/bad\nrespond = 200 x\n"
             f"[route b]\npath = /b\nauth_basic = {tmp_path}/bad\nrespond = 200 x\n")
    done = s.check()
    said = done.stderr + done.stdout
    assert done.returncode == 1
    assert re.search(rf"{tmp_path}/bad:{line}: .*{says}.*named at .*rpd.ini:\d+", said), said
    assert said.count("/bad:") == 1, "once, however many routes name the file"
    for secret in ("hunter2", "2jmj7l5r", "xxxxxxxx"):
        assert secret not in said


def test_a_wrong_file_is_not_told_of_line_by_line(site, tmp_path):
    (tmp_path / "bad").write_text("root:x:0:0::/root:/bin/sh\n" + "x\n" * 1000)
    done = site(HEAD + f"[route a]\nauth_basic = {tmp_path}/bad\nrespond = 200 x\n").check()
    assert done.returncode == 1
    assert (done.stderr + done.stdout).count("/bad:") <= 12
