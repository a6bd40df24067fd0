"""Markdown, on the terminal and in a file."""
import statistics


class Report:
    def __init__(self, path):
        self.file = path.open("w", encoding="utf-8")

    def line(self, text=""):
        print(text, flush=True)
        self.file.write(text + "\n")
        self.file.flush()

    def table(self, header, rows):
        """The first column holds names, the others numbers."""
        widths = [max(map(len, column)) for column in zip(header, *rows)]
        cells = [[c.ljust(w) if i == 0 else c.rjust(w)
                  for i, (c, w) in enumerate(zip(row, widths))] for row in [header, *rows]]
        rule = ["-" * w if i == 0 else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
        for row in [cells[0], rule, *cells[1:]]:
            self.line("| " + " | ".join(row) + " |")
        self.line()


def number(value, digits=None):
    """Three digits or more, thousands apart."""
    if digits is None:
        digits = 2 if abs(value) < 10 else 1 if abs(value) < 1000 else 0
    return f"{value:,.{digits}f}"


def ratio(one, other):
    """The median of the rounds' ratios: in a round both met the same machine."""
    return statistics.median(a / b for a, b in zip(one, other))


def lower_quartile(values):
    if len(values) < 2:
        return values[0]
    return statistics.quantiles(values, n=4, method="inclusive")[0]


def cpu_columns(player, floor, unit):
    cpu = player.cpu_us
    if not cpu:
        return {}
    median = statistics.median(cpu)
    values = {"CPU us": median, "lower quartile": lower_quartile(cpu), "min": min(cpu),
              "max": max(cpu), "user": median * player.user_share(),
              "system": median * (1 - player.user_share())}
    columns = {name: number(value) for name, value in values.items()}
    if floor:
        columns["x floor"] = number(ratio(cpu, floor.cpu_us), 2)
    rate = "requests/s" if unit == "request" else f"{unit}/s"
    columns[rate] = number(statistics.median(player.rate))
    return columns


def other_columns(player):
    columns = {}
    if player.calls:
        columns["calls"] = number(sum(player.calls.values()), 2)
    if player.instructions is not None:
        columns["instructions"] = number(player.instructions, 0)
    for name, key in (("p50 us", "p50_us"), ("p99 us", "p99_us"), ("p99.9 us", "p999_us")):
        if player.latency:
            columns[name] = number(player.latency[key], 0)
    if player.errors:
        columns["ERRORS"] = str(player.errors)
    return columns


def players_table(out, players, floor, unit):
    found = {p.label: {**cpu_columns(p, floor, unit), **other_columns(p)} for p in players}
    header = list(dict.fromkeys(name for columns in found.values() for name in columns))
    out.table([f"per {unit}", *header],
              [[label, *(columns.get(name, "") for name in header)]
               for label, columns in found.items()])


def calls_lines(out, players):
    for p in players:
        if p.calls:
            kinds = ", ".join(f"{name} {n:.2f}" for name, n in p.calls.items())
            out.line(f"- calls of {p.label}: {kinds}")


# What the lower value of is the better one, beside CPU time.
OTHERS = {
    "calls": lambda p: sum(p.calls.values()),
    "instructions": lambda p: p.instructions,
    "p99": lambda p: p.latency.get("p99_us"),
}


def growth_line(out, player, base):
    """The player over the same proxy without what makes the difference."""
    found = []
    if player.cpu_us:
        growth = ratio(player.cpu_us, base.cpu_us)
        found.append(f"CPU {growth:.2f} (requests per CPU second {1 / growth:.2f})")
    found += [f"{what} {value(player) / value(base):.3f}" for what, value in OTHERS.items()
              if value(player) and value(base)]
    if found:
        out.line(f"- {player.label}, over {base.label}: {', '.join(found)}")


def judged(value, goal):
    return f"goal {goal:.2f}: " + ("met" if value <= goal else "**missed**")


def peers_line(out, rpd, peers, goal):
    """rpd over whichever peer does best, of each thing measured. The goal is for CPU time."""
    found = []
    if rpd.cpu_us:
        best = min(peers, key=lambda p: statistics.median(p.cpu_us))
        value = ratio(rpd.cpu_us, best.cpu_us)
        verdict = "; " + judged(value, goal) if goal else ""
        found.append(f"CPU {value:.2f} ({best.kind.name}{verdict})")
    for what, value in OTHERS.items():
        if value(rpd) and all(map(value, peers)):
            best = min(peers, key=value)
            found.append(f"{what} {value(rpd) / value(best):.2f} ({best.kind.name})")
    if found:
        out.line(f"- {rpd.kind.name} over the better peer: {', '.join(found)}")
