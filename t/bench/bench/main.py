"""Options from the environment, a heading, and the scenarios one after another."""
import datetime
import os
import pathlib
import sys
import types

from . import system
from .peers import Haproxy, Nginx
from .proxies import Rpd
from .report import Report
from .scenarios import MEASURES, SCENARIOS, run


def words(name, known):
    """A variable's words, each one of the known; none: all."""
    wanted = os.environ.get(name, "").split() or list(known)
    for word in wanted:
        if word not in known:
            sys.exit(f"bench: {name}: no '{word}': {' '.join(known)}")
    return wanted


def heading(out, build, options):
    out.line(f"# rpd beside nginx and HAProxy, {datetime.date.today()}\n")
    out.line(f"{system.machine()}; {Rpd.version(build)}, {Nginx.version(build)}, "
             f"HAProxy {Haproxy.version(build)}; {options.rounds} rounds of {options.seconds} s.\n")


def main(build):
    options = types.SimpleNamespace(
        build=pathlib.Path(build).resolve(), measures=words("MEASURE", MEASURES),
        rounds=int(os.environ.get("ROUNDS", "9")), seconds=float(os.environ.get("SECONDS", "1")))
    wanted = words("SCENARIO", SCENARIOS)
    system.require("valgrind", "strace", Nginx.program, Haproxy.program)
    system.raise_files()
    out = Report(options.build / "bench.md")
    heading(out, options.build, options)
    errors = 0
    for name in wanted:
        scenario = SCENARIOS[name]
        out.line(f"\n## {name}: {scenario.about}\n")
        errors += run(scenario, out, options)
    if errors:
        out.line(f"\n**{errors} errors**")
    return 1 if errors else 0
