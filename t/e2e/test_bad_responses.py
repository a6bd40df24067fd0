"""A server's nonsense becomes 502 and its connection is never used again."""

import pytest

from harness.client import request_bytes
from harness.daemon import plain
from harness.util import wait_until
from harness.wire import Eof

OK = b"HTTP/1.1 200 OK\r\n"

HEADS = {
    "nothing": b"",
    "garbage": b"this is not http\r\n\r\n",
    "binary": bytes(range(128, 256)) + b"\r\n\r\n",
    "HTTP/2 frame": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
    "TLS alert": b"\x15\x03\x01\x00\x02\x02\x46",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "status 099": b"HTTP/1.1 099 X\r\n\r\n",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
    "LF line ends": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "LF after a field": OK + b"X: 1\nContent-Length: 0\r\n\r\n",
    "CR in a value": OK + b"X: a\rb\r\nContent-Length: 0\r\n\r\n",
    "NUL in a value": OK + b"X: a\x00b\r\nContent-Length: 0\r\n\r\n",
    "NUL in the reason": b"HTTP/1.1 200 O\x00K\r\nContent-Length: 0\r\n\r\n",
    "control byte in a value": OK + b"X: a\x01b\r\nContent-Length: 0\r\n\r\n",
    "blank before a colon": OK + b"X : a\r\nContent-Length: 0\r\n\r\n",
    "blank before Content-Length's colon": OK + b"Content-Length : 0\r\n\r\n",
    "field without colon": OK + b"X\r\nContent-Length: 0\r\n\r\n",
    "field without name": OK + b": x\r\nContent-Length: 0\r\n\r\n",
    "name with blank": OK + b"X Y: a\r\nContent-Length: 0\r\n\r\n",
    "obs-fold": OK + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "blank before the first field": OK + b" X: a\r\nContent-Length: 0\r\n\r\n",
    "two differing lengths": OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "two equal lengths": OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nab",
    "length list": OK + b"Content-Length: 2, 2\r\n\r\nab",
    "length negative": OK + b"Content-Length: -1\r\n\r\n",
    "length with plus": OK + b"Content-Length: +1\r\n\r\na",
    "length hexadecimal": OK + b"Content-Length: 0x1\r\n\r\na",
    "length too great": OK + b"Content-Length: 18446744073709551617\r\n\r\na",
    "length empty": OK + b"Content-Length:\r\n\r\n",
    "length with coding": OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding with length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "coding unknown": OK + b"Transfer-Encoding: gzip\r\n\r\nx",
    "coding unknown, chunked": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "coding twice":
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "head too large": OK + b"".join(b"X-%d: %s\r\n" % (n, b"y" * 1000) for n in range(3000)),
    "101 unasked":
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
}

BODIES = {
    "chunk size bad": b"zz\r\nhello\r\n0\r\n\r\n",
    "chunk size with plus": b"+5\r\nhello\r\n0\r\n\r\n",
    "chunk size with 0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "chunk size ended by LF": b"5\nhello\r\n0\r\n\r\n",
    "chunk too long": b"4\r\nhello\r\n0\r\n\r\n",
    "chunk with LF behind": b"5\r\nhello\n0\r\n\r\n",
    "chunk size beyond 64 bits": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "trailer with NUL": b"5\r\nhello\r\n0\r\nX: \x00\r\n\r\n",
    "trailer with blank before the colon": b"5\r\nhello\r\n0\r\nX : 1\r\n\r\n",
}


class Bad:
    """Answers /bad with the bytes at hand (then waits or closes), all else well."""

    def __init__(self):
        self.data = b""

    def __call__(self, conn):
        while True:
            req = conn.request()
            if req.target != "/bad":
                conn.reply(b"fine")
                continue
            try:
                conn.send(self.data)
            except OSError:
                return
            if self.data in (b"", HEADS["half a head"]):
                return


@pytest.fixture(scope="module")
def up(shared_rpd, shared_origin):
    bad = Bad()
    o = shared_origin(bad)
    d = shared_rpd(plain(o, route="timeout_response = 3s\nretries = 0"), workers=1)
    d.origin, d.bad = o, bad
    return d


def failures(d):
    return d.stats()["backends"]["pool"]["servers"]["s0"]["failures"]


@pytest.mark.parametrize("data", HEADS.values(), ids=HEADS.keys())
def test_bad_head_is_502(up, data):
    up.bad.data = data
    before = failures(up)
    with up.client() as client:
        res = client.ask("/bad")
        assert res.status == 502, res
        assert res.has("Proxy-Status")
        assert 0 < res.length < 1000
        res = client.ask("/good")
        assert (res.status, res.body) == (200, b"fine")
    wait_until(lambda: failures(up) == before + 1)
    wait_until(lambda: len(up.origin.open_connections()) <= 1, 5)


@pytest.mark.parametrize("data", BODIES.values(), ids=BODIES.keys())
def test_bad_body_cuts_the_answer_off(up, data):
    """The head may be gone to the client already: then the end must show that it is not whole."""
    up.bad.data = OK + b"Transfer-Encoding: chunked\r\n\r\n" + data
    with up.client() as client:
        client.send(request_bytes(target="/bad"))
        try:
            assert client.response().status == 502
        except (Eof, ConnectionError):
            pass
    assert up.ask("/good").body == b"fine"


def test_bytes_behind_an_answer_are_no_answer(up):
    """What a server sends unasked must never be taken for the answer to the next request."""
    up.bad.data = OK + b"Content-Length: 2\r\n\r\nok" + OK + b"Content-Length: 4\r\n\r\nEVIL"
    with up.client() as client:
        assert client.ask("/bad").body == b"ok"
        for _ in range(3):
            assert client.ask("/good").body == b"fine"


def test_bytes_sent_on_an_idle_connection_end_it(rpd, origin):
    def handler(conn):
        conn.request()
        conn.reply(b"one")
        conn.send(OK + b"Content-Length: 4\r\n\r\nEVIL")
        conn.wait_end()
    o = origin(handler)
    d = rpd(plain(o), workers=1)
    assert d.ask().body == b"one"
    wait_until(lambda: not o.open_connections(), 5)
    assert d.ask().body == b"one"


def test_last_error_and_reset_are_reported(rpd, origin):
    def handler(conn):
        conn.request()
        conn.reset()
    d = rpd(plain(origin(handler), route="retries = 0"))
    assert d.ask().status == 502
    server = d.stats()["backends"]["pool"]["servers"]["s0"]
    assert server["last_error"] in ("reset", "closed before response")
    assert server["status_5xx"] == 0, "502 was made here, not by the server"


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nX:\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\n\r\n2;x=y\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 299 Odd\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nX: \xff\r\nContent-Length: 2\r\n\r\nok",
])
def test_odd_but_valid_answer_is_passed_on(up, answer):
    up.bad.data = answer
    assert up.ask("/bad").body == b"ok"
