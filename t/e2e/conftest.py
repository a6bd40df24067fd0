"""Fixtures of the end-to-end tests. RPD_BUILD names the build (default: build/release)."""

import pathlib
import shutil
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
for name in ("daemon", "client", "crowd", "origin", "wire", "util"):
    pytest.register_assert_rewrite(f"harness.{name}")

from harness.crowd import Stand  # noqa: E402
from harness.daemon import Daemon, Site  # noqa: E402
from harness.origin import Origin  # noqa: E402
from harness.tls_origin import Pki, TlsOrigin  # noqa: E402
from harness.util import RPCTL, RPD, is_sanitized  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "release_only: measures memory or calls of a release build")
    config.addinivalue_line("markers", "slow: takes more than a few seconds")


def pytest_collection_modifyitems(config, items):
    """What only a release build can show is not collected for others (and said so)."""
    if is_sanitized():
        out = [item for item in items if item.get_closest_marker("release_only")]
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item not in out]


def pytest_report_header():
    return f"rpd: {RPD}{' (sanitized: release_only deselected)' if is_sanitized() else ''}"


@pytest.fixture(scope="session", autouse=True)
def binaries():
    for path in (RPD, RPCTL):
        assert path.exists(), f"{path} is missing: build first, or set RPD_BUILD"


def _origins():
    made = []

    def make(handler=None, leaf=None, **kw):
        kind, how = Origin, {}
        if leaf or "context" in kw:
            kind, how = TlsOrigin, {"leaf": leaf}
        made.append(kind(handler=handler, name=kw.pop("name", f"o{len(made)}"), **how, **kw))
        return made[-1]
    yield make
    for one in made:
        one.close()
    for one in made:
        one.check()


def _daemons():
    made = []

    def make(text, **kw):
        made.append(Daemon(text, **kw))
        return made[-1]
    yield make
    troubles = []
    for one in made:
        try:
            one.finish()
        except Exception as trouble:
            troubles.append(trouble)
    if troubles:
        raise troubles[0]


@pytest.fixture
def origin():
    """Makes origins: origin(handler=echo, ...) -> Origin; with leaf or context a TlsOrigin."""
    yield from _origins()


@pytest.fixture(scope="module")
def shared_origin():
    yield from _origins()


@pytest.fixture
def rpd(origin):
    """Starts daemons: rpd(configuration, workers=2, globals_="", ...) -> Daemon."""
    yield from _daemons()


@pytest.fixture(scope="session")
def pki(tmp_path_factory):
    """Certificates of servers that speak TLS."""
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def program(tmp_path):
    """A copy of rpd, to be replaced."""
    path = tmp_path / "rpd"
    shutil.copy(RPD, path)
    return path


@pytest.fixture
def stand():
    """Servers for a crowd."""
    made = Stand()
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared_rpd(shared_origin):
    """The same for a whole module: for tables whose rows leave nothing behind."""
    yield from _daemons()


@pytest.fixture(scope="module")
def server(shared_origin):
    """The origin behind `up`."""
    return shared_origin()


@pytest.fixture(scope="module")
def up(request, shared_rpd, server):
    """A daemon with its module's SITE, in which POOL is the address of `server`."""
    return shared_rpd(request.module.SITE.replace("POOL", server.addr))


@pytest.fixture
def site():
    """Makes directories with a configuration that is not started: site(text, ...) -> Site."""
    made = []

    def make(text=None, raw=None, **kw):
        made.append(Site(**kw))
        if text is not None:
            made[-1].write(text)
        if raw is not None:
            made[-1].config.write_text(made[-1].fill(raw))
        return made[-1]
    yield make
    reports = "".join(one.sanitizer_reports() for one in made)
    for one in made:
        one.remove()
    assert not reports, reports
