"""The table of scenarios, and how those that compare proxies are run."""
import dataclasses

from . import measure, report
from .loads import Load
from .measure import Bench, Player
from .peers import Haproxy, Nginx
from .proxies import Floor, Origin, Rpd, Setup, Splice
from .system import OTHER_CPU, PROXY_CPU

MEASURES = ("cpu", "calls", "instructions", "latency")
MIB10 = 10 << 20
BOTH_FLOORS = (Splice, Floor)


@dataclasses.dataclass(frozen=True)
class Scenario:
    about: str
    load: Load
    setup: Setup = Setup()
    floors: tuple = (Floor,)     # the first is the one to compare with
    rate: int = 0                # of the latency's run, below what any of them can
    counts: tuple = (2000, 6000)  # requests of the two runs for calls and instructions
    measures: tuple = MEASURES

    def players(self):
        kinds = (*self.floors, Rpd, Nginx, Haproxy)
        return [Player(kind, self.setup, self.load, kind.name) for kind in kinds]


def run(scenario, out, options):
    """Measures and reports; gives the number of errors."""
    origin = Origin(options.build, {OTHER_CPU})
    bench = Bench(options.build, options.rounds, options.seconds, origin.port, {PROXY_CPU},
                  {OTHER_CPU})
    players = scenario.players()
    wanted = [m for m in scenario.measures if m in options.measures]
    try:
        for player in players:
            player.proxy = bench.start(player)
        if "cpu" in wanted:
            measure.cpu(bench, players)
        if "latency" in wanted and scenario.rate:
            measure.latency(bench, players, scenario.rate)
        if "calls" in wanted:
            for player in players:
                measure.calls(bench, player, scenario.counts)
    finally:
        for player in players:
            if player.proxy:
                player.proxy.stop()
    try:
        if "instructions" in wanted:
            for player in players:
                measure.instructions(bench, player, scenario.counts)
    finally:
        origin.stop()
    show(scenario, players, out)
    return sum(player.errors for player in players)


def show(scenario, players, out):
    by_kind = {player.kind: player for player in players}
    floor = by_kind.get(scenario.floors[0]) if scenario.floors else None
    report.players_table(out, players, floor, scenario.rate)
    report.against_peers(out, by_kind[Rpd], [by_kind[Nginx], by_kind[Haproxy]])
    report.calls_lines(out, players)


SCENARIOS = {
    "h1_0": Scenario("an empty body, 64 kept connections", Load("/0", 0)),
    "h1_1k": Scenario("1 KiB, 64 kept connections", Load(), rate=8000),
    "h1_100k": Scenario("100 KiB, 64 kept connections", Load("/102400", 102400), rate=2000,
                        counts=(1000, 3000)),
    "h1_10m": Scenario("10 MiB, 8 kept connections", Load(f"/{MIB10}", MIB10, 8),
                       floors=BOTH_FLOORS, counts=(16, 48)),
    "close_1k": Scenario("1 KiB, a client connection for each request", Load(is_close=True),
                         rate=3000),
    "post_16k": Scenario("a request body of 16 KiB, 64 kept connections",
                         Load("/", 2, method="POST", body=16384)),
    "tcp_1k": Scenario("1 KiB there and back, tcp mode, 64 connections",
                       Load(padding=1024), Setup(is_tcp=True), rate=8000),
    "tcp_10m": Scenario("10 MiB, tcp mode, 8 connections", Load(f"/{MIB10}", MIB10, 8),
                        Setup(is_tcp=True), floors=BOTH_FLOORS, counts=(16, 48)),
}
