"""Servers behind rpd that speak TLS, by Python's ssl; and some that only seem to."""


from .certs import Authority, Leaf, make_key, openssl
from .origin import Origin
from .tls import server_context as context_of

# Alerts as they are sent before any key is agreed on.
HANDSHAKE_FAILURE = b"\x15\x03\x03\x00\x02\x02\x28"
NAME = "www.test"


def self_signed(place, name):
    """A certificate in an authority's folder that nobody issued."""
    leaf = Leaf(place, "self", (name,))
    make_key(leaf.key)
    openssl("req", "-x509", "-key", leaf.key, "-out", leaf.chain, "-days", "9",
            "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}")
    return leaf


class Pki:
    """What the tests of servers show and believe, good and bad in each way."""

    def __init__(self, folder):
        self.ca = Authority(folder, "Good CA")
        self.other = Authority(folder, "Other CA")
        self.good = self.ca.issue(NAME, "localhost", "127.0.0.1")
        self.below = self.ca.intermediate("Below").issue(NAME)
        self.named = self.ca.issue(NAME, "*.wild.test")
        self.wrong = self.ca.issue("elsewhere.test")
        self.expired = self.ca.issue(NAME, starts=-40, days=30)
        self.early = self.ca.issue(NAME, starts=3)
        self.stranger = self.other.issue(NAME)
        self.self_signed = self_signed(self.ca, NAME)
        self.client = self.ca.issue(common_name="rpd itself", label="client")
        self.foreign_client = self.other.issue(common_name="someone", label="foreign")


def tls(pki, name=NAME, ca=None, **more):
    """Lines of a [backend]."""
    keys = {"tls": "on", "tls_ca": ca or pki.ca.bundle, **more}
    if name:
        keys["tls_name"] = name
    return "".join(f"{key} = {value}\n" for key, value in keys.items())


def server_of(d, name="s0", backend="pool"):
    return d.stats()["backends"][backend]["servers"][name]


def counts(d, name="s0"):
    s = server_of(d, name)
    return s["tls_handshakes"], s["tls_resumed"], s["tls_failed"]


def server_context(leaf, **kw):
    """Of a server that would speak HTTP/2 as well."""
    return context_of(leaf, alpn=("h2", "http/1.1"), **kw)


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
