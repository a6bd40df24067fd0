"""Mistakes in what routes are matched by: each is one error, with its place and what was meant."""

import re

import pytest

SITE = """
[global]
run_dir = @dir@/run
user = root
group = root

[listener web]
bind = @web@

[route all]
respond = 200 ok

[route b]
path = /b
respond = 200 b
"""

ERRORS = [
    # patterns
    ("header = X: ~(",
     r"\[route b\] header: '\(' is no pattern: missing closing parenthesis, behind '\('"),
    ("header = X: ~[a", r"missing terminating \] for character class, behind '\[a'"),
    ("query = v=~*",
     r"\[route b\] query: '\*' is no pattern: quantifier does not follow .*, behind ''"),
    ("cookie = v=~a{2,1}", r"numbers out of order in \{\} quantifier, behind 'a\{2,1'"),
    ("header = X: ~", r"no pattern follows the '~'"),
    # methods
    ("method = get", r"'get': methods are written in capitals \(did you mean 'GET'\?\)"),
    ("method = GET, Post", r"'Post': methods are written in capitals \(did you mean 'POST'\?\)"),
    ("method = GET HEAD", r"'GET HEAD' is no method: write `GET, HEAD`"),
    ("method = GET; HEAD", r"is no method"),
    ("method = CONNECT", r"CONNECT is answered 501"),
    # fields
    ("header = : yes", r"no field's name: write `X-Beta: yes`"),
    ("header = X Beta: yes", r"'X Beta' is no field's name"),
    ("header = X-Beta=yes", r"'X-Beta=yes' is no field's name \(did you mean 'X-Beta: yes'\?\)"),
    ("header = X-Beta:", r"no value follows 'X-Beta:': write `X-Beta` if any will do"),
    ("header = Host: a.test", r"Host is matched by `host`"),
    ("header = Connection: close", r"Connection belongs to the connection"),
    ("header = X-A: 1, Content-Length: 5", r"Content-Length belongs to the connection"),
    # parameters and cookies
    ("query = =1", r"no name: write `name=value`, `name` or `name=~"),
    ("query = a b=1", r"'a b' is no name"),
    ("query = ~^v", r"'~\^v' is no name"),
    ("cookie = a;b=1", r"'a;b' is no name"),
    ("cookie = a:", r"no value follows 'a:'"),
]


def check(site, old, new):
    s = site(raw=SITE.replace(old, new))
    done = s.check()
    return s, done, done.stderr + done.stdout


@pytest.mark.parametrize("line, says", ERRORS, ids=[row[0] for row in ERRORS])
def test_mistake_is_one_error_with_its_place(site, line, says):
    s, done, out = check(site, "path = /b\n", f"path = /b\n{line}\n")
    assert done.returncode == 1, out
    errors = [one for one in out.splitlines() if "rpd.ini:" in one and "warning" not in one]
    number = s.config.read_text().splitlines().index(line) + 1
    assert len(errors) == 1 and f"rpd.ini:{number}: [route b] " in errors[0], out
    assert re.search(says, errors[0]), out


@pytest.mark.parametrize("line, says", [
    ("path_regex = ^/(", r"'\^/\(' is no pattern: missing closing parenthesis, behind '\^/\('"),
    ("path_regex = ~^/b", r"'~\^/b': leave the '~' out"),
    ("path_regex = \\C", r"\\C"),
    ("path_exact = b", r"'b' does not begin with '/'"),
    ("path_exact = /b?c", r"a path holds no '\?'"),
    ("path_exact = /../b", r"leads above its root"),
])
def test_mistakes_of_paths(site, line, says):
    _, done, out = check(site, "path = /b\n", line + "\n")
    assert done.returncode == 1, out
    assert re.search(r"rpd\.ini:\d+: \[route b\] path_(regex|exact): .*" + says, out), out


@pytest.mark.parametrize("path, says", [
    ("path = /b", r"respond: '\$1' is what path_regex caught, and there is none \(a dollar sign"),
    ("path_regex = ^/(.)", r"respond: '\$2': path_regex has 1 group$"),
])
def test_captures_of_nothing(site, path, says):
    _, done, out = check(site, "path = /b\nrespond = 200 b", path + "\nrespond = 200 "
                         + ("$1" if "regex" not in path else "$1$2"))
    assert done.returncode == 1, out
    assert re.search(r"rpd\.ini:\d+: \[route b\] " + says, out, re.M), out


@pytest.mark.parametrize("line", ["path_exact = /b", "path_regex = ^/b"])
def test_paths_exclude_each_other(site, line):
    _, done, out = check(site, "path = /b\n", f"path = /b\n{line}\n")
    assert done.returncode == 1
    assert "[route b]: path, path_exact and path_regex exclude each other" in out


@pytest.mark.parametrize("first, second", [
    ("path_exact = /c", "path_exact = //c"), ("path_regex = ^/c", "path_regex = ^/c"),
    ("header = A, B: 1", "header = b: 1\nheader = a"), ("query = a=1", "query = a: 1"),
    ("cookie = a=~x", "cookie = a=~x"), ("method = GET, PUT", "method = PUT"),
])
def test_the_same_conditions_again_never_match(site, first, second):
    more = "[route c]\n{}\nrespond = 200 c\n[route d]\n{}\nrespond = 200 d\n"
    _, done, out = check(site, "[route b]", more.format(first, second) + "[route b]")
    assert done.returncode == 1
    assert re.search(r"\[route d\]: never matches: \[route c\] at .*rpd\.ini:\d+ takes the same "
                     r"listener, host", out), out


@pytest.mark.parametrize("first, second", [
    ("path_exact = /c", "path = /c"), ("path_exact = /c", "path_exact = /c/"),
    ("path_regex = ^/c", "path_regex = ^/c/"), ("header = A: 1", "header = A: 2"),
    ("header = A: 1", "header = A: ~1"), ("query = a=1", "query = A=1"),
    ("query = a", "cookie = a"), ("method = GET, PUT", "method = PUT, POST"),
    ("header = A", "header = A\nmethod = GET"),
])
def test_other_conditions_may_stand_beside(site, first, second):
    more = "[route c]\n{}\nrespond = 200 c\n[route d]\n{}\nrespond = 200 d\n"
    _, done, out = check(site, "[route b]", more.format(first, second) + "[route b]")
    assert done.returncode == 0, out


def test_a_path_of_a_route_takes_the_place_of_that_of_the_defaults(site):
    _, done, out = check(site, "[route all]\n", "[defaults route]\npath = /d\n[route all]\n"
                         "path_exact = /e\n")
    assert done.returncode == 0, out
    _, done, out = check(site, "[route all]\n", "[defaults route]\npath_regex = ^/d\n[route all]\n")
    assert done.returncode == 0, out


@pytest.mark.parametrize("key", ["method = GET", "header = A", "query = a", "cookie = a",
                                 "path_exact = /", "path_regex = /", "raw_path = on"])
def test_sessions_have_none_of_it(site, key):
    _, done, out = check(site, "[route all]\n", "[listener t]\nbind = @t@\nmode = tcp\n"
                         f"[backend p]\nserver = 127.0.0.1:9\n[route t]\nlistener = t\n{key}\n"
                         "backend = p\n[route all]\n")
    assert done.returncode == 1
    assert f"[route t] {key.split()[0]}: does not belong in a route of a tcp listener" in out, out
