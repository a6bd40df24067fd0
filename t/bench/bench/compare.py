"""A scenario of the table: the same load for each proxy, or for each in two variants."""
import dataclasses
import statistics

from . import measure, report
from .loads import Load
from .measure import Player
from .peers import Haproxy, Nginx
from .proxies import Floor, Rpd, Setup

RPDS = (Rpd,)
PEERS = (Nginx, Haproxy)


@dataclasses.dataclass(frozen=True)
class Scenario:
    about: str
    load: Load = Load()
    setup: Setup = Setup()
    measures: tuple = ("cpu", "calls", "instructions", "latency")
    rate: int = 0             # requests a second for the latency, below what any of them can
    floors: tuple = (Floor,)  # the first is the one to compare with
    requests: int = 300       # the least that calls are counted over; instructions: four times
    is_shared: bool = False   # both CPUs are for everything
    unit: str = "request"     # that results are given for one of,
    units: int = 1            # and how many a request has
    rpds: tuple = RPDS
    goals: tuple = ()         # CPU of each of the rpds, over the better peer's, at most
    # Compared with another setup or load (in place of floors), and what makes the difference.
    base: tuple = ()
    variant: str = ""

    def players(self, words):
        """(those to compare with by kind, those measured)"""
        kinds = (*([] if self.base else self.floors), *self.rpds, *PEERS)
        kinds = [kind for kind in kinds if kind.word in words]
        based = {kind: Player(kind, *self.base) for kind in kinds} if self.base else {}
        return based, [Player(kind, self.setup, self.load, self.variant, self.units)
                       for kind in kinds]

    def run(self, out, options):
        """Gives the number of errors."""
        wanted = [m for m in self.measures if m in options.measures]
        based, measured = self.players(options.proxies)
        players = [p for pair in zip(based.values(), measured) for p in pair] or measured
        with measure.stage(options, self.is_shared) as bench:
            with bench.running(players):
                if "cpu" in wanted:
                    measure.cpu(bench, players)
                if "latency" in wanted and self.rate:
                    measure.latency(bench, players, self.rate)
                if "calls" in wanted:
                    for player in players:
                        measure.calls(bench, player, self.requests)
            if "instructions" in wanted:
                for player in players:
                    measure.instructions(bench, player, 4 * self.requests)
        self.show(out, players, based, measured)
        return sum(player.errors for player in players)

    def show(self, out, players, based, measured):
        floor = measured[0] if issubclass(measured[0].kind, Floor) else None
        report.players_table(out, players, floor, self.unit)
        if self.rate and measured[0].latency:
            out.line(f"- latency: at {self.rate:,} requests a second, from when each was due")
        for player in measured if based else ():
            report.growth_line(out, player, based[player.kind])
        peers = [player for player in measured if player.kind in PEERS]
        goals = dict(zip(self.rpds, self.goals))
        for player in measured:
            if player.kind in self.rpds and len(peers) == len(PEERS):
                report.peers_line(out, player, peers, goals.get(player.kind))
        report.calls_lines(out, players)
        waited = [share for player in players for share in player.waited]
        if waited and not self.is_shared:
            out.line(f"- of the proxies' time on their CPU others took "
                     f"{statistics.median(waited) * 100:.1f} % (worst {max(waited) * 100:.0f} %)")
