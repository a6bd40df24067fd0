"""A name server: UDP and TCP on one port, whose answers change when a test says so."""

import collections
import socket
import struct
import threading

from .util import wait_until

TYPES = {1: "A", 28: "AAAA", 33: "SRV"}
SERVFAIL, NXDOMAIN = 2, 3
UDP_MAX = 512


def encode_name(name):
    labels = name.rstrip(".").split(".") if name.rstrip(".") else []
    return b"".join(bytes([len(one)]) + one.encode() for one in labels) + b"\0"


def decode_name(data, at):
    labels = []
    while data[at]:
        labels.append(data[at + 1:at + 1 + data[at]].decode().lower())
        at += data[at] + 1
    return ".".join(labels), at + 1


def rdata_of(kind, value):
    if kind == "A":
        return socket.inet_aton(value)
    if kind == "AAAA":
        return socket.inet_pton(socket.AF_INET6, value)
    priority, weight, port, target = value
    return struct.pack("!HHH", priority, weight, port) + encode_name(target)


class NameServer:
    """set() says what a name has; fail() how its questions go wrong until the next set()."""

    def __init__(self):
        self.lock = threading.Lock()
        self.records, self.ttls, self.failures = {}, {}, {}
        self.asked = collections.Counter()  # (name, type) -> questions
        self.over_tcp = 0
        while True:
            self.tcp = socket.socket()
            self.tcp.bind(("127.0.0.1", 0))
            self.port = self.tcp.getsockname()[1]
            self.udp = socket.socket(type=socket.SOCK_DGRAM)
            try:
                self.udp.bind(("127.0.0.1", self.port))
                break
            except OSError:
                self.tcp.close()
                self.udp.close()
        self.tcp.listen(64)
        self.addr = f"127.0.0.1:{self.port}"
        self.globals_ = f"nameserver = {self.addr}\n"
        threading.Thread(target=self._serve_udp, daemon=True).start()
        threading.Thread(target=self._serve_tcp, daemon=True).start()

    def set(self, name, *addresses, ttl=1, srv=()):
        """IPv4 and IPv6 addresses, or (priority, weight, port, target) for SRV."""
        with self.lock:
            self.records[name] = {
                "A": [a for a in addresses if ":" not in a],
                "AAAA": [a for a in addresses if ":" in a],
                "SRV": list(srv)}
            self.ttls[name] = ttl
            self.failures.pop(name, None)

    def fail(self, name, how, kinds=("A", "AAAA", "SRV")):
        """how: servfail, nxdomain, empty, silent."""
        with self.lock:
            self.failures[name] = (how, kinds)

    def count(self, name):
        with self.lock:
            return sum(n for (one, _), n in self.asked.items() if one == name)

    def wait_asked(self, name, more=1, timeout=20):
        """Until `more` questions for the name have come after this moment."""
        before = self.count(name)
        wait_until(lambda: self.count(name) >= before + more, timeout)

    def _answer(self, query, is_tcp):
        ident, _, questions = struct.unpack("!HHH", query[:6])
        name, at = decode_name(query, 12)
        kind = TYPES.get(struct.unpack("!H", query[at:at + 2])[0], "?")
        question = query[12:at + 4]
        with self.lock:
            self.asked[name, kind] += 1
            self.over_tcp += is_tcp
            how, kinds = self.failures.get(name, (None, ()))
            how = how if kind in kinds else None
            values = self.records.get(name, {}).get(kind, [])
            known, ttl = name in self.records, self.ttls.get(name, 1)
        assert questions == 1
        if how == "silent":
            return None
        rcode = {"servfail": SERVFAIL, "nxdomain": NXDOMAIN}.get(how, 0 if known else NXDOMAIN)
        if rcode or how == "empty":
            values = []
        answers = b""
        for value in values:
            data = rdata_of(kind, value)
            answers += b"\xc0\x0c" + query[at:at + 4] + struct.pack("!IH", ttl, len(data)) + data
        flags, count = 0x8580 | rcode, len(values)
        if not is_tcp and 12 + len(question) + len(answers) > UDP_MAX:
            flags, count, answers = flags | 0x0200, 0, b""
        return struct.pack("!HHHHHH", ident, flags, 1, count, 0, 0) + question + answers

    def _serve_udp(self):
        while True:
            try:
                query, peer = self.udp.recvfrom(4096)
                if not query:
                    return  # it was shut down
                answer = self._answer(query, False)
                if answer:
                    self.udp.sendto(answer, peer)
            except OSError:
                return

    def _serve_tcp(self):
        while True:
            try:
                sock, _ = self.tcp.accept()
            except OSError:
                return
            threading.Thread(target=self._serve_conn, args=(sock,), daemon=True).start()

    def _serve_conn(self, sock):
        with sock, sock.makefile("rb") as stream:
            while len(size := stream.read(2)) == 2:
                answer = self._answer(stream.read(struct.unpack("!H", size)[0]), True)
                if answer:
                    sock.sendall(struct.pack("!H", len(answer)) + answer)

    def close(self):
        for sock in (self.udp, self.tcp):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()
