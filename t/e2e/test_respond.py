"""Answers made here: a text or a file, its type, its tag, and clients that take them slowly."""

import random
import threading

import pytest

from harness.client import request_bytes
from harness.daemon import plain
from harness.util import is_sanitized, memory, wait_until

CONFIG = """
[listener web]
bind = @web@
[route text]
path = /text
respond = 200 hello $listener
[route html]
path = /html
respond = 404 <h1>no</h1>
respond_type = text/html; charset=utf-8
[route file]
path = /file
respond_file = @dir@/page.html
[route typed]
path = /typed
respond_file = @dir@/page.html
respond_type = application/x-page
[route sorry]
path = /sorry
respond = 503
respond_file = page.html
[route big]
path = /big
respond_file = @dir@/big.bin
[route empty]
path = /empty
respond_file = @dir@/empty.txt
"""
PAGE = "<p>$uri stays</p>\n"
EACH = 12  # more than the kernel takes
BIG = random.Random(1).randbytes(1 << 20)


def write_files(where):
    (where / "page.html").write_text(PAGE)
    (where / "big.bin").write_bytes(BIG)
    (where / "empty.txt").write_text("")


@pytest.fixture(scope="module")
def up(shared_rpd, tmp_path_factory):
    where = tmp_path_factory.mktemp("pages")
    write_files(where)
    text = CONFIG.replace("= page.html", f"= {where}/page.html").replace("@dir@", str(where))
    d = shared_rpd(text)
    d.where = where
    return d


@pytest.mark.parametrize("path, status, kind, body", [
    ("/text", 200, "text/plain; charset=utf-8", b"hello web"),
    ("/html", 404, "text/html; charset=utf-8", b"<h1>no</h1>"),
    ("/file", 200, "text/html; charset=utf-8", PAGE.encode()),
    ("/typed", 200, "application/x-page", PAGE.encode()),
    ("/sorry", 503, "text/html; charset=utf-8", PAGE.encode()),
    ("/big", 200, "application/octet-stream", BIG),
    ("/empty", 200, None, b""),
])
def test_body_status_and_type(up, path, status, kind, body):
    with up.client() as client:
        for _ in range(2):
            res = client.ask(path)
            assert (res.status, res.body, res.get("Content-Type")) == (status, body, kind)
            assert res.get("Content-Length") == str(len(body))
        res = client.ask(path, method="HEAD")
        assert res.status == status and res.get("Content-Length") == str(len(body))
        assert client.ask("/text").body == b"hello web"


def test_a_file_has_a_tag(up):
    etag = up.ask("/file").get("ETag")
    assert etag and not etag.startswith("W/") and etag != up.ask("/big").get("ETag")
    assert not up.ask("/sorry").has("ETag") and not up.ask("/text").has("ETag")
    for said in (etag, "*", f'"x", W/{etag}'):
        for method in ("GET", "HEAD"):
            res = up.ask("/file", method=method, headers=[("If-None-Match", said)])
            assert res.status == 304 and res.body == b"" and res.get("ETag") == etag
            assert not res.has("Content-Length") and not res.has("Content-Type")
    assert up.ask("/file", headers=[("If-None-Match", '"other"')]).status == 200
    assert up.ask("/file", method="POST", body=b"x",
                  headers=[("If-None-Match", etag)]).status == 200


def test_pipelined_requests_for_files(up):
    with up.client() as client:
        client.send(request_bytes("GET", "/big") * 5 + request_bytes("GET", "/text"))
        for _ in range(5):
            assert client.response().body == BIG
        assert client.response().body == b"hello web"


def test_a_reload_takes_new_content(rpd):
    d = rpd(plain("127.0.0.1:9"))
    write_files(d.dir)
    d.reload(CONFIG)
    before = d.ask("/file")
    (d.dir / "page.html").write_text("new")
    d.reload()
    wait_until(lambda: d.ask("/file").body == b"new")
    assert before.body == PAGE.encode() and d.ask("/file").get("ETag") != before.get("ETag")
    (d.dir / "page.html").write_bytes(b"x" * ((1 << 20) + 1))
    d.reload(status=1)
    assert "page.html' is larger than 1 MiB" in d.stderr()
    assert d.ask("/file").body == b"new"


def test_who_takes_it_slowly_holds_no_memory(up):
    pids = up.worker_pids()
    before = sum(memory(pid) for pid in pids)
    clients = [up.client(rcvbuf=4096) for _ in range(20)]
    for client in clients:
        client.send(request_bytes("GET", "/big") * EACH)
        client.exact(1)
    up.wait_stats(lambda s: s["routes"]["big"]["active"] == 20)
    if not is_sanitized():
        assert sum(memory(pid) for pid in pids) - before < 20 * (128 << 10)
    got = [None] * 20

    def finish(i):
        clients[i].buf[:0] = b"H"
        got[i] = [clients[i].response().body for _ in range(EACH)]
    threads = [threading.Thread(target=finish, args=(i,)) for i in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    for client in clients:
        client.close()
    assert all(bodies == [BIG] * EACH for bodies in got[:10])
    stats = up.wait_stats(lambda s: s["routes"]["big"]["active"] == 0)
    assert stats["routes"]["big"]["aborted"] >= 10
