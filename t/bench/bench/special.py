"""Scenarios that are not a comparison of CPU time: each a function that reports for itself."""
import contextlib
import dataclasses
import json
import statistics
import subprocess
import time
import typing

from . import loads, measure, system
from .loads import Load
from .measure import Player
from .peers import Haproxy, Nginx
from .proxies import Floor, Rpd, Setup
from .report import number

KINDS = (Floor, Rpd, Nginx, Haproxy)
MIB10 = 10 << 20
GROWTH_MAX = 1.10
REST_S = 2.5  # after which what is kept for connections just used is given back


@dataclasses.dataclass(frozen=True)
class Special:
    about: str
    measures: tuple
    function: typing.Callable

    def run(self, out, options):
        """Gives the number of errors."""
        return self.function(out, options)


@contextlib.contextmanager
def idling(bench, player, idle):
    """Connections that have asked once, when some others have done what they had to ask."""
    process = bench.begin(player.load, player.proxy, count=5000, idle=idle)
    try:
        player.errors += loads.result(process)["errors"]
        yield
    finally:
        loads.finish(process)


def players_of(options, kinds, *how):
    return [Player(kind, *how) for kind in kinds if kind.word in options.proxies]


def idle(out, options, kinds=KINDS, setup=Setup(), load=Load(), most=None):
    """With `most`: an rpd that needs more bytes for a connection counts as an error."""
    count = min(10000, system.raise_files() // 2 - 600)
    players = players_of(options, kinds, setup, load)
    rows, large = [], []
    with measure.stage(options) as bench, bench.running(players):
        for player in players:
            pss = []
            for n in (1, count + 1):
                with idling(bench, player, n):
                    time.sleep(REST_S)
                    pss.append(system.pss_bytes(player.proxy.pids))
            each = (pss[1] - pss[0]) / count
            rows.append([player.label, number(each, 0), number(pss[0] / 1024, 0),
                         number(pss[1] / 1024, 0)])
            if most and each > most and issubclass(player.kind, Rpd):
                large.append(player.label)
    out.table(["PSS", f"bytes per connection of {count:,}", "KiB without", "KiB with"], rows)
    if large:
        out.line(f"**more than {most:,}: {', '.join(large)}**")
    return sum(player.errors for player in players) + len(large)


def beside_bulk(bench, player, bulk, rate):
    """(p99 without, p99 with, bytes a second of the download)"""
    how = {"rate": rate, "seconds": 2 * bench.seconds}

    def small():
        process = bench.begin(player.load, player.proxy, **how)
        system.prefer(process, 2)
        return bench.finish(player, process)

    alone = small()
    process = bench.begin(bulk, player.proxy, seconds=how["seconds"] + 0.6)
    try:
        time.sleep(0.3)
        beside = small()
        download = loads.result(process)
    finally:
        loads.finish(process)
    player.errors += download["errors"]
    return alone["p99_us"], beside["p99_us"], download["bytes"] / download["seconds"]


def fairness(out, options):
    players = players_of(options, KINDS, Setup(), Load(connections=63))
    bulk = Load(f"/{MIB10}", MIB10, 1)
    found = {player: [] for player in players}
    with measure.stage(options) as bench, bench.running(players):
        # Clients and origin share a CPU: who asks for little must not wait there for the download,
        # or nothing is seen of the proxies.
        if not system.prefer(bench.origin.process, 1):
            out.line("- no real-time priority to be had: it is the scheduler that is measured\n")
        for _ in range((bench.rounds + 1) // 2):
            for player in players:
                found[player].append(beside_bulk(bench, player, bulk, 4000))
    rows = []
    for player, samples in found.items():
        alone, beside, speed = (statistics.median(column) for column in zip(*samples))
        times = statistics.median(s[1] / max(s[0], 1) for s in samples)
        rows.append([player.label, number(alone, 0), number(beside, 0), number(times),
                     number(speed / 1e6, 0)])
    out.table(["at 4,000 requests/s", "p99 us alone", "p99 us beside", "ratio", "download MB/s"],
              rows)
    return sum(player.errors for player in players)


def accept_balance(out, options):
    player = Player(Rpd, Setup(workers=2), Load(connections=1))
    rows = []
    with measure.stage(options, is_shared=True) as bench:
        for run in range((options.rounds + 2) // 3):
            with bench.running([player]), idling(bench, player, 999):
                command = [options.build / "rpctl", "-r", player.proxy.dir / "run", "-o", "json",
                           "workers"]
                text = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
            counts = [worker["connections"] for worker in json.loads(text)["workers"]]
            shares = [f"{100 * n / max(sum(counts), 1):.1f} %" for n in counts]
            rows.append([str(run + 1), *shares, str(sum(counts))])
    out.table(["run", "worker 0", "worker 1", "connections"], rows)
    return player.errors


def scale(out, options):
    """A request that costs more than GROWTH_MAX times as much counts as an error."""
    one = Player(Rpd, Setup(routes=1), Load(connections=1, hosts=1))
    many = Player(Rpd, Setup(routes=5000, servers=2000), Load(connections=1, hosts=5000))
    with measure.stage(options) as bench:
        for player in (one, many):
            # Each server has its kept connection before the short run ends.
            measure.instructions(bench, player, 2500)
    growth = many.instructions / one.instructions
    out.table(["rpd", "instructions", "ratio"],
              [["1 route, 1 server", number(one.instructions, 0), "1.000"],
               ["5,000 routes, 2,000 servers", number(many.instructions, 0), f"{growth:.3f}"]])
    if growth > GROWTH_MAX:
        out.line(f"**more than {GROWTH_MAX}**")
    return one.errors + many.errors + (growth > GROWTH_MAX)
