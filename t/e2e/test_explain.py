"""rpctl explain: which route takes a request, what it meets, and why no other one takes it."""

import json
import re

import pytest

SITE = """
[listener web]
bind = @web@

[listener bare]
bind = @bare@
default_backend = pool

[listener raw]
bind = @raw@
mode = tcp
default_backend = pool

[route api-v2]
listener = web
host = api.example.com
path = /api/v2
backend = pool
request_header = set X-Api: 2
allow = 10.0.0.0/8

[route api]
listener = web
host = api.example.com
path = /api
backend = pool 95, spare 5

[route beta]
listener = web
host = api.example.com
path = /api/v2
header = X-Beta: yes
respond = 200 beta

[route writes]
listener = web
host = api.example.com
path = /api/v2
method = POST, PUT
respond = 200 writes

[route tagged]
listener = web
host = api.example.com
path_regex = ^/tag/[0-9]+$
cookie = c=1
query = q=~^x
redirect = 302 https://tags.test/

[route wild]
listener = web
host = *.example.com
backend = pool

[backend pool]
server = 127.0.0.1:9 name=one weight=3
balance = least_conn

[backend spare]
server = 127.0.0.1:8
"""


@pytest.fixture(scope="module")
def up(shared_rpd):
    return shared_rpd(SITE)


def explain(up, *args, status=0):
    done = up.ctl("-o", "json", "explain", *args)
    assert done.returncode == status, done
    return json.loads(done.stdout)


def why(said, route):
    return next(one["why"] for one in said["others"] if one["route"] == route)


URL = "http://api.example.com/api/v2/x"


def test_the_winner_and_why_the_others_are_not(up):
    said = explain(up, "GET", URL, "--listener", "web")
    assert (said["route"], said["listener"], said["path"]) == ("api-v2", "web", "/api/v2/x")
    assert said["settings"]["backend"] == ["pool"]
    assert said["settings"]["request_header"] == ["set X-Api: 2"]
    assert said["backends"] == [{"name": "pool", "balance": "least_conn",
                                 "servers": ["127.0.0.1:9 name=one weight=3"]}]
    assert why(said, "writes") == "method POST, PUT, not GET"
    assert why(said, "beta") == "wants header X-Beta: yes, has none"
    assert why(said, "api") == "path prefix /api is shorter than /api/v2"
    assert why(said, "wild") == "host *.example.com is less specific than api.example.com"
    assert why(said, "tagged") == "wants cookie c=1"
    assert [one["route"] for one in said["others"]][:2] == ["writes", "beta"]


@pytest.mark.parametrize("args, route", [
    (["GET", URL, "-H", "X-Beta: yes"], "beta"),
    (["GET", URL, "-H", "X-Beta: no"], "api-v2"),
    (["PUT", URL], "writes"),
    (["GET", "http://API.example.com:80/api"], "api"),
    (["GET", "/api/v2", "-H", "Host: api.example.com"], "api-v2"),
    (["GET", "http://x.example.com/api"], "wild"),
    (["GET", "http://api.example.com/tag/7?q=xy", "-H", "Cookie: a=2; c=1"], "tagged"),
    (["GET", "http://api.example.com/tag/x?q=xy", "-H", "Cookie: c=1"], "wild"),
    (["GET", "http://api.example.com"], "wild"),
])
def test_it_says_what_workers_do(up, args, route):
    said = explain(up, *args, "--listener", "web")
    assert said["route"] == route


def test_what_is_there_instead(up):
    said = explain(up, "GET", URL, "-H", "X-Beta: no", "--listener", "web")
    assert why(said, "beta") == "wants header X-Beta: yes, has no"
    said = explain(up, "GET", "http://api.example.com/tag/x?q=xy", "-H", "Cookie: c=1",
                   "--listener", "web")
    assert why(said, "tagged") == "path_regex ^/tag/[0-9]+$ does not match"
    said = explain(up, "GET", URL, "-H", "X-Beta: yes", "--listener", "web")
    assert why(said, "api-v2") == "asks for fewer fields and cookies"


@pytest.mark.parametrize("client, allowed", [("10.1.2.3", True), ("192.0.2.1", False)])
def test_access_of_a_client(up, client, allowed):
    said = explain(up, "GET", URL, "--client", client, "--listener", "web")
    assert said["allowed"] is allowed
    done = up.ctl("explain", "GET", URL, "--client", client, "--listener", "web")
    assert re.search(r"^access +" + ("allowed" if allowed else "denied: 403"), done.stdout, re.M)


def test_the_listener_is_found_by_the_port(up):
    port = up.addr("bare")[1]
    said = explain(up, "GET", f"http://api.example.com:{port}/api")
    assert said["listener"] == "bare" and said["route"] is None
    assert said["default_backend"] == "pool"


def test_no_route_is_status_1(up):
    said = explain(up, "GET", "http://other.test/", "--listener", "web", status=1)
    assert said["route"] is None and said["status"] == 404 and said["others"] == []
    done = up.ctl("explain", "GET", "http://other.test/", "--listener", "web")
    assert done.returncode == 1 and re.search(r"^route +none: 404$", done.stdout, re.M)


def test_paths_in_normal_form_and_refused(up):
    done = up.ctl("explain", "GET", "http://api.example.com//%61pi/./v2", "--listener", "web")
    assert done.returncode == 0
    assert re.search(r"^path +/api/v2, sent as //%61pi/\./v2$", done.stdout, re.M), done.stdout
    assert re.search(r"^route +api-v2 +\(host api\.example\.com, path prefix /api/v2\)$",
                     done.stdout, re.M)
    assert re.search(r"^servers +pool: least_conn of 127\.0\.0\.1:9", done.stdout, re.M)
    assert re.search(r"^not taken:$", done.stdout, re.M)
    assert re.search(r"^  api +path prefix /api is shorter than /api/v2$", done.stdout, re.M)
    said = explain(up, "GET", "http://api.example.com/../x", "--listener", "web", status=1)
    assert said["status"] == 400 and "leads above its root" in said["refused"]


def test_a_file_instead_of_a_daemon(site):
    s = site(raw="[global]\nrun_dir = @dir@/run\n" + SITE)
    done = s.ctl("-o", "json", "explain", "GET", URL, "--listener", "web", "--config", s.config)
    assert done.returncode == 0, done
    assert json.loads(done.stdout)["route"] == "api-v2"
    done = s.ctl("explain", "GET", URL)
    assert done.returncode == 3
    s.config.write_text(s.config.read_text() + "[route x]\npaht = /\n")
    done = s.ctl("explain", "GET", URL, "--config", s.config)
    assert done.returncode == 1 and "did you mean 'path'" in done.stderr


@pytest.mark.parametrize("args, status", [
    ([], 2), (["GET"], 2), (["GET", "/", "x"], 2), (["GET", "/", "-H"], 2),
    (["GET", "/", "-H", "x"], 2), (["GET", "/", "--client", "x"], 2), (["GET", "/", "-z", "x"], 2),
    (["GET", "/", "--listener", "none"], 1), (["GET", "/", "--listener", "raw"], 1),
])
def test_wrong_usage(up, args, status):
    done = up.ctl("explain", *args)
    assert done.returncode == status, done
    assert done.stderr.startswith("rpctl: "), done
