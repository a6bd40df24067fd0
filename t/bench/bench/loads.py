"""Load: what the clients ask for, and the program that asks."""
import dataclasses
import json
import subprocess
import typing

from . import system


@dataclasses.dataclass(frozen=True)
class Load:
    """Requests of one kind; see t/bench/load.c."""
    path: str = "/1024"
    expect: int = 1024      # bytes of a right answer's body
    connections: int = 64
    method: str = "GET"
    body: int = 0
    padding: int = 0        # bytes of a request's head, at least
    hosts: int = 0          # names used in turn; 0: another one
    is_close: bool = False  # a connection for each request
    tls: str = ""           # "full": handshakes, or "resumed" ones
    rate: float = 0         # requests a second; 0: each connection as fast as it is answered

    TLS: typing.ClassVar = {"": [], "full": ["-t"], "resumed": ["-s"]}

    def command(self, build, port, *, seconds=0.0, count=0, rate=0.0, idle=0):
        numbers = {"-c": self.connections, "-h": self.hosts, "-b": self.body, "-p": self.padding,
                   "-d": seconds, "-n": count, "-r": rate or self.rate, "-i": idle}
        words = [word for option, n in numbers.items() if n for word in (option, n)]
        return [build / "bench/load", "-m", self.method, "-e", self.expect, *words,
                *(["-C"] if self.is_close else []), *self.TLS[self.tls], f"127.0.0.1:{port}",
                self.path]


def start(command, cpus):
    return system.spawn(command, cpus, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def result(process):
    """What it prints when it has done. Idle connections are held until finish()."""
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("load has failed")
    return json.loads(line)


def finish(process):
    process.stdin.close()
    process.stdout.close()
    system.end(process)
