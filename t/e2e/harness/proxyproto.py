"""PROXY protocol headers, made and read (the specification's sections 2.1 and 2.2)."""

import socket
import struct

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v1(src="1.2.3.4", dst="5.6.7.8", sport=1111, dport=2222):
    family = "TCP6" if ":" in src else "TCP4"
    return f"PROXY {family} {src} {dst} {sport} {dport}\r\n".encode()


def v2(src="1.2.3.4", dst="5.6.7.8", sport=1111, dport=2222, command=1, tlvs=b"", version=2):
    if command == 0:
        family, addresses = 0, b""
    elif ":" in src:
        family = 0x21
        addresses = (socket.inet_pton(socket.AF_INET6, src) + socket.inet_pton(socket.AF_INET6, dst)
                     + struct.pack("!HH", sport, dport))
    else:
        family = 0x11
        addresses = (socket.inet_aton(src) + socket.inet_aton(dst)
                     + struct.pack("!HH", sport, dport))
    body = addresses + tlvs
    return SIGNATURE + struct.pack("!BBH", version << 4 | command, family, len(body)) + body


def read(wire, version):
    """(source, destination) addresses of a header at the start of a connection."""
    if version == "v1":
        word, family, src, dst, sport, dport = wire.line(107).decode().split(" ")
        assert word == "PROXY" and family in ("TCP4", "TCP6")
        return (src, int(sport)), (dst, int(dport))
    head = wire.exact(16)
    assert head[:12] == SIGNATURE
    command, family, length = struct.unpack("!BBH", head[12:])
    assert command == 0x21 and family in (0x11, 0x21)
    body = wire.exact(length)
    size, af = (4, socket.AF_INET) if family == 0x11 else (16, socket.AF_INET6)
    sport, dport = struct.unpack("!HH", body[2 * size:2 * size + 4])
    return ((socket.inet_ntop(af, body[:size]), sport),
            (socket.inet_ntop(af, body[size:2 * size]), dport))
