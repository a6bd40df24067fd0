"""TLS on the test's side: ClientHellos as bytes, a socket whose every byte the test can cut as it
likes, servers that speak TLS behind rpd."""

import contextlib
import functools
import socket
import ssl
import struct

from .client import Client
from .util import patience

# Records of fatal alerts, as they are sent before there are keys.
UNEXPECTED_MESSAGE, RECORD_OVERFLOW, ILLEGAL_PARAMETER = 10, 22, 47
DECODE_ERROR, PROTOCOL_VERSION, UNRECOGNIZED_NAME = 50, 70, 112


def alert(description):
    return bytes([21, 3, 3, 0, 2, 2, description])


def client_context(ca=None, version=None, alpn=(), leaf=None):
    """ca None: whoever answers is fine. leaf: the client's own certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca:
        context.load_verify_locations(ca)
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if version:
        context.minimum_version = context.maximum_version = version
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if leaf:
        context.load_cert_chain(leaf.chain, leaf.key)
    return context


def server_context(leaf, alpn=(), client_ca=None, version=None):
    """A certificate to show; with client_ca clients have to show theirs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.chain, leaf.key)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if client_ca:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    if version:
        context.minimum_version = context.maximum_version = version
    return context


def secured(leaf, handler, **kw):
    """A handler of an origin, with TLS around it."""
    context = server_context(leaf, **kw)

    def run(conn):
        conn.sock = context.wrap_socket(conn.sock, server_side=True)
        handler(conn)
    return run


@functools.cache
def hello(name="www.test", **kw):
    """A ClientHello in its one record."""
    out = ssl.MemoryBIO()
    tls = client_context(**kw).wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return out.read()


def records(data, size):
    """A record's payload in records of so many bytes."""
    kind, length = data[:3], struct.unpack("!H", data[3:5])[0]
    payload = data[5:5 + length]
    cut = [payload[at:at + size] for at in range(0, length, size)]
    return b"".join(kind + struct.pack("!H", len(p)) + p for p in cut) + data[5 + length:]


class TlsSocket:
    """TLS over a socket, with `shape` between them: the first flight goes out in the pieces that
    shape makes of it, behind `prefix`."""

    def __init__(self, sock, context, name, shape=None, prefix=b""):
        self.sock, self.shape = sock, shape or (lambda data: [data])
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name)
        self.prefix = prefix
        self._do(self.tls.do_handshake)

    def _flush(self):
        data = self.outgoing.read()
        if not data:
            return
        pieces, self.shape = self.shape(self.prefix + data), lambda rest: [rest]
        self.prefix = b""
        for piece in pieces:
            self.sock.sendall(piece)

    def _do(self, call):
        while True:
            try:
                result = call()
                self._flush()
                return result
            except ssl.SSLWantReadError:
                self._flush()
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    self._flush()
                raise
            data = self.sock.recv(262144)
            if data:
                self.incoming.write(data)
            else:
                self.incoming.write_eof()

    def recv(self, n):
        try:
            return self._do(lambda: self.tls.read(n))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def sendall(self, data):
        view = memoryview(data)
        for at in range(0, len(view), 65536):
            self._do(lambda: self.tls.write(view[at:at + 65536]))

    def shutdown(self, how):
        """close_notify, and the end of the stream."""
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLSyscallError):
            self.tls.unwrap()
        self._flush()
        self.sock.shutdown(how)

    def __getattr__(self, name):
        if name in ("settimeout", "close", "setsockopt", "getsockname", "fileno"):
            return getattr(self.sock, name)
        return getattr(self.tls, name)


class TlsClient(Client):
    """A Client within TLS."""

    def __init__(self, addr, context, name="www.test", shape=None, prefix=b"", **kw):
        super().__init__(addr, **kw)
        try:
            self.sock = TlsSocket(self.sock, context, name, shape, prefix)
        except BaseException:
            self.sock.close()
            raise


def raw(addr, data, timeout=15):
    """Says that, and gives all that comes until the end; a reset raises."""
    with socket.create_connection(addr, patience(timeout)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(BrokenPipeError):
            sock.sendall(data)
        got = b""
        while piece := sock.recv(65536):
            got += piece
        return got


def in_two(at):
    """A shape: cut there, with a packet's time between the parts."""
    return lambda data: [data[:at], data[at:]]


def one_by_one(data):
    return [data[i:i + 1] for i in range(len(data))]
