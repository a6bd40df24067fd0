"""What is measured of a proxy under a load: CPU time, latency, system calls, instructions."""
import pathlib
import re
import signal
import statistics
import subprocess
import tempfile

from . import loads, system

WARM_S = 0.3


class Player:
    """A proxy that takes part in a scenario, and what was found of it."""

    def __init__(self, kind, setup, load, label):
        self.kind, self.setup, self.load, self.label = kind, setup, load, label
        self.proxy = None
        self.cpu_us = []         # a request, of each round
        self.rate = []           # requests a second
        self.ticks = [0, 0]      # user, system
        self.latency = None      # {"p50_us": ...}, medians
        self.calls = {}          # name: a request
        self.instructions = None
        self.errors = 0

    def user_share(self):
        return self.ticks[0] / max(sum(self.ticks), 1)


class Bench:
    """Where things are, and how long they take."""

    def __init__(self, build, rounds, seconds, origin, cpus, load_cpus):
        self.build, self.rounds, self.seconds = build, rounds, seconds
        self.origin, self.cpus, self.load_cpus = origin, cpus, load_cpus

    def start(self, player, wrapper=()):
        return player.kind(self.build, player.setup, self.origin, self.cpus, wrapper)

    def load(self, player, proxy, **how):
        """One run of the load; what went wrong is the player's."""
        command = player.load.command(self.build, proxy.port, **how)
        result = loads.run(command, self.load_cpus)
        player.errors += result["errors"]
        return result


def cpu(bench, players):
    """Rounds in which each has its turn: all drift with the machine alike."""
    for player in players:
        bench.load(player, player.proxy, seconds=WARM_S)
    for _ in range(bench.rounds):
        for player in players:
            pids = player.proxy.pids
            ns, ticks = system.cpu_ns(pids), system.cpu_ticks(pids)
            result = bench.load(player, player.proxy, seconds=bench.seconds)
            done = max(result["requests"], 1)
            player.cpu_us.append((system.cpu_ns(pids) - ns) / 1000 / done)
            player.rate.append(done / max(result["seconds"], 1e-9))
            for i, after in enumerate(system.cpu_ticks(pids)):
                player.ticks[i] += after - ticks[i]


def latency(bench, players, rate):
    """At a fixed rate, from when a request was due."""
    found = {player.label: [] for player in players}
    for _ in range((bench.rounds + 2) // 3):
        for player in players:
            found[player.label].append(bench.load(player, player.proxy, rate=rate,
                                                  seconds=2 * bench.seconds))
    for player in players:
        player.latency = {key: statistics.median(r[key] for r in found[player.label])
                          for key in ("p50_us", "p99_us", "p999_us")}


# Both tools are run twice, for a short and a long run of the load: what start, connections and end
# cost goes out with the difference.

def trace(bench, player, count):
    """{call: how often} of a running proxy during `count` requests."""
    with tempfile.NamedTemporaryFile() as out:
        pids = [word for pid in player.proxy.pids for word in ("-p", str(pid))]
        strace = system.spawn(["strace", "-c", "-f", "-o", out.name, *pids], bench.load_cpus,
                              stderr=subprocess.PIPE, text=True)
        for _ in player.proxy.pids:
            strace.stderr.readline()  # "Process N attached"
        bench.load(player, player.proxy, count=count)
        system.end(strace, signal.SIGINT)
        strace.stderr.close()
        table = pathlib.Path(out.name).read_text(encoding="utf-8")
    rows = [line.split() for line in table.splitlines()]
    return {r[-1]: int(r[3]) for r in rows
            if len(r) >= 5 and r[3].isdigit() and r[-1] != "total"}


def calls(bench, player, counts):
    short, long = (trace(bench, player, count) for count in counts)
    found = {name: (long.get(name, 0) - short.get(name, 0)) / (counts[1] - counts[0])
             for name in long}
    player.calls = {name: n for name, n in sorted(found.items(), key=lambda i: -i[1]) if n > 0.004}


def callgrind(bench, player, count):
    with tempfile.TemporaryDirectory(prefix="rpd-bench-") as out:
        proxy = bench.start(player, ["valgrind", "--tool=callgrind",
                                     f"--callgrind-out-file={out}/%p"])
        try:
            bench.load(player, proxy, count=count)
        finally:
            proxy.stop()
        text = "".join(f.read_text(encoding="utf-8") for f in pathlib.Path(out).iterdir())
    return sum(map(int, re.findall(r"^totals: (\d+)", text, re.M)))


def instructions(bench, player, counts):
    short, long = (callgrind(bench, player, count) for count in counts)
    player.instructions = (long - short) / (counts[1] - counts[0])
