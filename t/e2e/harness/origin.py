"""Servers behind rpd. A handler gets each connection and does what it likes with the bytes."""

import json
import re
import socket
import threading

from .util import patience, pieces, wait_until
from .wire import BadMessage, Eof, Wire, chunked


class OriginConn(Wire):
    def __init__(self, origin, sock, peer, index):
        super().__init__(sock, patience(30))
        self.origin, self.peer, self.index = origin, peer, index
        self.nrequests = 0
        self.is_ended = threading.Event()

    def request_head(self):
        req = super().request_head()
        req.connection = self
        with self.origin.lock:
            self.origin.heads.append(req)
        return req

    def request(self):
        """A whole request, recorded in origin.requests once its body is complete."""
        req = self.body(self.request_head())
        self.nrequests += 1
        with self.origin.lock:
            self.origin.requests.append(req)
        return req

    def reply(self, body=b"", status="200 OK", headers=()):
        if isinstance(body, str):
            body = body.encode()
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n"
        head += "".join(f"{n}: {v}\r\n" for n, v in headers)
        self.send(head.encode("latin-1") + b"\r\n" + body)

    def wait_end(self):
        """Blocks until the peer closes or resets; what it still sent is thrown away."""
        try:
            while self.sock.recv(65536):
                pass
        except OSError:
            pass


class Origin:
    """Listens on a port of the kernel's choice; one thread for each connection."""

    def __init__(self, handler=None, family=socket.AF_INET, path=None, backlog=512, name="",
                 host=None, port=0):
        self.handler = handler or echo
        self.name = name
        self.lock = threading.Lock()
        self.connections, self.heads, self.requests, self.errors = [], [], [], []
        if path:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.bind(str(path))
            self.addr = f"unix:{path}"
        else:
            self.sock = socket.socket(family)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            host = host or ("127.0.0.1" if family == socket.AF_INET else "::1")
            self.sock.bind((host, port))
            self.port = self.sock.getsockname()[1]
            self.addr = f"{host if family == socket.AF_INET else f'[{host}]'}:{self.port}"
        self.sock.listen(backlog)
        self.is_closing = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, peer = self.sock.accept()
            except OSError:
                return
            if self.is_closing:
                sock.close()
                return
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                conn = OriginConn(self, sock, peer, len(self.connections))
                self.connections.append(conn)
            threading.Thread(target=self._run, args=(conn,), daemon=True).start()

    def _run(self, conn, handler=None):
        try:
            (handler or self.handler)(conn)
        except (Eof, ConnectionError, TimeoutError, ValueError, OSError):
            pass
        except Exception as error:  # a failure of the test, shown at its end
            with self.lock:
                self.errors.append(error)
        finally:
            conn.close()
            conn.is_ended.set()

    def open_connections(self):
        return [c for c in self.connections if not c.is_ended.is_set()]

    def wait_requests(self, n, timeout=10):
        wait_until(lambda: len(self.requests) >= n, timeout,
                   f"{n} requests at origin {self.name}, got {len(self.requests)}")
        return self.requests

    def last(self):
        return self.requests[-1]

    def close(self):
        self.is_closing = True
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()
        for conn in self.connections:
            try:
                conn.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def check(self):
        if self.errors:
            raise self.errors[0]


# ---- handlers ----

def keeps_alive(req):
    options = req.options("Connection")
    if req.version == "HTTP/1.0":
        return "keep-alive" in options
    return "close" not in options


def describe(conn, req):
    return json.dumps({
        "origin": conn.origin.name, "connection": conn.index, "method": req.method,
        "target": req.target, "version": req.version, "headers": req.headers,
        "framing": req.framing, "length": req.length, "sha": req.sha, "trailers": req.trailers,
    })


def answer(conn, req):
    """What the usual origin says, by path: /bytes/N, /chunked/N, /close/N, /status/N, /echo,
    anything else: the request as JSON. False: the connection is over."""
    path = req.target.split("?")[0]
    m = re.match(r"^.*/(bytes|chunked|close|status)/(\d+)$", path)
    what, n = (m[1], int(m[2])) if m else (path, 0)
    is_head = req.method == "HEAD"
    if what == "bytes":
        conn.send(f"HTTP/1.1 200 OK\r\nContent-Length: {n}\r\n\r\n")
        for piece in pieces(0 if is_head else n):
            conn.send(piece)
    elif what == "chunked":
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")
        for piece in pieces(0 if is_head else n):
            conn.send(b"%x\r\n" % len(piece) + piece + b"\r\n")
        if not is_head:
            conn.send("0\r\nX-Sum: abc\r\n\r\n")
    elif what == "close":
        conn.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        for piece in pieces(0 if is_head else n):
            conn.send(piece)
        return False
    elif what == "status":
        conn.send(f"HTTP/1.1 {n} Some Reason\r\n"
                  + ("" if n in (204, 304) else "Content-Length: 0\r\n") + "\r\n")
    elif what == "/echo":
        conn.reply(req.body)
    else:
        body = describe(conn, req).encode()
        conn.reply(b"" if is_head else body, headers=[("Content-Type", "application/json")])
    return True


def echo(conn):
    """The usual origin: see answer()."""
    while True:
        req = conn.request()
        if not answer(conn, req) or not keeps_alive(req):
            return


def canned(*answers, then_close=False):
    """Reads a request, sends the next of `answers` (bytes, as they are), the last one forever."""
    def handler(conn):
        while True:
            conn.request()
            with conn.origin.lock:
                n = len(conn.origin.requests) - 1
            conn.send(answers[min(n, len(answers) - 1)])
            if then_close:
                return
    return handler


def tcp_echo(conn):
    """Sends back what comes; ends its side when the peer has ended its own."""
    while True:
        data = conn.sock.recv(262144)
        if not data:
            conn.shutdown_write()
            return
        conn.send(data)


def upgrade_echo(conn):
    """101 to a request that asks for it, then an echo of bytes; else the usual origin."""
    while True:
        req = conn.request()
        if req.has("Upgrade"):
            conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                      f"Upgrade: {req.get('Upgrade')}\r\nSec-WebSocket-Accept: x\r\n\r\n")
            if conn.buf:
                conn.send(conn.some())
            tcp_echo(conn)
            return
        if not answer(conn, req):
            return


__all__ = ["Origin", "OriginConn", "BadMessage", "answer", "canned", "chunked", "describe", "echo",
           "keeps_alive", "tcp_echo", "upgrade_echo"]
