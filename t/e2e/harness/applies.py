"""Configurations that are tried and go back: what the tests of them share."""

import subprocess

from .daemon import unindent
from .util import RPCTL, patience


def other(d, text, name="new.ini"):
    """A further configuration, beside the one d was started with."""
    path = d.dir / name
    path.write_text("[global]\n" + d.preset() + d.globals_ + "\n" + d.fill(unindent(text)))
    return path


class Running:
    """An rpctl that has not returned yet."""

    def __init__(self, d, *args):
        self.proc = subprocess.Popen([RPCTL, "-r", d.run_dir, *map(str, args)], env=d.env,
                                     cwd=d.dir, text=True, stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE)

    def is_over(self):
        return self.proc.poll() is not None

    def end(self):
        out, err = self.proc.communicate(timeout=patience(30))
        return self.proc.returncode, out + err


def config_head(d):
    text = d.ctl("config", check=True).stdout
    return [line for line in text.splitlines() if line.startswith(";")]


def generations(d):
    return [w["generation"] for w in sorted(d.stats()["workers"], key=lambda w: w["slot"])
            if w["state"] == "running"]
