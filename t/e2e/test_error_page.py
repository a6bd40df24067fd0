"""Bodies of one's own for the errors that the proxy makes."""

import json
import re

import pytest

from harness.daemon import plain
from harness.origin import canned

CONFIG = """
[listener web]
bind = @web@
[defaults route]
error_page = 404 {dir}/404.html.tmpl, default {dir}/any.txt
[route gone]
path = /gone
backend = gone
error_page = 502, 503 {dir}/50x.html
[route class]
path = /class
backend = gone
error_page = 5xx {dir}/5xx.json.tmpl
    504 {dir}/50x.html
[route rest]
path = /rest
backend = gone
[route own]
path = /own
backend = gone
error_page =
[route server]
path = /server
backend = server
[backend gone]
server = 127.0.0.1:1
[backend server]
server = {server}
"""


@pytest.fixture(scope="module")
def up(shared_rpd, shared_origin, tmp_path_factory):
    where = tmp_path_factory.mktemp("pages")
    (where / "404.html.tmpl").write_text("<p>$status $uri $header_x costs $$5 $request_id</p>")
    (where / "any.txt").write_text("any $status\n")
    (where / "50x.html").write_text("<p>down</p>")
    (where / "5xx.json.tmpl").write_text('{"status": $status, "why": "$end_reason", '
                                         '"ua": "$user_agent"}')
    server = shared_origin(canned(b"HTTP/1.1 503 Gone\r\nContent-Length: 3\r\n\r\nown"))
    return shared_rpd(CONFIG.format(dir=where, server=server.addr))


@pytest.mark.parametrize("path, status, kind, body", [
    ("/gone", 503, "text/html; charset=utf-8", b"<p>down</p>"),
    ("/rest", 503, "text/plain; charset=utf-8", b"any $status\n"),
    ("/own", 503, "text/plain; charset=utf-8", b"503 Service Unavailable: connect refused\n"),
])
def test_page_and_its_status(up, path, status, kind, body):
    res = up.ask(path)
    assert (res.status, res.get("Content-Type"), res.body) == (status, kind, body)
    assert "connection_refused" in res.get("Proxy-Status") and res.has("Retry-After")
    head = up.ask(path, method="HEAD")
    assert head.status == status and head.get("Content-Length") == str(len(body))


def test_a_servers_own_error_is_passed_on(up):
    res = up.ask("/server")
    assert res.status == 503 and res.body == b"own"


def test_variables_are_escaped(up):
    res = up.ask("/none?<script>", headers=[("X", "\"'&<b>")])
    assert res.status == 404 and res.get("Content-Type") == "text/html; charset=utf-8"
    assert re.fullmatch(rb"<p>404 /none\?&lt;script&gt; &quot;&#39;&amp;&lt;b&gt; costs \$5 "
                        rb"[0-9a-f]{32}</p>", res.body), res.body
    res = up.ask("/class", headers=[("User-Agent", '"}\\')])
    assert json.loads(res.body) == {"status": 503, "why": "connect refused", "ua": '"}\\'}
    assert res.get("Content-Type") == "application/json"


def test_long_values_are_cut_and_pages_hold_many(up):
    res = up.ask("/none?" + "<" * 8000, headers=[("X", "&" * 8000)])
    assert res.status == 404 and 8000 < len(res.body) < 12000
    assert res.body.count(b"&amp;") == 1024


def test_nonsense_has_the_defaults_page(up):
    with up.client() as client:
        client.send("GET / HTTP/1.1\r\nHost: a b\r\n\r\n")
        res = client.response()
    assert res.status == 400 and res.body == b"any $status\n"


def test_mistake_in_a_template_is_of_its_setting(site, tmp_path):
    (tmp_path / "x.html.tmpl").write_text("<p>$stats")
    s = site(plain("127.0.0.1:9", route=f"error_page = 404 {tmp_path}/x.html.tmpl"))
    done = s.check()
    assert done.returncode == 1
    assert re.search(r"\[route all\] error_page: .*'\$stats' is no variable", done.stderr)


def test_a_missing_page_of_the_defaults_is_told_once(site):
    s = site("[defaults route]\nerror_page = 404 /none/x\n[listener web]\nbind = @web@\n"
             "[route a]\npath = /a\nrespond = 200\n[route b]\npath = /b\nrespond = 200\n")
    done = s.check()
    assert done.returncode == 1 and done.stderr.count("cannot read '/none/x'") == 1
