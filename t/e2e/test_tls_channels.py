"""A worker's way to `rpd: keys`: it is made again when it did not come to be."""

import contextlib
import ctypes
import os
import pathlib
import pwd
import re
import resource
import signal
import socket
import ssl
import subprocess

import pytest

from harness.certs import Authority
from harness.util import wait_until

NAME = "www.test"
SITE = """
[listener web]
bind = @web@
tls = on
certificate = www
{certificate}
[route all]
respond = 200 $tls_version
"""


USER = "games"  # nobody else is


def is_usable():
    try:
        return os.geteuid() == 0 and pwd.getpwnam(USER) is not None
    except KeyError:
        return False


def seqpackets(pid):
    """Descriptors of a process's SOCK_SEQPACKET sockets, the one made last at the end."""
    rows = (row.split() for row in pathlib.Path("/proc/net/unix").read_text().splitlines()[1:])
    kind = {row[6]: row[4] for row in rows}
    found = []
    for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        inode = None
        with contextlib.suppress(FileNotFoundError):  # it closes some as we look
            inode = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(fd))
        if inode and kind.get(inode[1]) == "0005":
            found.append((int(inode[1]), int(fd.name)))
    return [fd for _, fd in sorted(found)]


def cut(pid, fd):
    """Shuts a socket of another process down, both ways."""
    libc = ctypes.CDLL(None, use_errno=True)
    mine = libc.syscall(438, os.pidfd_open(pid), fd, 0)  # pidfd_getfd
    assert mine >= 0, os.strerror(ctypes.get_errno())
    socket.socket(fileno=mine).shutdown(socket.SHUT_RDWR)


def visit(d, ca):
    ctx = ssl.create_default_context(cafile=ca.bundle)
    with socket.create_connection(d.addr(), timeout=15) as sock:
        with ctx.wrap_socket(sock, server_hostname=NAME) as tls:
            tls.sendall(b"GET / HTTP/1.1\r\nHost: www.test\r\n\r\n")
            assert tls.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_a_worker_whose_channel_ended_gets_another(rpd, tmp_path):
    ca = Authority(tmp_path)
    d = rpd(SITE.format(certificate=ca.issue(NAME).section("www")), workers=1)
    keys, worker = d.stats()["rpd"]["keys_pid"], d.worker_pids()
    visit(d, ca)
    cut(worker[0], seqpackets(worker[0])[-1])
    visit(d, ca)
    assert d.stats()["rpd"]["keys_pid"] == keys
    assert d.worker_pids() == worker


@pytest.mark.skipif(not is_usable(), reason="only root can become somebody else")
def test_a_worker_whose_channel_failed_gets_another(rpd, tmp_path):
    """For want of a thread, say: that may be over in a moment."""
    ca = Authority(tmp_path)
    d = rpd(SITE.format(certificate=ca.issue(NAME).section("www")), workers=1,
            globals_=f"keys_user = {USER}\n", limits=[(resource.RLIMIT_NPROC, 3)])
    keys = d.stats()["rpd"]["keys_pid"]
    others = [subprocess.Popen(["sleep", "60"], user=USER) for _ in range(3)]
    try:
        victim = d.worker_pids()[0]
        os.kill(victim, signal.SIGKILL)
        d.wait_log("no thread can be made")
    finally:
        for other in others:
            other.kill()
            other.wait()
    wait_until(lambda: d.worker_pids() and victim not in d.worker_pids())
    visit(d, ca)
    assert d.stats()["rpd"]["keys_pid"] == keys
