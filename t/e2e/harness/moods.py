"""Origins that answer when and how a test wants it, and backends of them."""

import json
import threading

from .client import request_bytes
from .daemon import plain
from .origin import answer
from .util import patience


class Holder:
    """An origin handler that answers only when told to."""

    def __init__(self):
        self.gate = threading.Semaphore(0)

    def __call__(self, conn):
        while True:
            req = conn.request()
            if not self.gate.acquire(timeout=patience(20)):
                return
            conn.reply(f"{conn.origin.name} {req.target}")


class Moody:
    """An origin handler whose mood changes: ok, reset, close, garbage, hang, or a status."""

    def __init__(self, mood="ok"):
        self.mood = mood

    def __call__(self, conn):
        while True:
            req = conn.request()
            mood = self.mood
            if mood == "reset":
                return conn.reset()
            if mood == "close":
                return None
            if mood == "hang":
                return conn.wait_end()
            if mood == "garbage":
                conn.send("nonsense\r\n\r\n")
                return None
            if isinstance(mood, int):
                conn.reply(b"", f"{mood} Moody")
            elif not answer(conn, req):
                return None


def crowd(d, n):
    """So many clients of pool, whose targets are their numbers: all but the first in the queue."""
    clients = []
    for i in range(n):
        clients.append(d.client())
        clients[-1].send(request_bytes(target=f"/{i}"))
        d.wait_stats(lambda s: s["backends"]["pool"]["queued"] == i
                     and s["backends"]["pool"]["active"] == i + 1)
    return clients


def pool(*servers, **kw):
    """plain(), with options for each server: pairs of origin and options."""
    lines = "\n".join(f"server = {o.addr} name={o.name} {options}" for o, options in servers)
    return plain(backend=lines + "\n" + kw.pop("backend", ""), **kw)


def origin_of(response):
    """The name of the usual origin that answered."""
    return json.loads(response.body)["origin"]


def servers_of(d, n):
    with d.client() as client:
        return [origin_of(client.ask()) for _ in range(n)]


def servers(d):
    """The servers of the usual backend, by name, as statistics show them."""
    return d.stats()["backends"]["pool"]["servers"]
