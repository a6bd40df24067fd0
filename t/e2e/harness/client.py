"""The raw client: sends any bytes, reads answers strictly."""

import socket

from .util import patience
from .wire import Wire

__all__ = ["Client", "request_bytes"]


def request_bytes(method="GET", target="/", headers=(), body=None, host="test", version="1.1"):
    """A well-formed request; body None: no framing fields at all."""
    lines = [f"{method} {target} HTTP/{version}"]
    if host is not None:
        lines.append(f"Host: {host}")
    lines += [f"{name}: {value}" for name, value in headers]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")


class Client(Wire):
    def __init__(self, addr, timeout=15, rcvbuf=None):
        if isinstance(addr, str):
            sock = socket.socket(socket.AF_UNIX)
        else:
            sock = socket.socket(socket.AF_INET6 if ":" in addr[0] else socket.AF_INET)
        if rcvbuf:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        sock.settimeout(patience(timeout))
        sock.connect(addr)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().__init__(sock, patience(timeout))
        self.name = sock.getsockname()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def ask(self, target="/", method="GET", headers=(), body=None, host="test", version="1.1"):
        """One request and its final response; the connection stays."""
        self.send(request_bytes(method, target, headers, body, host, version))
        return self.response(method)
