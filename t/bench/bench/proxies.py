"""A proxy as the benchmark runs it; the floor and rpd, and the origin behind them all."""
import dataclasses
import os
import pathlib
import subprocess
import tempfile

from . import system
from .certificates import NAME, certificate

READY_S = 120  # under valgrind, on a busy machine
KEEPALIVE = 128


@dataclasses.dataclass(frozen=True)
class Setup:
    """What a proxy is configured for."""
    is_tcp: bool = False
    routes: int = 0          # by host, each with a backend of its own; 0: a default backend,
    servers: int = 1         # of so many servers (rpd only), which then serves all routes
    workers: int = 1
    has_log: bool = False
    is_upload: bool = False  # of bodies too large to be held
    tls: str = ""            # "ends" at the proxy, "passes" it by the name in the ClientHello, or
                             # "begins" there, to the origin
    key: str = "ecdsa"       # of certificates.KEYS

    def hosts(self):
        """Of the routes, as load names them."""
        return [f"h{i:04}.bench" for i in range(self.routes)]

    def certificate(self):
        return certificate(self.key)


class Proxy:
    """A running proxy, in a directory of its own. `wrapper` stands before its command."""

    name = ""
    word = ""  # by which it is chosen

    def __init__(self, build, setup, origin, cpus, wrapper=()):
        self.build, self.setup, self.origin = build, setup, origin
        self.port = system.free_port()
        # In memory, as /run is: what proxies write costs all of them the same.
        self.scratch = tempfile.TemporaryDirectory(prefix="rpd-bench-", dir=system.memory_folder())
        self.dir = pathlib.Path(self.scratch.name)
        self.dir.chmod(0o755)
        with (self.dir / "output").open("w", encoding="utf-8") as output:
            self.process = system.spawn([*wrapper, *self.command()], cpus, stdout=output,
                                        stderr=output)
        try:
            system.wait_until(self.is_ready, self.name, READY_S)
        except RuntimeError:
            print((self.dir / "output").read_text(encoding="utf-8", errors="replace"))
            self.stop()
            raise
        self.pids = system.family(self.process.pid)

    @classmethod
    def version(cls, build):
        """As the program says it."""
        raise NotImplementedError

    @classmethod
    def is_countable(cls, _setup):
        """Its instructions are, by callgrind."""
        return True

    def command(self):
        """Writes what configuration it needs and gives the command."""
        raise NotImplementedError

    def is_ready(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} does not start")
        host = (self.setup.hosts() or ["bench"])[0]
        return system.fetch(self.port, host, is_tls=self.setup.tls in ("ends", "passes"))

    def write(self, name, text):
        path = self.dir / name
        path.write_text(text, encoding="utf-8")
        return path

    def stop(self):
        system.end(self.process)
        self.scratch.cleanup()


def output_of(command):
    """All that it says, of what may not be installed as well."""
    try:
        done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout


class Origin(Proxy):
    """Not a proxy, but started like one."""

    name = "origin"

    def __init__(self, build, cpus):
        super().__init__(build, Setup(), None, cpus)

    def command(self):
        return [self.build / "bench/origin", f"127.0.0.1:{self.port}"]


class Floor(Proxy):
    """What a forwarder that parses nothing has to spend."""

    name = word = "floor"
    options = ()

    def command(self):
        tls = {"": [], "ends": ["--tls", self.setup.certificate().both], "passes": ["--fresh"]}
        return [self.build / "bench/floor", *self.options, *tls[self.setup.tls],
                f"127.0.0.1:{self.port}", f"127.0.0.1:{self.origin}"]


class Splice(Floor):
    name = "floor, spliced"
    options = ("--splice",)


class Rpd(Proxy):
    name = word = "rpd"
    key_process = "on"

    @classmethod
    def is_countable(cls, setup):
        # `rpd: keys` is not allowed to do what valgrind does in its name.
        return setup.tls != "ends" or cls.key_process == "off"

    @classmethod
    def version(cls, build):
        commit = output_of(["git", "-C", build, "rev-parse", "--short", "HEAD"]).strip()
        version = output_of([build / "rpd", "-V"]).strip()
        return f"{version}, commit {commit}" if commit.isalnum() else version

    def backend(self, name):
        servers = "".join(f"server = 127.0.0.1:{self.origin} name=s{i}\n"
                          for i in range(self.setup.servers))
        return (f"[backend {name}]\n{servers}keepalive = {max(KEEPALIVE, self.setup.servers)}\n"
                f"keepalive_timeout = 1h\n{self.backend_tls()}")

    def backend_tls(self):
        if self.setup.tls != "begins":
            return ""
        return f"tls = on\ntls_name = {NAME}\ntls_ca = {self.setup.certificate().cert}\n"

    def sections(self):
        """Routes and backends."""
        hosts = self.setup.hosts()
        if self.setup.tls == "passes":
            return ("tls = on\n[route r]\nhost = bench\ntls = passthrough\nbackend = b0\n"
                    + self.backend("b0"))
        if not hosts:
            return "default_backend = b0\n" + self.backend("b0")
        names = ["b0" if self.setup.servers > 1 else f"b{i}" for i in range(len(hosts))]
        routes = [f"[route r{i}]\nhost = {host}\nbackend = {name}\n"
                  for i, (host, name) in enumerate(zip(hosts, names))]
        return "".join(routes + [self.backend(name) for name in dict.fromkeys(names)])

    def certificate(self):
        """(what the listener says of it, its section)"""
        if self.setup.tls != "ends":
            return "", ""
        own = self.setup.certificate()
        return ("tls = on\ncertificate = own\n",
                f"[certificate own]\ncert = {own.cert}\nkey = {own.key}\n")

    def command(self):
        # As root the worker has to stay root: valgrind writes its findings at the worker's end.
        user = "user = root\ngroup = root\n" if os.geteuid() == 0 else ""
        if self.setup.tls:
            user += f"key_process = {self.key_process}\n"
        listener, section = self.certificate()
        log = self.dir / "access.log" if self.setup.has_log else "off"
        path = self.write("rpd.ini", (
            f"[global]\nworkers = {self.setup.workers}\nrun_dir = {self.dir}/run\n{user}"
            f"access_log = {log}\n{section}[listener web]\nbind = 127.0.0.1:{self.port}\n"
            f"mode = {'tcp' if self.setup.is_tcp else 'http'}\ntimeout_idle = 1h\n"
            f"{listener}{self.sections()}"))
        return [self.build / "rpd", "-c", path]


class RpdKeysInside(Rpd):
    """Private keys are the workers' own."""

    name = "rpd, key_process off"
    key_process = "off"
