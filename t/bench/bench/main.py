"""Options from the environment, a heading, and the scenarios one after another."""
import datetime
import os
import pathlib
import signal
import sys
import types

from . import system
from .peers import Haproxy, Nginx
from .proxies import Floor, Rpd
from .report import Report
from .scenarios import SCENARIOS

PROXIES = {kind.word: kind for kind in (Floor, Rpd, Nginx, Haproxy)}
MEASURES = tuple(dict.fromkeys(m for s in SCENARIOS.values() for m in s.measures))


def words(name, known):
    """A variable's words, each one of the known; none: all."""
    wanted = os.environ.get(name, "").split() or list(known)
    for word in wanted:
        if word not in known:
            sys.exit(f"bench: {name}: no '{word}': {' '.join(known)}")
    return wanted


def heading(out, options):
    out.line(f"# rpd beside nginx and HAProxy, {datetime.date.today()}\n")
    out.line(f"- {system.machine()}")
    for kind in (Rpd, Nginx, Haproxy):
        out.line(f"- {kind.version(options.build)}")
    out.line(f"- {options.rounds} rounds of {options.seconds:g} s; one worker each, on a CPU of its"
             " own but where a scenario says otherwise")


def main(build):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    options = types.SimpleNamespace(
        build=pathlib.Path(build).resolve(), measures=words("MEASURE", MEASURES),
        proxies=words("PROXY", PROXIES),
        rounds=int(os.environ.get("ROUNDS", "9")), seconds=float(os.environ.get("ROUND_S", "1")))
    wanted = words("SCENARIO", SCENARIOS)
    system.require("valgrind", "strace", "openssl", Nginx.program, Haproxy.program)
    system.raise_files()
    out = Report(options.build / "bench.md")
    heading(out, options)
    errors = 0
    for name in wanted:
        scenario = SCENARIOS[name]
        if not set(scenario.measures) & set(options.measures):
            continue
        out.line(f"\n## {name}: {scenario.about}\n")
        errors += scenario.run(out, options)
    if errors:
        out.line(f"\n**{errors} errors**")
    return 1 if errors else 0
