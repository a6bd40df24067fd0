"""What a newcomer and a packager meet: the demo of `make run`, installation, completion."""

import os
import subprocess

import pytest

from harness.util import BUILD, REPO, RPCTL, RPD, patience, session_pids, wait_until

# In a network of its own, for the demo's ports are fixed.
DEMO = """
ip link set lo up
t/demo/run "$1" >"$2/log" 2>&1 &
demo=$!
until grep -q 'another terminal' "$2/log"; do
    kill -0 $demo || exit 1
    sleep 0.05
done
# One connection, for each worker takes turns of its own.
curl -sS "http://127.0.0.1:8080/{hello,a,b}"
"$1/rpctl" -r "$2/run" -o csv stats route all
kill -INT $demo
wait $demo
echo "status $?"
"""


def own_network():
    if os.geteuid() == 0:
        return ["unshare", "--net"]
    return ["unshare", "--user", "--map-current-user", "--keep-caps", "--net"]


def make(*arguments):
    """Of the build under test, as it is; nothing of a make above us."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE") and k != "MFLAGS"}
    command = ["make", "-s", f"BUILD={BUILD}", "-o", RPD, "-o", RPCTL, *arguments]
    done = subprocess.run(command, cwd=REPO, env=env, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout


def installed(root):
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}


def test_demo_serves_and_leaves_nothing(tmp_path):
    tmp_path.chmod(0o755)
    env = dict(os.environ, RPD_RUN_DIR=str(tmp_path / "run"))
    child = subprocess.Popen([*own_network(), "sh", "-c", DEMO, "demo", BUILD, tmp_path],
                             cwd=REPO, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True, start_new_session=True)
    answers, _ = child.communicate(timeout=patience(20))
    log = (tmp_path / "log").read_text()
    assert "Hello from rpd." in answers, answers + log
    assert "origin one" in answers and "origin two" in answers, "taken in turn"
    assert "X-Demo: quickstart" in answers
    assert answers.endswith("status 0\n"), answers + log
    assert "GET /hello" in log, "the access log is on the terminal"
    wait_until(lambda: not session_pids(child.pid))


@pytest.mark.release_only
@pytest.mark.parametrize("prefix", ["/usr/local", "/usr"])
def test_install_and_uninstall(tmp_path, prefix):
    where = [f"DESTDIR={tmp_path}", f"PREFIX={prefix}"]
    make("install", *where)
    top = prefix[1:]
    files = installed(tmp_path)
    assert files >= {
        f"{top}/sbin/rpd", f"{top}/bin/rpctl", "etc/init.d/rpd", "etc/default/rpd",
        "etc/logrotate.d/rpd", "etc/rpd/rpd.ini", f"{top}/lib/systemd/system/rpd.service",
        f"{top}/share/bash-completion/completions/rpctl", f"{top}/share/man/man8/rpd.8",
        f"{top}/share/man/man8/rpctl.8", f"{top}/share/man/man5/rpd.ini.5",
        f"{top}/share/man/man7/rpd-stats.7"}
    for name in ("etc/init.d/rpd", f"{top}/lib/systemd/system/rpd.service"):
        assert f"{prefix}/sbin/rpd" in (tmp_path / name).read_text()
    assert os.access(tmp_path / "etc/init.d/rpd", os.X_OK)
    done = subprocess.run([tmp_path / f"{top}/sbin/rpd", "-V"], stdout=subprocess.PIPE, check=True)
    assert done.stdout.startswith(b"rpd ")

    config = tmp_path / "etc/rpd/rpd.ini"
    config.write_text("; mine\n")
    make("install", *where)
    assert config.read_text() == "; mine\n", "an installed configuration is the operator's"
    make("uninstall", *where)
    assert installed(tmp_path) == {"etc/rpd/rpd.ini"}


COMPLETE = """
. etc/bash-completion/rpctl
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_rpctl "$RPCTL" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
echo "${COMPREPLY[@]}"
"""


def test_completion_knows_commands_and_the_daemons_names(rpd):
    d = rpd("""
               [listener web]
               bind = @web@
               [route left]
               respond = 200 left
               [route right]
               host = example.com
               respond = 200 right""")

    def complete(*words):
        done = subprocess.run(["bash", "-c", COMPLETE, "bash", "rpctl", *words], cwd=REPO,
                              env=dict(os.environ, RPCTL=str(RPCTL)), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=True)
        return done.stdout.split()
    assert {"stats", "top", "health", "reload", "stop", "-r"} <= set(complete(""))
    assert complete("re") == ["recent", "reload", "reopen"]
    assert complete("-o", "j") == ["json"]
    assert complete("recent", "--") == ["--errors", "--route"]
    assert complete("-r", str(d.run_dir), "recent", "--route", "l") == ["left"]
    assert complete("-r", str(d.run_dir), "postmortem", "") == ["0", "1"]
    assert "listeners" in complete("-r", str(d.run_dir), "stats", "")
    assert complete("-r", str(d.run_dir), "stats", "routes", "") == ["left", "right"]
    assert complete("-r", str(d.run_dir), "stats", "routes", "r") == ["right"]
