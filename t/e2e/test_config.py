"""What a good configuration means: defaults, lists, includes, environment, addresses, start."""

import os
import socket
import subprocess

import pytest

from harness.client import Client
from harness.daemon import Daemon, StartError, free_port, plain
from harness.util import REPO, RPD, patience, session_pids

RESPOND = """
[listener web]
bind = @web@
[route all]
respond = 200 hello
"""


def test_check_binds_nothing_and_leaves_nothing(site):
    s = site(RESPOND)
    s.fill("@web@")
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", s.ports["web"]))
        taken.listen()
        assert s.check().returncode == 0
    assert list(s.run_dir.iterdir()) == []


def test_check_while_the_daemon_runs_disturbs_nothing(rpd):
    d = rpd(RESPOND)
    assert d.check().returncode == 0
    assert d.ask().status == 200
    assert d.stats()["rpd"]["pid"] == d.pid


def test_port_in_use_is_an_error(site):
    s = site()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        s.ports["web"] = taken.getsockname()[1]
        s.write(RESPOND)
        done = s.run(RPD, "-c", s.config)
    assert done.returncode == 1
    assert str(s.ports["web"]) in done.stderr
    assert "in use" in done.stderr.lower()


def test_port_of_another_rpd_is_in_use(rpd, site):
    d = rpd(RESPOND)
    s = site()
    s.ports["web"] = d.ports["web"]
    s.write(RESPOND)
    done = s.run(RPD, "-c", s.config)
    assert done.returncode == 1
    assert "in use" in done.stderr.lower()
    assert all(d.ask().status == 200 for _ in range(10))


def test_a_later_bind_that_fails_ends_the_start(site):
    s = site()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        s.ports["taken"] = taken.getsockname()[1]
        s.write("[listener a]\nbind = @free@, @taken@\n[route r]\nrespond = 200 x\n")
        assert s.run(RPD, "-c", s.config).returncode == 1


def test_defaults_apply_to_sections_of_their_type(rpd, origin):
    o = origin()
    d = rpd(f"""
        [defaults route]
        request_header = set X-Default: yes
        host_header = fixed.example

        [defaults listener]
        default_backend = pool

        [defaults backend]
        keepalive = 0

        [listener web]
        bind = @web@

        [route adds]
        path = /adds
        backend = pool
        request_header = set X-Own: yes

        [route clears]
        path = /clears
        backend = pool
        request_header =
        host_header = preserve

        [backend pool]
        server = {o.addr}
        """)
    d.ask("/adds")
    assert (o.last().get("X-Default"), o.last().get("X-Own")) == ("yes", "yes")
    assert o.last().get("Host") == "fixed.example"
    d.ask("/clears")
    assert not o.last().has("X-Default")
    assert o.last().get("Host") == "test"
    assert d.ask("/elsewhere").status == 200
    assert len(o.connections) == 3


def test_defaults_may_stand_after_what_they_apply_to(rpd, origin):
    o = origin()
    d = rpd(plain(o) + "\n[defaults route]\nhost_header = late.example\n")
    d.ask()
    assert o.last().get("Host") == "late.example"


def test_list_key_takes_commas_repetition_and_continuation(rpd):
    d = rpd("""
        [listener web]
        bind = @a@, @b@
        bind = @c@
          , @d@

        [route hosts]
        host = one.example, two.example
          , three.example
        respond = 200 host

        [route rest]
        respond = 200 rest
        """)
    for name in "abcd":
        assert d.ask(listener=name).body.strip() == b"rest"
    for host in ("one.example", "two.example", "three.example"):
        assert d.ask(listener="a", host=host).body.strip() == b"host"


def test_comments_and_blank_lines_are_skipped(rpd):
    d = rpd("""
        ; a comment
        # another
        [listener web]
        # inside
        bind = @web@

        [route all]
        ; respond = 500 no
        respond = 200 yes
        """)
    assert d.ask().status == 200


def test_environment_is_taken_with_fallback(rpd):
    d = rpd("""
        [listener web]
        bind = @web@
        [route all]
        respond = 200 ${RPD_E2E_A} ${RPD_E2E_B:-fallback} ${RPD_E2E_C:-}.
        """, env={"RPD_E2E_A": "from env"})
    assert d.ask().body.strip() == b"from env fallback ."


def test_include_takes_further_files(rpd, site, tmp_path):
    for n in (1, 2):
        (tmp_path / f"{n}.ini").write_text(f"[route r{n}]\npath = /{n}\nrespond = 200 file {n}\n")
    (tmp_path / "not.txt").write_text("nonsense")
    d = rpd("""
        [listener web]
        bind = @web@
        """, globals_=f"include = {tmp_path}/*.ini\n")
    for n in (1, 2):
        assert d.ask(f"/{n}").body.strip() == b"file %d" % n
    (tmp_path / "3.ini").write_text("[route r3]\npath = /3\nrespond = 200 file 3\n")
    d.reload()
    assert d.ask("/3").body.strip() == b"file 3"


def test_ipv6_and_unix_addresses(rpd, origin, tmp_path):
    six = origin(family=socket.AF_INET6)
    d = rpd(f"""
        [listener web]
        bind = @web6@, @web@, unix:@dir@/web.sock
        [route six]
        path = /six
        backend = six
        [route unix]
        path = /unix
        backend = unix
        [backend six]
        server = {six.addr}
        [backend unix]
        server = unix:@dir@/origin.sock
        """)
    over_unix = origin(path=d.dir / "origin.sock")
    for ask in (lambda p: d.ask(p, listener="web6"), d.ask,
                lambda p: Client(str(d.dir / "web.sock")).ask(p)):
        assert ask("/six").status == 200
        assert ask("/unix").status == 200
    assert len(six.requests) == len(over_unix.requests) == 3
    assert six.requests[0].get("X-Forwarded-For") == "::1"


def test_bind_without_host_takes_both_families(rpd):
    port = free_port()
    d = rpd(f"[listener web]\nbind = :{port}\n[route all]\nrespond = 200 x\n")
    assert Client(("127.0.0.1", port)).ask().status == 200
    assert Client(("::1", port)).ask().status == 200
    assert d.is_running()


def test_server_by_name_is_resolved(rpd, origin):
    o = origin()
    d = rpd(plain(f"localhost:{o.port}"))
    assert d.ask().status == 200


def test_server_that_does_not_resolve_is_down_and_the_rest_starts(rpd, origin):
    o = origin()
    d = rpd(plain("no-such-host.invalid:80") + f"""
[route ok]
path = /ok
backend = fine
[backend fine]
server = {o.addr}
""")
    assert d.ask("/ok").status == 200
    assert d.ask("/").status == 503
    assert "no-such-host.invalid" in d.stderr()
    assert d.stats()["backends"]["pool"]["servers"]["s0"]["state"] == "down"


def test_start_with_bad_configuration_runs_nothing(rpd):
    with pytest.raises(StartError, match="did you mean 'bind'"):
        Daemon("[listener web]\nbnd = @web@\n[route r]\nrespond = 200 x\n")


def test_workers_auto_is_one_per_cpu(rpd):
    cpus = sorted(os.sched_getaffinity(0))
    d = rpd(RESPOND, workers="auto")
    assert len(d.worker_pids()) == len(cpus)


def test_help_config_lists_every_key(site):
    done = site().run(RPD, "--help-config")
    assert done.returncode == 0
    for key in ("max_connections", "accept_proxy", "buffer_request", "queue_timeout"):
        assert key in done.stdout


def test_version_and_bad_usage(site):
    s = site()
    assert s.run(RPD, "-V").stdout.strip()
    assert s.run(RPD, "--no-such-option").returncode != 0
    assert s.run(RPD, "-t", "-c").returncode != 0


def test_printed_configuration_builds_the_same(rpd, origin):
    """`rpctl config` prints what runs, defaults filled in; it is itself a good file."""
    d = rpd(plain(origin(), route="retries = 3\nrequest_header = set X-A: b, c"))
    done = d.ctl("config", check=True)
    again = d.dir / "again.ini"
    again.write_text(done.stdout)
    checked = d.run(RPD, "-t", "-c", again)
    assert checked.returncode == 0, checked.stderr + done.stdout
    assert "retries = 3" in done.stdout
    assert "timeout_response = " in done.stdout


def test_demo_quickstart_file_is_good(site):
    s = site()
    text = (REPO / "etc" / "quickstart.ini").read_text()
    s.config.write_text(text)
    done = s.check()
    assert done.returncode == 0 or "run_dir" in done.stderr, done.stderr


def test_sample_file_is_good(site):
    s = site()
    text = (REPO / "etc" / "rpd.ini").read_text()
    s.config.write_text(text.replace("[global]\n", f"[global]\nrun_dir = {s.run_dir}\n", 1))
    done = s.check()
    assert done.returncode == 0, done.stderr + done.stdout


def test_quit_during_start_leaves_nothing(site):
    s = site(RESPOND)
    proc = subprocess.Popen([RPD, "-c", s.config], env=s.env, stderr=subprocess.DEVNULL,
                            start_new_session=True)
    proc.terminate()
    proc.wait(patience(10))
    assert session_pids(proc.pid) == []
