"""The machine: a network of our own, processes on given CPUs, and what they used."""
import contextlib
import os
import pathlib
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time

FILES = 65536
MARK = "RPD_BENCH_NETWORK"
SYSCTLS = {
    # BBR paces on loopback as well, which costs up to 1.8 times as much.
    "tcp_congestion_control": "reno",
    # With a connection for each request, ports of the last minute run out otherwise.
    "ip_local_port_range": "1024 65535",
    "tcp_tw_reuse": "1",
}


def is_possible(command):
    try:
        return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0
    except FileNotFoundError:
        return False


def enter_network(script):
    """Goes on in a network namespace, by an exec of the script; with a notice if that may not be.

    Who is not root becomes it for a moment, to set the namespace up, and is then himself again:
    the programs are not to take him for root.
    """
    if os.environ.get(MARK) == "user":
        return
    again = [sys.executable, "-B", script, *sys.argv[1:]]
    if MARK not in os.environ:
        how = ["unshare", "-n" if os.geteuid() == 0 else "-rn"]
        if not shutil.which("ip") or not is_possible([*how, "true"]):
            print("no network namespace here: the machine's own loopback is measured")
            return
        os.environ[MARK] = f"{os.geteuid()}:{os.getegid()}"
        os.execvp(how[0], [*how, *again])
    user, group = os.environ[MARK].split(":")
    os.environ[MARK] = "user"
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for name, value in SYSCTLS.items():
        pathlib.Path("/proc/sys/net/ipv4", name).write_text(value, encoding="ascii")
    if user != "0":
        himself = [f"--map-user={user}", f"--map-group={group}"]
        os.execvp("unshare", ["unshare", "-U", *himself, *again])


def raise_files():
    """The limit of open files, FILES or what may be had of it; gives it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, max(hard, FILES)))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def memory_folder():
    """A file system in memory, or None."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def cpus():
    """(the proxies', that of everything else)"""
    usable = sorted(os.sched_getaffinity(0))
    return {usable[0]}, {usable[-1]}


def require(*programs):
    missing = [p for p in programs if not shutil.which(p)]
    if missing:
        sys.exit(f"bench: not installed: {' '.join(missing)} (t/deps bench)")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def spawn(command, cpus, **more):
    """A process, it and its children on these CPUs only."""
    # pylint: disable-next=subprocess-popen-preexec-fn
    return subprocess.Popen([str(c) for c in command], stdin=more.pop("stdin", subprocess.DEVNULL),
                            preexec_fn=lambda: os.sched_setaffinity(0, cpus), **more)


def prefer(process, priority):
    """It runs before whatever has less, on the CPUs it shares; False: that may not be."""
    try:
        os.sched_setscheduler(process.pid, os.SCHED_FIFO, os.sched_param(priority))
    except PermissionError:
        return False
    return True


def end(process, number=signal.SIGTERM, seconds=60):
    """However it ends, it is gone afterwards."""
    if process.poll() is None:
        process.send_signal(number)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wrapped(plain, host):
    """A client's TLS, that believes any certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(plain, server_hostname=host)


def fetch(port, host, path="/1", is_tls=False):
    """True when a GET is answered with 200."""
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    try:
        with contextlib.ExitStack() as stack:
            s = stack.enter_context(socket.create_connection(("127.0.0.1", port), 30))
            if is_tls:
                s = stack.enter_context(wrapped(s, host))
            s.sendall(request.encode())
            return s.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def wait_until(fact, what, seconds):
    limit = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > limit:
            raise RuntimeError(f"{what}: not after {seconds} s")
        time.sleep(0.02)


# ---- /proc ----

def stat(pid):
    """The fields behind the name in /proc/PID/stat; the first is the state."""
    return pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()


def is_traceable(pid):
    """A process that cares for secrets is root's alone."""
    try:
        pathlib.Path(f"/proc/{pid}/maps").read_bytes()
    except PermissionError:
        return False
    return True


def family(pid):
    """A process and its children."""
    found = [pid]
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and int(stat(name)[1]) == pid:
                found.append(int(name))
        except OSError:
            pass
    return found


def cpu_ns(pids):
    """(on a CPU, waiting for one): exact, and of all threads of these processes."""
    files = [f for pid in pids for f in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")]
    rows = [f.read_text(encoding="ascii").split() for f in files]
    return sum(int(r[0]) for r in rows), sum(int(r[1]) for r in rows)


def cpu_ticks(pids):
    """(user, system), in ticks: a sample, where cpu_ns is a sum."""
    rows = [stat(pid) for pid in pids]
    return sum(int(r[11]) for r in rows), sum(int(r[12]) for r in rows)


def pss_bytes(pids):
    """Memory of these processes, what they share counted once."""
    total = 0
    for pid in pids:
        for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def machine():
    """CPU model, cores, kernel."""
    text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    models = [line.split(":", 1)[1].strip() for line in text.splitlines()
              if line.startswith("model name")]
    name = models[0] if models else os.uname().machine
    return f"{name}, {os.cpu_count()} cores, Linux {os.uname().release}"
