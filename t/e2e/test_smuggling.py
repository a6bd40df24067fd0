"""Requests that two readers could understand differently are refused, never guessed at.

Each row is sent with a second request behind it: neither may reach the server, the answer is an
error with Proxy-Status, and the connection closes."""

import json

import pytest

from harness.client import request_bytes
from harness.daemon import plain
from harness.util import wait_until
from harness.wire import chunked

HOST = b"Host: test\r\n"
SECOND = b"GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n"
BAD = (400,)


def get(*lines, host=HOST):
    return b"GET / HTTP/1.1\r\n" + host + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def post(*lines, body=b""):
    return (b"POST / HTTP/1.1\r\n" + HOST + b"".join(line + b"\r\n" for line in lines) + b"\r\n"
            + body)


def sized(value, body=b"hello"):
    return post(b"Content-Length: " + value, body=body)


def coded(value, body=chunked(b"hello"), *more):
    return post(b"Transfer-Encoding: " + value, *more, body=body)


def start(line):
    return line + b"\r\n" + HOST + b"\r\n"


HEADS = {
    # two or differing lengths
    "two equal lengths": (post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"), BAD),
    "two differing lengths": (
        post(b"Content-Length: 5", b"Content-Length: 6", body=b"hello"), BAD),
    "two lengths, other case": (
        post(b"Content-Length: 5", b"content-length: 0", body=b"hello"), BAD),
    "length list, equal": (sized(b"5, 5"), BAD),
    "length list, differing": (sized(b"5, 6"), BAD),
    "length list, trailing comma": (sized(b"5,"), BAD),
    # lengths that are no numbers
    "length with plus": (sized(b"+5"), BAD),
    "length negative": (sized(b"-5"), BAD),
    "length hexadecimal": (sized(b"0x5"), BAD),
    "length with letters": (sized(b"5abc"), BAD),
    "length in words": (sized(b"five"), BAD),
    "length empty": (sized(b""), BAD),
    "length with a blank inside": (sized(b"5 5"), BAD),
    "length with a point": (sized(b"5.0"), BAD),
    "length 2^64": (sized(b"18446744073709551616"), (400, 413)),
    "length 2^64+5": (sized(b"18446744073709551621"), (400, 413)),
    "length of 40 digits": (sized(b"9" * 40), (400, 413)),
    "length quoted": (sized(b'"5"'), BAD),
    "length with vertical tab": (sized(b"\x0b5"), BAD),
    # length with transfer coding
    "length then coding": (post(b"Content-Length: 4", b"Transfer-Encoding: chunked",
                                body=chunked(b"hello")), BAD),
    "coding then length": (post(b"Transfer-Encoding: chunked", b"Content-Length: 4",
                                body=chunked(b"hello")), BAD),
    "CL.TE": (post(b"Content-Length: 6", b"Transfer-Encoding: chunked", body=b"0\r\n\r\nG"), BAD),
    "TE.CL": (post(b"Transfer-Encoding: chunked", b"Content-Length: 3",
                   body=b"8\r\nSMUGGLED\r\n0\r\n\r\n"), BAD),
    "length zero with coding": (post(b"Content-Length: 0", b"Transfer-Encoding: chunked",
                                     body=chunked(b"x")), BAD),
    # codings
    "coding unknown": (coded(b"xchunked"), (400, 501)),
    "coding gzip": (coded(b"gzip"), (400, 501)),
    "coding gzip, chunked": (coded(b"gzip, chunked"), (400, 501)),
    "coding chunked, gzip": (coded(b"chunked, gzip"), (400, 501)),
    "coding chunked, identity": (coded(b"chunked, identity"), (400, 501)),
    "coding identity": (coded(b"identity"), (400, 501)),
    "coding chunked twice": (coded(b"chunked, chunked"), (400, 501)),
    "coding field twice": (
        coded(b"chunked", chunked(b"x"), b"Transfer-Encoding: chunked"), (400, 501)),
    "coding field twice, second unknown": (
        coded(b"chunked", chunked(b"x"), b"Transfer-Encoding: x"), (400, 501)),
    "coding field twice, first unknown": (
        coded(b"x", chunked(b"x"), b"Transfer-encoding: chunked"), (400, 501)),
    "coding empty": (coded(b""), (400, 501)),
    "coding with parameter": (coded(b"chunked;q=1"), (400, 501)),
    "coding quoted": (coded(b'"chunked"'), (400, 501)),
    "coding with blank inside": (coded(b"chun ked"), (400, 501)),
    "coding with vertical tab": (coded(b"\x0bchunked"), (400, 501)),
    "coding with form feed": (coded(b"chunked\x0c"), (400, 501)),
    "coding behind a comma": (coded(b",chunked,x"), (400, 501)),
    "coding in HTTP/1.0": (coded(b"chunked").replace(b"HTTP/1.1", b"HTTP/1.0"), (400, 501)),
    "coding with NUL": (coded(b"chunked\x00"), BAD),
    # line ends
    "LF after the request line": (b"GET / HTTP/1.1\n" + HOST + b"\r\n", BAD),
    "LF after a field": (get(b"X: 1\nY: 2"), BAD),
    "LF alone everywhere": (get(b"X: 1").replace(b"\r\n", b"\n"), BAD),
    "LF at the head's end": (b"GET / HTTP/1.1\r\nHost: test\r\n\n", BAD),
    "CR in a value": (get(b"X: a\rb"), BAD),
    "CR hiding a field": (get(b"X: a\rTransfer-Encoding: chunked"), BAD),
    "CR CR LF": (get(b"X: a\r"), BAD),
    "CR in a name": (get(b"X\r: a"), BAD),
    "CR in the request line": (start(b"GET /\r HTTP/1.1"), BAD),
    "CR alone ends a field": (b"GET / HTTP/1.1\rHost: test\r\r\n\r\n", BAD),
    # folds and blanks
    "obs-fold with a blank": (get(b"X: a", b" b"), BAD),
    "obs-fold with a tab": (get(b"X: a", b"\tb"), BAD),
    "obs-fold of Transfer-Encoding": (coded(b"x,\r\n chunked"), BAD),
    "obs-fold of Content-Length": (post(b"Content-Length:", b" 5", body=b"hello"), BAD),
    "blank before the first field": (b"GET / HTTP/1.1\r\n X: 1\r\n" + HOST + b"\r\n", BAD),
    "blank before a colon": (get(b"X : 1"), BAD),
    "tab before a colon": (get(b"X\t: 1"), BAD),
    "blank before a colon of Content-Length": (post(b"Content-Length : 5", body=b"hello"), BAD),
    "blank before a colon of Transfer-Encoding": (
        post(b"Transfer-Encoding : chunked", body=chunked(b"x")), BAD),
    # bytes that no field holds
    "NUL in a value": (get(b"X: a\x00b"), BAD),
    "NUL in a name": (get(b"X\x00Y: a"), BAD),
    "NUL in the target": (start(b"GET /\x00 HTTP/1.1"), BAD),
    "NUL in Host": (get(host=b"Host: te\x00st\r\n"), BAD),
    "control byte in a value": (get(b"X: a\x01b"), BAD),
    "DEL in a value": (get(b"X: a\x7fb"), BAD),
    "control byte in a name": (get(b"X\x01: a"), BAD),
    "field without colon": (get(b"X"), BAD),
    "field without name": (get(b": a"), BAD),
    "name with blank": (get(b"X Y: a"), BAD),
    "name with parenthesis": (get(b"X(a): a"), BAD),
    "name with slash": (get(b"X/a: a"), BAD),
    "name with quote": (get(b'X": a'), BAD),
    "name beyond ASCII": (get(b"X\xe9: a"), BAD),
    # Host
    "no Host": (get(host=b""), BAD),
    "two equal Hosts": (get(b"Host: test"), BAD),
    "two differing Hosts": (get(b"Host: evil"), BAD),
    "Host with blank": (get(host=b"Host: te st\r\n"), BAD),
    "Host with slash": (get(host=b"Host: test/x\r\n"), BAD),
    "Host with user": (get(host=b"Host: a@test\r\n"), BAD),
    "Host with comma": (get(host=b"Host: a,b\r\n"), BAD),
    "Host with two ports": (get(host=b"Host: test:1:2\r\n"), BAD),
    "Host with a port in letters": (get(host=b"Host: test:http\r\n"), BAD),
    "Host with too high a port": (get(host=b"Host: test:99999\r\n"), BAD),
    "Host with an open bracket": (get(host=b"Host: [::1\r\n"), BAD),
    "Host with backslash": (get(host=b"Host: a\\b\r\n"), BAD),
    "Host with question mark": (get(host=b"Host: a?b\r\n"), BAD),
    "Host with hash": (get(host=b"Host: a#b\r\n"), BAD),
    "Host with quote": (get(host=b'Host: a"b\r\n'), BAD),
    # request lines
    "no version": (start(b"GET /"), (400, 505)),
    "two blanks before the version": (start(b"GET /  HTTP/1.1"), BAD),
    "two blanks before the target": (start(b"GET  / HTTP/1.1"), BAD),
    "blank at the line's end": (start(b"GET / HTTP/1.1 "), BAD),
    "blank before the method": (start(b" GET / HTTP/1.1"), BAD),
    "tab between": (start(b"GET\t/\tHTTP/1.1"), BAD),
    "blank in the target": (start(b"GET /a b HTTP/1.1"), BAD),
    "HTTP/2.0": (start(b"GET / HTTP/2.0"), (400, 505)),
    "HTTP/3.1": (start(b"GET / HTTP/3.1"), (400, 505)),
    "HTTP/0.9": (start(b"GET / HTTP/0.9"), (400, 505)),
    "HTTP/1.2": (start(b"GET / HTTP/1.2"), (400, 505)),
    "HTTP/1.10": (start(b"GET / HTTP/1.10"), (400, 505)),
    "HTTP/1": (start(b"GET / HTTP/1"), (400, 505)),
    "http/1.1 in small letters": (start(b"GET / http/1.1"), (400, 505)),
    "other protocol": (start(b"GET / ICY/1.1"), (400, 505)),
    "method with bad byte": (start(b"G<T / HTTP/1.1"), (400, 501)),
    "no method": (start(b"/ HTTP/1.1"), (400, 501)),
    "target without slash": (start(b"GET a HTTP/1.1"), BAD),
    "target with fragment": (start(b"GET /a#b HTTP/1.1"), BAD),
    "asterisk with GET": (start(b"GET * HTTP/1.1"), BAD),
    "authority with GET": (start(b"GET test:80 HTTP/1.1"), BAD),
    "absolute without host": (start(b"GET http:///x HTTP/1.1"), BAD),
    "absolute with user": (start(b"GET http://u@h/ HTTP/1.1"), BAD),
    "absolute with bad port": (start(b"GET http://h:99999/ HTTP/1.1"), BAD),
    "absolute of another scheme": (start(b"GET ftp://h/ HTTP/1.1"), BAD),
    "control byte in the target": (start(b"GET /\x01 HTTP/1.1"), BAD),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 501, 505)),
    "TLS hello": (bytes.fromhex("16030100ca010000c60303") + b"\x5a" * 60, BAD + (501,)),
    "binary": (bytes(range(128, 256)) * 2 + b"\r\n\r\n", BAD + (501,)),
}

BODIES = {
    "chunk size of no digits": b"xyz\r\nhello\r\n0\r\n\r\n",
    "chunk size negative": b"-5\r\nhello\r\n0\r\n\r\n",
    "chunk size with plus": b"+5\r\nhello\r\n0\r\n\r\n",
    "chunk size with 0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "chunk size empty": b"\r\nhello\r\n0\r\n\r\n",
    "chunk size with blank before": b" 5\r\nhello\r\n0\r\n\r\n",
    "chunk size with blank inside": b"5 5\r\nhello\r\n0\r\n\r\n",
    "chunk size beyond 64 bits": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "chunk size of all ones": b"ffffffffffffffff1\r\nhello\r\n0\r\n\r\n",
    "chunk size with a letter behind": b"5g\r\nhello\r\n0\r\n\r\n",
    "chunk size ended by LF": b"5\nhello\r\n0\r\n\r\n",
    "chunk size ended by CR": b"5\rhello\r\n0\r\n\r\n",
    "chunk longer than its size": b"4\r\nhello\r\n0\r\n\r\n",
    "chunk shorter than its size": b"6\r\nhello\r\n0\r\n\r\n",
    "chunk without CRLF behind": b"5\r\nhello0\r\n\r\n",
    "chunk with LF behind": b"5\r\nhello\n0\r\n\r\n",
    "chunk extension with NUL": b"5;a\x00b\r\nhello\r\n0\r\n\r\n",
    "chunk extension with CR": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "chunk extension with LF": b"5;a\nhello\r\n0\r\n\r\n",
    "chunk extension without end": b"5;" + b"a" * 200000,
    "last chunk ended by LF": b"5\r\nhello\r\n0\n\r\n",
    "trailer with blank before the colon": b"0\r\nX : 1\r\n\r\n",
    "trailer fold": b"0\r\nX: 1\r\n y\r\n\r\n",
    "trailer with NUL": b"0\r\nX: \x00\r\n\r\n",
    "trailer without colon": b"0\r\nX\r\n\r\n",
    "trailer ended by LF": b"0\r\nX: 1\n\r\n",
    "trailers ended by LF": b"0\r\nX: 1\r\n\n",
    "trailers without end": b"0\r\n" + b"X: 1\r\n" * 40000,
}


@pytest.fixture(scope="module")
def up(shared_rpd, shared_origin):
    o = shared_origin()
    d = shared_rpd(plain(o), workers=1)
    d.origin = o
    return d


def refused_since(up, before):
    return up.stats()["listeners"]["web"]["bad_requests"] - before


def refuse(up, data, statuses):
    requests, before = len(up.origin.requests), refused_since(up, 0)
    with up.client() as client:
        try:
            client.send(data)
        except ConnectionError:
            pass  # refused in the middle of it
        res = client.response("GET")
        assert res.status in statuses, res
        assert res.has("Proxy-Status")
        assert 0 < res.length < 1000
        assert "close" in res.options("Connection")
        assert client.is_closed()
    wait_until(lambda: refused_since(up, before) == 1)
    assert len(up.origin.requests) == requests
    assert not any(req.target == "/smuggled" for req in up.origin.heads)


@pytest.mark.parametrize("data, statuses", HEADS.values(), ids=HEADS.keys())
def test_ambiguous_head_is_refused(up, data, statuses):
    heads = len(up.origin.heads)
    refuse(up, data + SECOND, statuses)
    assert len(up.origin.heads) == heads, "nothing of it reached the server"


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_ambiguous_chunked_body_is_refused(up, body):
    refuse(up, coded(b"chunked", body + SECOND), (400, 413, 431))


@pytest.mark.parametrize("data", [HEADS["two equal lengths"][0], HEADS["LF after a field"][0],
                                  coded(b"chunked", BODIES["chunk size with plus"])])
def test_bad_request_behind_a_good_one(up, data):
    requests = len(up.origin.requests)
    with up.client() as client:
        client.send(request_bytes() + data + SECOND)
        assert client.response().status == 200
        assert client.response().status == 400
        assert client.is_closed()
    assert len(up.origin.requests) == requests + 1


@pytest.mark.parametrize("name", ["two equal lengths", "coding then length", "NUL in a value",
                                  "blank before a colon", "obs-fold with a blank",
                                  "CR in a value"])
def test_bad_request_in_pieces(up, name):
    data, statuses = HEADS[name]
    with up.client() as client:
        try:
            for byte in data:
                client.send(bytes([byte]))
        except ConnectionError:
            pass
        assert client.response().status in statuses
        assert client.is_closed()


# ---- what is fine ----

@pytest.mark.parametrize("data", [
    b"\r\n" + get(), get(b"X:"), get(b"X: \t a \t "), get(b"X:a"), get(host=b"hOsT:   test  \r\n"),
    get(host=b"Host: [::1]:80\r\n"), get(host=b"Host: 127.0.0.1\r\n"), get(b"X: \xff\xfe"),
    get(host=b"Host: a_b.example\r\n"), get(host=b"Host: test:\r\n"), get(b"X!#$%&'*+-.^_`|~9: a"),
    get(b"Transfer_Encoding: chunked"), get(b"Content_Length: 5"), get(b"Content-Length: 0"),
    sized(b" 5 "), sized(b"005"), coded(b" chunked "), coded(b"CHUNKED"),
])
def test_odd_but_valid_request_is_served(up, data):
    with up.client() as client:
        client.send(data + request_bytes(target="/next"))
        assert client.response().status == 200
        assert json.loads(client.response().body)["target"] == "/next"


def test_underscore_twin_of_a_framing_field_does_not_frame(up):
    """A server that maps _ to - must not be told another length than rpd used."""
    seen = json.loads(up.ask(headers=[("Content_Length", "5")]).body)
    assert seen["framing"] == "none"
