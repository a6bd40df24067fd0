"""A real rpd in a directory of its own: started, asked, ended and searched for what it left."""

import contextlib
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from .client import Client
from .util import (RPCTL, RPD, children, cmdline, is_alive, patience, session_pids, wait_until)

COMPLAINTS = re.compile(r"runtime error|AddressSanitizer|LeakSanitizer|[Aa]ssert")


class StartError(AssertionError):
    """rpd ended instead of serving."""


def free_port(host="127.0.0.1"):
    """A port the kernel chose a moment ago; a start that loses it is tried again."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.bind((host, 0))
        return sock.getsockname()[1]


def unindent(text):
    """Test sources are indented; in rpd.ini an indented line continues the one above, so exactly
    the first line's indentation goes."""
    lines = [line.rstrip() for line in text.strip("\n").splitlines()]
    first = next((line for line in lines if line.strip()), "")
    margin = len(first) - len(first.lstrip())
    return "".join((line[margin:] if line[:margin].strip() == "" else line) + "\n"
                   for line in lines)


def plain(*origins, listener="", route="", backend="", options=""):
    """The usual configuration: listener web, route all, backend pool of these origins."""
    def lines(text):
        return "\n".join(line.strip() for line in text.strip().splitlines())
    if "mode = tcp" in listener:
        route = "listener = web\n" + route  # a route without listeners is for all http ones
    servers = "\n".join(f"server = {o if isinstance(o, str) else o.addr} name=s{i} {options}"
                        for i, o in enumerate(origins))
    return (f"[listener web]\nbind = @web@\n{lines(listener)}\n\n[route all]\nbackend = pool\n"
            f"{lines(route)}\n\n[backend pool]\n{servers}\n{lines(backend)}\n")


class Site:
    """A directory with a configuration, and how programs are run in it."""

    def __init__(self, workers=2, globals_="", env=None):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="rpd-", dir="/tmp"))
        self.dir.chmod(0o755)
        self.run_dir = self.dir / "run"
        self.run_dir.mkdir()
        self.config = self.dir / "rpd.ini"
        self.reports = self.dir / "san"
        self.reports.mkdir()
        self.reports.chmod(0o1777)
        self.ports = {}
        self.workers_wanted = workers
        self.globals_ = unindent(globals_) if globals_ else ""
        report = f"log_path={self.reports}/report"
        self.env = dict(os.environ, ASAN_OPTIONS=f"{report}:exitcode=99:detect_leaks=1",
                        UBSAN_OPTIONS=f"{report}:print_stacktrace=1:halt_on_error=1",
                        LSAN_OPTIONS=f"{report}:exitcode=99", TZ="UTC", **(env or {}))

    def preset(self):
        """What every test's [global] says, unless the test says otherwise."""
        keys = {"run_dir": self.run_dir, "workers": self.workers_wanted, "log": "stderr"}
        if os.geteuid() == 0:
            keys |= {"user": "root", "group": "root"}
        said = {line.split("=")[0].strip() for line in self.globals_.splitlines()}
        return "".join(f"{k} = {v}\n" for k, v in keys.items() if k not in said)

    def address(self, match):
        name = match[1]
        host = "[::1]" if name.endswith("6") else "127.0.0.1"
        if name not in self.ports:
            self.ports[name] = free_port(host.strip("[]"))
        return f"{host}:{self.ports[name]}"

    def fill(self, text):
        """@name@ becomes an address with a free port (::1 if the name ends in 6), @dir@ the
        directory; a name keeps its port over reloads."""
        text = text.replace("@dir@", str(self.dir))
        return re.sub(r"@([a-z]\w*)@", self.address, text)

    def write(self, text):
        self.config.write_text("[global]\n" + self.preset() + self.globals_ + "\n"
                               + self.fill(unindent(text)))

    def run(self, *args, timeout=20, **kw):
        """Runs a program to its end."""
        return subprocess.run([str(a) for a in args], env=self.env, text=True, timeout=patience(
            timeout), capture_output=True, cwd=self.dir, **kw)

    def check(self, *args):
        return self.run(RPD, "-t", "-c", self.config, *args)

    def ctl(self, *args, check=False):
        done = self.run(RPCTL, "-r", self.run_dir, *args)
        if check:
            assert done.returncode == 0, f"rpctl {args}: {done.returncode} {done.stderr}"
        return done

    def sanitizer_reports(self):
        return "\n".join(p.read_text(errors="replace") for p in sorted(self.reports.iterdir()))

    def remove(self):
        if not os.environ.get("RPD_KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)


class Daemon(Site):
    """An rpd in the foreground."""

    def __init__(self, text, workers=2, globals_="", env=None, limits=(), args=(), ready=True,
                 stdout=None, wrapper=(), program=RPD):
        super().__init__(workers, globals_, env)
        self.program = program
        self.limits, self.args, self.stdout = limits, args, stdout
        self.wrapper = wrapper      # a program that runs rpd, and its arguments
        self.may_complain = False   # a test that kills a worker by assert sets it
        self.expect_status = 0      # of the master, at the end
        self.proc = None
        for left in (3, 2, 1, 0):
            self.write(text)
            self.spawn()
            try:
                if ready:
                    self.wait_ready()
                return
            except StartError as error:
                if not left or "in use" not in str(error):
                    self.remove()
                    raise
                self.ports.clear()
            except BaseException:
                self.kill_all()
                raise

    # ---- life ----

    def spawn(self):
        def before():
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            for what, value in self.limits:
                resource.setrlimit(what, (value, value))
        self.stderr_path = self.dir / "stderr"
        with open(self.stderr_path, "ab") as err:
            self.proc = subprocess.Popen(
                [*self.wrapper, str(self.program), "-c", str(self.config), *map(str, self.args)],
                env=self.env, stderr=err, stdout=self.stdout or err, stdin=subprocess.DEVNULL,
                cwd=self.dir, start_new_session=True, preexec_fn=before)

    def wait_ready(self):
        """Ready is when the segment says that every worker runs. No connection is made."""
        def is_ready():
            if self.proc.poll() is not None:
                raise StartError(f"rpd ended with {self.proc.returncode}: {self.stderr()}")
            done = self.ctl("-o", "json", "stats")
            if done.returncode:
                return False
            stats = json.loads(done.stdout)
            own = self.children()  # those of a master before serve until these do
            running = [w for w in stats["workers"]
                       if w["state"] == "running" and w["pid"] in own]
            return (stats["rpd"]["pid"] == self.pid and running
                    and len(running) == stats["rpd"]["workers"])
        wait_until(is_ready, 15, "rpd to be ready")

    @property
    def pid(self):
        return self.proc.pid

    def stderr(self):
        return self.stderr_path.read_text(errors="replace")

    def wait_log(self, pattern, timeout=10):
        return wait_until(lambda: re.search(pattern, self.stderr()), timeout,
                          f"{pattern!r} in the error log")

    def signal(self, number):
        os.kill(self.pid, number)

    def wait_exit(self, timeout=15):
        return self.proc.wait(patience(timeout))

    def processes(self):
        return session_pids(self.pid)

    def kill_all(self):
        """SIGKILL for every process of this rpd, by its id."""
        deadline = time.monotonic() + 10
        while (left := self.processes()) and time.monotonic() < deadline:
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.proc.poll()
            time.sleep(0.01)
        if self.proc:
            self.proc.wait(10)

    def finish(self):
        """Ends it if it still runs and looks at how it ended. Raises after cleaning up."""
        trouble = []
        if self.proc.poll() is None:
            for pid in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            self.signal(signal.SIGTERM)
            try:
                self.wait_exit()
            except subprocess.TimeoutExpired:
                trouble.append("SIGTERM did not end it")
        status = self.proc.poll()
        if self.expect_status is not None and status != self.expect_status:
            trouble.append(f"exit status {status}, not {self.expect_status}")
        deadline = time.monotonic() + patience(5)
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.01)
        if left and self.expect_status is not None:
            trouble.append(f"processes left: {left}")
        self.kill_all()
        reports = self.sanitizer_reports()
        if reports:
            trouble.append(f"sanitizer report:\n{reports[:6000]}")
        complaint = COMPLAINTS.search(self.stderr())
        if complaint and not self.may_complain:
            trouble.append(f"stderr complains: {complaint[0]}")
        print(f"--- stderr of rpd {self.dir}\n{self.stderr()[-60000:]}")
        self.remove()
        assert not trouble, "; ".join(trouble)

    # ---- asking ----

    def addr(self, name="web"):
        return ("::1" if name.endswith("6") else "127.0.0.1", self.ports[name])

    def client(self, name="web", **kw):
        return Client(self.addr(name), **kw)

    def ask(self, target="/", method="GET", headers=(), body=None, host="test", listener="web",
            version="1.1"):
        """One request on a connection of its own."""
        with self.client(listener) as client:
            return client.ask(target, method, headers, body, host, version)

    def stats(self):
        return json.loads(self.ctl("-o", "json", "stats", check=True).stdout)

    def wait_stats(self, fn, timeout=10):
        """Waits until fn(stats) is true and returns those stats."""
        last = {}

        def is_true():
            last["stats"] = self.stats()
            return fn(last["stats"])
        try:
            wait_until(is_true, timeout, "statistics to show it", 0.02)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{json.dumps(last['stats'], indent=1)}") from None
        return last["stats"]

    def route_count(self, route="all", field="requests_total"):
        return self.stats()["routes"][route][field]

    def worker_pids(self):
        return [w["pid"] for w in sorted(self.stats()["workers"], key=lambda w: w["slot"])
                if w["state"] == "running"]

    def worker_total(self, field):
        """A counter of the worker kind over all slots; one that JSON does not show is an error."""
        return sum(w[field] for w in self.stats()["workers"])

    def children(self):
        """Without the helper, which is there whenever there is a backend."""
        return [pid for pid in children(self.pid) if pid not in self.helper_pids()]

    def helper_pids(self):
        """The processes called so, of masters before too."""
        return [pid for pid in self.processes() if cmdline(pid).startswith("rpd: helper")]

    def is_running(self):
        return is_alive(self.pid)

    # ---- acting ----

    def upgrade(self, status=0):
        """Has the program replaced by what is at its path; returns what rpctl said."""
        done = self.ctl("upgrade")
        assert done.returncode == status, f"rpctl upgrade: {done}\n{self.stderr()[-3000:]}"
        return done

    def replace_program(self, content):
        """As a package's installation does it: by a rename. content: a text, or a file's path."""
        new = self.program.with_name("rpd.new")
        if isinstance(content, str):
            new.write_text(content)
            new.chmod(0o755)
        else:
            shutil.copy(content, new)
        new.rename(self.program)

    def reload(self, text=None, status=0):
        """Writes a new configuration (if any) and has it taken; returns what rpctl said."""
        if text is not None:
            self.write(text)
        done = self.ctl("reload")
        assert done.returncode == status, f"rpctl reload: {done}\n{self.stderr()[-2000:]}"
        return done
