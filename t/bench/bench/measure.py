"""What is measured of a proxy under a load: CPU time, latency, system calls, instructions."""
import contextlib
import pathlib
import re
import signal
import statistics
import subprocess
import tempfile

from . import loads, system
from .proxies import Floor, Origin, Setup

WARM_S = 0.3


class Player:
    """A proxy that takes part in a scenario, and what was found of it."""

    def __init__(self, kind, setup, load, variant="", units=1):
        self.kind, self.setup, self.load = kind, setup, load
        self.units = units       # a request, that all is given for one of
        self.label = f"{kind.name}, {variant}" if variant else kind.name
        self.proxy = None
        self.cpu_us = []         # a unit, of each round
        self.rate = []           # units a second, of each round
        self.waited = []         # share of its time that it waited for its CPU, of each round
        self.ticks = [0, 0]      # user, system
        self.latency = {}        # p50_us, ...: medians of the rounds
        self.calls = {}          # name: a unit
        self.instructions = None
        self.errors = 0

    def user_share(self):
        return self.ticks[0] / max(sum(self.ticks), 1)


class Bench:
    """An origin, and the CPUs and lengths of what is run in front of it."""

    def __init__(self, options, is_shared):
        """Unless CPUs are shared the proxies have one, and clients and origin another."""
        self.build, self.rounds, self.seconds = options.build, options.rounds, options.seconds
        self.cpus, self.other_cpus = system.cpus()
        if is_shared:
            self.cpus = self.other_cpus = self.cpus | self.other_cpus
        self.origin = Origin(self.build, self.other_cpus)
        self.tls_origin = None

    def stop(self):
        if self.tls_origin:
            self.tls_origin.stop()
        self.origin.stop()

    def origin_for(self, setup):
        """Its port; TLS that a proxy passes on, or begins, ends at a floor before it."""
        if setup.tls not in ("passes", "begins"):
            return self.origin.port
        if not self.tls_origin:
            self.tls_origin = Floor(self.build, Setup(tls="ends"), self.origin.port,
                                    self.other_cpus)
        return self.tls_origin.port

    def start(self, player, wrapper=()):
        return player.kind(self.build, player.setup, self.origin_for(player.setup), self.cpus,
                           wrapper)

    @contextlib.contextmanager
    def running(self, players):
        """All of them at once."""
        try:
            for player in players:
                player.proxy = self.start(player)
            yield
        finally:
            for player in players:
                if player.proxy:
                    player.proxy.stop()

    def begin(self, load, proxy, **how):
        return loads.start(load.command(self.build, proxy.port, **how), self.other_cpus)

    def load(self, player, proxy, **how):
        """One run of its load."""
        return self.finish(player, self.begin(player.load, proxy, **how))

    @staticmethod
    def finish(player, process):
        """Its load's result; what went wrong is the player's."""
        try:
            result = loads.result(process)
        finally:
            loads.finish(process)
        player.errors += result["errors"]
        return result


@contextlib.contextmanager
def stage(options, is_shared=False):
    bench = Bench(options, is_shared)
    try:
        yield bench
    finally:
        bench.stop()


def cpu(bench, players):
    """Rounds in which each has its turn: all drift with the machine alike."""
    for player in players:
        bench.load(player, player.proxy, seconds=WARM_S)
    for _ in range(bench.rounds):
        for player in players:
            pids = player.proxy.pids
            ran, waited = system.cpu_ns(pids)
            ticks = system.cpu_ticks(pids)
            result = bench.load(player, player.proxy, seconds=bench.seconds)
            ran, waited = (a - b for a, b in zip(system.cpu_ns(pids), (ran, waited)))
            done = max(result["requests"], 1) * player.units
            player.cpu_us.append(ran / 1000 / done)
            player.waited.append(waited / max(ran + waited, 1))
            player.rate.append(done / max(result["seconds"], 1e-9))
            for i, after in enumerate(system.cpu_ticks(pids)):
                player.ticks[i] += after - ticks[i]


def latency(bench, players, rate):
    """At a fixed rate, from when a request was due."""
    found = {player: [] for player in players}
    for _ in range((bench.rounds + 2) // 3):
        for player in players:
            found[player].append(bench.load(player, player.proxy, rate=rate,
                                            seconds=2 * bench.seconds))
    for player in players:
        player.latency = {key: statistics.median(r[key] for r in found[player])
                          for key in ("p50_us", "p99_us", "p999_us")}


# Both tools are used twice, with a short and a long run of the load: what start, connections and
# end cost goes out with the difference.

def trace(bench, player, count):
    """{call: how often} of a running proxy during `count` requests."""
    with tempfile.NamedTemporaryFile() as out:
        pids = list(filter(system.is_traceable, player.proxy.pids))
        words = [word for pid in pids for word in ("-p", str(pid))]
        strace = system.spawn(["strace", "-c", "-f", "-o", out.name, *words], bench.other_cpus,
                              stderr=subprocess.PIPE, text=True)
        for _ in pids:
            line = strace.stderr.readline()
            if "attached" not in line:
                raise RuntimeError(line.strip())
        bench.load(player, player.proxy, count=count)
        system.end(strace, signal.SIGINT)
        strace.stderr.close()
        table = pathlib.Path(out.name).read_text(encoding="utf-8")
    rows = [line.split() for line in table.splitlines()]
    return {r[-1]: int(r[3]) for r in rows
            if len(r) >= 5 and r[3].isdigit() and r[-1] != "total"}


def calls(bench, player, requests):
    short, long = (trace(bench, player, n) for n in (requests, 4 * requests))
    units = 3 * requests * player.units
    each = {name: (n - short.get(name, 0)) / units for name, n in long.items()}
    player.calls = dict(sorted(((name, n) for name, n in each.items() if n >= 0.005),
                               key=lambda item: -item[1]))


def callgrind(bench, player, count):
    """Instructions in user space, of the proxy's whole life."""
    with tempfile.TemporaryDirectory(prefix="rpd-bench-") as out:
        proxy = bench.start(player, ["valgrind", "--tool=callgrind",
                                     f"--callgrind-out-file={out}/%p"])
        try:
            bench.load(player, proxy, count=count)
        finally:
            proxy.stop()
        text = "".join(f.read_text(encoding="utf-8") for f in pathlib.Path(out).iterdir())
    return sum(map(int, re.findall(r"^totals: (\d+)", text, re.M)))


def instructions(bench, player, requests):
    if not player.kind.is_countable(player.setup):
        return
    short, long = (callgrind(bench, player, n) for n in (requests, 4 * requests))
    player.instructions = (long - short) / (3 * requests * player.units)
