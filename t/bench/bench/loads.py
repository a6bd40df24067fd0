"""Load: what the clients ask for, and the program that asks."""
import dataclasses
import json
import subprocess

from . import system


@dataclasses.dataclass(frozen=True)
class Load:
    """Requests of one kind; see t/bench/load.c."""
    path: str = "/1024"
    expect: int = 1024      # bytes of a right answer's body
    connections: int = 64
    method: str = "GET"
    body: int = 0
    padding: int = 0
    hosts: int = 1
    is_close: bool = False  # a connection for each request
    rate: float = 0         # requests a second; 0: each connection as fast as it is answered

    def command(self, build, port, *, seconds=0.0, count=0, rate=0.0, idle=0):
        numbers = {"-c": self.connections, "-e": self.expect, "-h": self.hosts, "-b": self.body,
                   "-p": self.padding, "-d": seconds, "-n": count, "-r": rate or self.rate,
                   "-i": idle}
        words = [str(w) for flag, value in numbers.items() if value or flag == "-e"
                 for w in (flag, value)]
        return [build / "bench/load", *words, "-m", self.method, *(["-C"] if self.is_close else []),
                f"127.0.0.1:{port}", self.path]


def start(command, cpus):
    """Its JSON, a line, comes when it has done; then it waits for the end of its input if it holds
    idle connections."""
    return system.spawn(command, cpus, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def result(process):
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("load has failed")
    return json.loads(line)


def finish(process):
    process.stdin.close()
    process.stdout.close()
    system.end(process)


def run(command, cpus):
    process = start(command, cpus)
    try:
        return result(process)
    finally:
        finish(process)
