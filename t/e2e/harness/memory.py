"""What is in a process's memory, for those who look for keys there (as root)."""

import array
import base64
import contextlib
import mmap
import os
import pathlib
import re

from .certs import openssl

PAGE = mmap.PAGESIZE
# Larger ones are a sanitizer's shadow, in which no byte of anybody's is kept.
MAPPING_MAX = 1 << 32
PIECE = 16 << 20
IS_THERE = 3 << 62  # in /proc/PID/pagemap: in memory, or in the swap


def mappings(pid):
    """(start, end) of what can be read and has pages."""
    text = pathlib.Path(f"/proc/{pid}/smaps").read_text()
    for start, end, rights, fields in re.findall(
            r"^(\w+)-(\w+) (\S+) .*\n((?:[A-Z].*\n)+)", text, re.M):
        span = int(start, 16), int(end, 16)
        has_pages = re.search(r"^(?:Rss|Swap): +[1-9]", fields, re.M)
        if has_pages and rights[0] == "r" and span[1] - span[0] <= MAPPING_MAX:
            yield span


def runs(pagemap, start, end):
    """(start, end) of pages side by side that are there."""
    entries = array.array("Q", os.pread(pagemap, (end - start) // PAGE * 8, start // PAGE * 8))
    first = None
    for at, entry in enumerate([*entries, 0]):
        if entry & IS_THERE:
            first = at if first is None else first
        elif first is not None:
            yield start + first * PAGE, start + at * PAGE
            first = None


def contents(pid):
    """Every byte, in pieces that overlap by a page."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as mem, \
            open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap:
        for mapping in mappings(pid):
            for start, end in runs(pagemap.fileno(), *mapping):
                for at in range(start, end, PIECE):
                    with contextlib.suppress(OSError):  # the kernel's own, or gone since
                        yield os.pread(mem.fileno(), min(PIECE + PAGE, end - at), at)


def find(pid, needles):
    """Names of the needles {name: bytes} that are there."""
    found = set()
    for piece in contents(pid):
        found |= {name for name, needle in needles.items()
                  if name not in found and needle in piece}
    return found


def numbers(key):
    """{name: bytes} of what is secret in a key, big-endian."""
    text = openssl("pkey", "-in", key, "-text", "-noout").decode()
    fields = re.findall(r"^(\w+):\n((?: +[0-9a-f:]+\n)+)", text, re.M)
    secret = {"privateExponent", "prime1", "prime2", "exponent1", "exponent2", "coefficient",
              "priv"}
    return {name: bytes.fromhex(re.sub(r"[^0-9a-f]", "", digits)).lstrip(b"\0")
            for name, digits in fields if name in secret}


def needles(key):
    """Everything by which a private key would be recognised: its numbers from either end, and what
    holds them in a file, as bytes and as text."""
    found = {}
    for name, number in numbers(key).items():
        found[f"{name}, big-endian"] = number
        found[f"{name}, little-endian"] = number[::-1]
    assert found
    found["PKCS #8"] = der = openssl("pkey", "-in", key, "-outform", "DER")
    # A third into a key's text it is secret, whatever its kind.
    text = base64.b64encode(der)
    found["its text"] = text[len(text) * 34 // 100:][:28]
    lines = pathlib.Path(key).read_text().splitlines()[1:-1]
    found["a line of its file"] = lines[len(lines) // 2].encode()
    return found
