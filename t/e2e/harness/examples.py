"""Configurations of etc/examples, run as they stand: only their addresses and files become those of
the test. Each address of a server has an origin of its own, named by it."""

import json
import pathlib
import re
import shutil
import subprocess
import tempfile

from .daemon import free_port, unindent
from .origin import answer, keeps_alive
from .util import REPO, patience, wait_until

EXAMPLES = pathlib.Path(REPO) / "etc" / "examples"
SERVER = re.compile(r"\b10\.0\.\d+\.\d+:\d+\b")


def text_of(name):
    return (EXAMPLES / name).read_text()


def healthy(conn):
    """Says what it was asked, as every origin, and that it is well."""
    while True:
        req = conn.request()
        if req.target == "/healthz":
            conn.reply(b"ok")
        elif not answer(conn, req):
            return
        if not keeps_alive(req):
            return


class Ground:
    """What an example stands on: `files` takes the place of /etc/rpd, and whoever connects may say
    by X-Forwarded-For whom it plays."""

    def __init__(self, origin, files, handler=healthy):
        self.origin, self.files, self.handler = origin, files, handler
        self.origins = {}

    def server(self, address):
        if address not in self.origins:
            self.origins[address] = self.origin(self.handler, name=address)
        return self.origins[address]

    def moved(self, text):
        """With the servers' and files' places."""
        text = SERVER.sub(lambda m: self.server(m[0]).addr, text)
        return text.replace("/etc/rpd/", f"{self.files}/")

    def configuration(self, name, trusted=True):
        def bind(match):
            more = "\ntrusted_proxies = 127.0.0.1" if trusted else ""
            return f"bind = @p{match[1]}@{more}"
        text = re.sub(r"^bind = :(\d+)$", bind, text_of(name), flags=re.M)
        assert not re.search(r"^bind = :", text, re.M)
        return self.moved(unindent(text))

    def wait_healthy(self, d):
        """Every server that is checked was found well."""
        def is_well(stats):
            servers = [s for b in stats["backends"].values() for s in b["servers"].values()]
            return all(s["state"] == "up" or s["checks_passed"] + s["checks_failed"] == 0
                       for s in servers)
        d.wait_stats(is_well, timeout=20)


def served_by(res):
    """(address of the server, target it was asked for); None: nobody was asked."""
    try:
        body = json.loads(res.body)
        return body["origin"], body["target"]
    except (ValueError, TypeError, KeyError):
        return None


def fields_of(res):
    return {name.lower(): value for name, value in json.loads(res.body)["headers"]}


class Peer:
    """nginx or HAProxy with the other half of a pair of examples, for comparison."""

    def __init__(self, ground, name, command, changes):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="rpd-peer-", dir="/tmp"))
        self.ports = {}
        text = ground.moved(text_of(name))
        for pattern, replacement in changes:
            text = re.sub(pattern, replacement, text, flags=re.M)
        text = re.sub(r"@p(\d+)@", lambda m: f"127.0.0.1:{self.port(m[1])}", text)
        path = self.dir / pathlib.Path(name).name
        path.write_text(text.replace("@dir@", str(self.dir)))
        self.log = open(self.dir / "log", "wb")
        self.proc = subprocess.Popen([*command, str(path)], stdout=self.log, stderr=self.log,
                                     cwd=self.dir)

    def port(self, name):
        return self.ports.setdefault(f"p{name}", free_port())

    def addr(self, listener):
        return "127.0.0.1", self.ports[listener]

    def wait_ready(self, is_ready):
        def look():
            assert self.proc.poll() is None, (self.dir / "log").read_text()
            try:
                return is_ready()
            except OSError:
                return False
        wait_until(look, 10, "the peer to serve")

    def close(self):
        self.proc.terminate()
        self.proc.wait(patience(10))
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)
