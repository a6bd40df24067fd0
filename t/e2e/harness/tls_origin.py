"""Servers behind rpd that speak TLS, by Python's ssl; and some that only seem to."""

import ssl

from .origin import Origin

# Alerts as they are sent before any key is agreed on.
HANDSHAKE_FAILURE = b"\x15\x03\x03\x00\x02\x02\x28"


def server_context(leaf, client_ca=None, version=None):
    """A certificate to show; with client_ca clients have to show theirs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.chain, leaf.key)
    context.set_alpn_protocols(["h2", "http/1.1"])
    if client_ca:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    if version:
        context.minimum_version = context.maximum_version = version
    return context


class Handshake:
    """What a client said of itself."""

    def __init__(self, sock):
        self.sni = getattr(sock, "sni", None)
        self.alpn = sock.selected_alpn_protocol()
        self.version = sock.version()
        self.is_resumed = sock.session_reused
        self.client = sock.getpeercert()


def note_name(sock, name, _context):
    sock.sni = name


class TlsOrigin(Origin):
    """An Origin whose handlers see what is within. A connection's end is said (close_notify),
    unless the handler sets conn.is_rude. `before`: read, in the clear, into conn.preface."""

    def __init__(self, leaf=None, handler=None, context=None, before=0, **kw):
        self.context = context or server_context(leaf)
        self.context.sni_callback = note_name
        self.handshakes, self.failures = [], []
        self.before = before
        super().__init__(handler, **kw)

    def _handshake(self, conn):
        conn.preface = b""
        while len(conn.preface) < self.before:
            conn.preface += conn.sock.recv(self.before - len(conn.preface))
        try:
            conn.sock = self.context.wrap_socket(conn.sock, server_side=True)
        except OSError as error:
            with self.lock:
                self.failures.append(error)
            raise
        conn.shutdown_write = lambda: say_goodbye(conn.sock)
        with self.lock:
            self.handshakes.append(Handshake(conn.sock))

    def _run(self, conn):
        handler = self.handler

        def secured(conn):
            conn.is_rude = False
            self._handshake(conn)
            handler(conn)
            if not conn.is_rude:
                say_goodbye(conn.sock)
        super()._run(conn, secured)


def say_goodbye(sock):
    """close_notify, without waiting for the peer's; what he says can still be read."""
    timeout = sock.gettimeout()
    sock.settimeout(0)
    try:
        sock.unwrap()
    except OSError:
        pass
    sock.settimeout(timeout)
