"""Waiting, build facts, deterministic bodies, /proc. Nothing here knows HTTP."""

import functools
import hashlib
import os
import pathlib
import re
import signal
import time

REPO = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get("RPD_BUILD", REPO / "build/release")).resolve()
RPD = BUILD / "rpd"
RPCTL = BUILD / "rpctl"


@functools.cache
def is_sanitized():
    """Whether rpd was built with ASan or UBSan (slower, bigger; memory tests make no sense)."""
    data = RPD.read_bytes() if RPD.exists() else b""
    return b"__asan_init" in data or b"__ubsan_handle" in data


def times(n):
    """How often in a row: fewer where everything takes longer."""
    return n * 3 // 10 if is_sanitized() else n


def patience(seconds):
    """A deadline for something that should come at once, with room for a sanitized build."""
    return seconds * (4 if is_sanitized() else 1)


def kernel_buffers():
    """Most bytes that the kernel takes between a sender and a reader who stands still, with rpd
    between them: two senders' buffers, rpd's own receive buffer, pipes. Some let one grow to 32
    MiB."""
    def most(name):
        return int(pathlib.Path(f"/proc/sys/net/ipv4/{name}").read_text().split()[2])
    return 2 * most("tcp_wmem") + most("tcp_rmem") + (8 << 20)


def wait_until(fn, timeout=10, what=None, interval=0.01):
    """Polls until fn() is true and returns its value. The event is what is waited for."""
    deadline = time.monotonic() + patience(timeout)
    while True:
        value = fn()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience(timeout)} s: {what or fn}; last: {value!r}")
        time.sleep(interval)


def holds_for(fn, seconds):
    """Asserts that fn() stays true for a while: for what must not happen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert fn()
        time.sleep(0.01)


def stands_still(value):
    """Waits until a count has not moved for a quarter of a second."""
    last, since = value(), time.monotonic()
    deadline = since + 20
    while time.monotonic() < deadline:
        now = value()
        if now != last:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > 0.25:
            return last
        time.sleep(0.02)
    raise AssertionError(f"still moving at {last}")


@functools.cache
def _block():
    out, seed = b"", b"rpd"
    while len(out) < 65537:  # a prime: pieces moved by a buffer's size would show
        seed = hashlib.sha256(seed).digest()
        out += seed
    return (out[:65537]) * 17


def pieces(n):
    """n deterministic bytes in pieces of about 1 MiB."""
    block = _block()
    while n > 0:
        piece = block[:n]
        yield piece
        n -= len(piece)


def pattern(n):
    return b"".join(pieces(n))


@functools.cache
def pattern_sha(n):
    digest = hashlib.sha256()
    for piece in pieces(n):
        digest.update(piece)
    return digest.hexdigest()


def sha(data):
    return hashlib.sha256(data).hexdigest()


def proc_fields(pid):
    """Fields of /proc/PID/stat after the command: [0] state, [1] ppid, [2] pgrp, [3] session."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text[text.rindex(")") + 2:].split()


def pids():
    return [int(p) for p in os.listdir("/proc") if p.isdigit()]


def session_pids(session):
    """Living (not zombie) processes of a session."""
    found = []
    for pid in pids():
        fields = proc_fields(pid)
        if fields and fields[0] not in "ZX" and int(fields[3]) == session:
            found.append(pid)
    return found


def children(ppid):
    found = []
    for pid in pids():
        fields = proc_fields(pid)
        if fields and fields[0] not in "ZX" and int(fields[1]) == ppid:
            found.append(pid)
    return found


def is_alive(pid):
    fields = proc_fields(pid)
    return bool(fields) and fields[0] not in "ZX"


def freeze(pid):
    """SIGSTOP, and waits until every thread stands still: the signal alone only asks for it."""
    os.kill(pid, signal.SIGSTOP)
    tasks = pathlib.Path(f"/proc/{pid}/task")
    wait_until(lambda: all(re.search(r"^State:\s+T", (task / "status").read_text(), re.M)
                           for task in tasks.iterdir()), interval=0.0005)


def fd_count(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def cmdline(pid):
    """Empty: it is gone."""
    try:
        text = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return text.replace(b"\0", b" ").decode().strip()


def memory(pid, field="Pss"):
    """Bytes of a field of smaps_rollup."""
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no {field} for {pid}")
