"""HTTP/1 as bytes, read strictly: what rpd sends to either side must be beyond doubt."""

import hashlib
import re
import socket
import struct

TOKEN = re.compile(rb"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$")
KEEP = 8 << 20  # bodies up to this are kept, longer ones only hashed


class Eof(Exception):
    """The peer closed in the middle of (or before) what was to be read."""


class BadMessage(AssertionError):
    """What came is not HTTP/1 as it should be."""


class Message:
    """A request or a response: head, then the body as it was framed."""

    def __init__(self, start, headers):
        self.start = start
        self.headers = headers
        self.body = b""
        self.length = 0
        self.sha = hashlib.sha256(b"").hexdigest()
        self.framing = "none"
        self.chunks = 0
        self.trailers = []

    def all(self, name):
        return [v for n, v in self.headers if n.lower() == name.lower()]

    def get(self, name, default=None):
        values = self.all(name)
        if len(values) > 1:
            raise BadMessage(f"{name} came {len(values)} times: {values}")
        return values[0] if values else default

    def has(self, name):
        return bool(self.all(name))

    def options(self, name):
        """Members of a comma list, lower case."""
        joined = ",".join(self.all(name))
        return [m.strip().lower() for m in joined.split(",") if m.strip()]

    def __repr__(self):
        return f"<{self.start} {self.headers} {self.framing} {self.length}: {self.body[:300]!r}>"


class Response(Message):
    def __init__(self, start, headers):
        super().__init__(start, headers)
        m = re.match(r"^(HTTP/1\.[01]) ([1-5]\d\d) ([^\x00-\x08\x0a-\x1f\x7f]*)$", start)
        if not m:
            raise BadMessage(f"status line {start!r}")
        self.version, self.status, self.reason = m[1], int(m[2]), m[3]
        self.interim = []


class Request(Message):
    def __init__(self, start, headers):
        super().__init__(start, headers)
        m = re.match(r"^([!-~]+) ([!-~]+) (HTTP/1\.[01])$", start)
        if not m:
            raise BadMessage(f"request line {start!r}")
        self.method, self.target, self.version = m[1], m[2], m[3]
        self.connection = None


def parse_fields(lines):
    fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not TOKEN.match(name):
            raise BadMessage(f"field line {line!r}")
        if re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value):
            raise BadMessage(f"control byte in field {line!r}")
        fields.append((name.decode("latin-1"), value.strip(b" \t").decode("latin-1")))
    return fields


class Wire:
    """A socket with a buffer: what was read too much waits in `buf` for the next read."""

    def __init__(self, sock, timeout):
        self.sock = sock
        self.sock.settimeout(timeout)
        self.buf = bytearray()

    # ---- bytes ----

    def send(self, data):
        if isinstance(data, str):
            data = data.encode("latin-1")
        self.sock.sendall(data)

    def fill(self):
        data = self.sock.recv(262144)
        if not data:
            raise Eof(f"closed; unread before that: {bytes(self.buf[:200])!r}")
        self.buf += data

    def exact(self, n):
        while len(self.buf) < n:
            self.fill()
        data = bytes(self.buf[:n])
        del self.buf[:n]
        return data

    def some(self):
        """At least one byte, whatever is there."""
        if not self.buf:
            self.fill()
        data = bytes(self.buf)
        self.buf.clear()
        return data

    def line(self, limit=131072):
        while True:
            at = self.buf.find(b"\n")
            if at >= 0:
                break
            if len(self.buf) > limit:
                raise BadMessage("line without end")
            self.fill()
        line = bytes(self.buf[:at + 1])
        del self.buf[:at + 1]
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            raise BadMessage(f"line end of {line[-80:]!r}")
        return line[:-2]

    def until_eof(self):
        """Everything up to the end of the stream; a reset counts as an end."""
        try:
            while True:
                self.fill()
        except (Eof, ConnectionError):
            pass
        data = bytes(self.buf)
        self.buf.clear()
        return data

    def is_closed(self):
        """Reads to the end: nothing more may come, the peer must close within the timeout."""
        return self.until_eof() == b""

    def shutdown_write(self):
        self.sock.shutdown(socket.SHUT_WR)

    def close(self):
        self.sock.close()

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    # ---- messages ----

    def head(self):
        start = self.line()
        lines = []
        while True:
            line = self.line()
            if not line:
                break
            lines.append(line)
        return start.decode("latin-1"), parse_fields(lines)

    def _framing(self, msg):
        te, length = msg.all("Transfer-Encoding"), msg.all("Content-Length")
        if te and length:
            raise BadMessage(f"both Transfer-Encoding and Content-Length: {msg.headers}")
        if te:
            if te != ["chunked"]:
                raise BadMessage(f"Transfer-Encoding {te}")
            if msg.version == "HTTP/1.0":
                raise BadMessage("chunked in HTTP/1.0")
            return "chunked"
        if length:
            if len(length) > 1 or not length[0].isdigit():
                raise BadMessage(f"Content-Length {length}")
            return "length"
        return "close" if isinstance(msg, Response) else "none"

    def _take(self, msg, digest, n):
        """n bytes of body (None: up to the end of the stream) in bounded pieces."""
        while n is None or n > 0:
            if not self.buf:
                try:
                    self.fill()
                except Eof:
                    if n is None:
                        return
                    raise
            piece = self.buf if n is None else self.buf[:n]
            digest.update(piece)
            msg.length += len(piece)
            if msg.length <= KEEP:
                msg.body += piece
            else:
                msg.body = b""
            if n is not None:
                n -= len(piece)
            del self.buf[:len(piece)]

    def _chunked(self, msg, digest):
        while True:
            line = self.line()
            if not re.match(rb"^[0-9A-Fa-f]{1,16}(;[^\x00-\x08\x0a-\x1f]*)?$", line):
                raise BadMessage(f"chunk size {line!r}")
            size = int(line.split(b";")[0], 16)
            if size == 0:
                break
            msg.chunks += 1
            self._take(msg, digest, size)
            if self.exact(2) != b"\r\n":
                raise BadMessage("no CRLF after a chunk")
        lines = []
        while True:
            line = self.line()
            if not line:
                break
            lines.append(line)
        msg.trailers = parse_fields(lines)

    def body(self, msg, framing=None):
        digest = hashlib.sha256()
        msg.framing = framing or self._framing(msg)
        if msg.framing == "length":
            self._take(msg, digest, int(msg.get("Content-Length")))
        elif msg.framing == "chunked":
            self._chunked(msg, digest)
        elif msg.framing == "close":
            self._take(msg, digest, None)
        msg.sha = digest.hexdigest()
        return msg

    def response_head(self):
        return Response(*self.head())

    def response(self, method="GET"):
        """The final response to `method`, with those before it in `.interim`."""
        interim = []
        while True:
            res = self.response_head()
            if res.status < 200 and res.status != 101:
                interim.append(res)
                continue
            break
        res.interim = interim
        is_empty = method == "HEAD" or res.status in (101, 204, 304)
        return self.body(res, "none" if is_empty else None)

    def request_head(self):
        return Request(*self.head())

    def request(self):
        return self.body(self.request_head())


def chunked(*parts, trailers=(), ext=""):
    """A chunked body: one chunk for each part."""
    out = b""
    for part in parts:
        if part:
            out += b"%x%s\r\n" % (len(part), ext.encode()) + part + b"\r\n"
    out += b"0\r\n"
    for name, value in trailers:
        out += f"{name}: {value}\r\n".encode("latin-1")
    return out + b"\r\n"
