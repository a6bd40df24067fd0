"""What systemd hears (sd_notify's protocol), and its unit."""

import os
import signal
import socket

import pytest

from harness.util import REPO, patience, wait_until

RESPOND = "[listener web]\nbind = @web@\n[route all]\nrespond = 200 hello\n"


class Systemd:
    """The socket of NOTIFY_SOCKET, and what was said there."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(path) if not str(path).startswith("@") else "\0" + str(path)[1:])
        self.sock.settimeout(patience(15))

    def hear(self):
        """The next message, as a dictionary."""
        lines = self.sock.recv(4096).decode().splitlines()
        return dict(line.split("=", 1) for line in lines)


@pytest.fixture(params=["file", "abstract"])
def systemd(request, tmp_path):
    path = tmp_path / "notify" if request.param == "file" else f"@rpd-test-{os.getpid()}"
    one = Systemd(path)
    one.path = path
    yield one
    one.sock.close()


def test_every_turn_of_its_life_is_said(rpd, systemd):
    d = rpd(RESPOND, workers=2, env={"NOTIFY_SOCKET": str(systemd.path)})
    ready = {"READY": "1", "MAINPID": str(d.pid)}
    assert systemd.hear() == ready
    d.reload()
    said = systemd.hear()
    assert said["RELOADING"] == "1" and int(said["MONOTONIC_USEC"]) > 0
    assert systemd.hear() == ready
    d.write(RESPOND + "nonsense = 1\n")
    assert d.ctl("reload").returncode == 1
    assert systemd.hear()["RELOADING"] == "1"
    assert systemd.hear() == ready, "a refused reload ends as well"
    assert d.ctl("upgrade").returncode == 1
    assert systemd.hear()["RELOADING"] == "1"
    assert systemd.hear() == ready
    d.write(RESPOND)
    for _ in range(2):
        assert d.ctl("upgrade").returncode == 0
        assert systemd.hear()["RELOADING"] == "1"
        assert systemd.hear() == ready, "the same process"
    d.signal(signal.SIGTERM)
    assert systemd.hear() == {"STOPPING": "1"}
    assert d.wait_exit() == 0


def test_the_unit_is_of_a_daemon_that_says_when_it_is_ready():
    unit = (REPO / "etc/rpd.service").read_text()
    for line in ("Type=notify", "NotifyAccess=main", "KillMode=process",
                 "ExecReload=/usr/local/bin/rpctl -r /run/rpd reload"):
        assert f"\n{line}\n" in unit


def test_nobody_listens_at_notify_socket(rpd, tmp_path):
    d = rpd(RESPOND, env={"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    assert d.ask().status == 200
    d.wait_log("NOTIFY_SOCKET")
    wait_until(d.is_running)
