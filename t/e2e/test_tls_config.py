"""TLS in rpd.ini: every mistake in settings, certificates and keys is found by `rpd -t`, at its
place; what can be served nevertheless is warned of; and files that change are taken by a reload."""

import json
import os
import re
import shutil
import socket
import ssl
import subprocess

import pytest

from harness.certs import Authority, encrypted, joined, openssl
from harness.util import RPD

GLOBAL = ("[global]\nrun_dir = @dir@/run\nuser = root\ngroup = root\nkeys_user = root\n"
          "log = stderr\nworkers = 1\n")
# c is a certificate that is as it should be
LISTENER = "[listener web]\nbind = @web@\ntls = on\ncertificate = c\n"
ROUTE = "[route all]\nbackend = pool\n"
BACKEND = "[backend pool]\nserver = 127.0.0.1:9\n"


class Files:
    """Certificates of every kind, made once; tests name them as {name}."""

    def __init__(self, folder):
        self.folder = folder
        self.ca = Authority(folder)
        below = self.ca.intermediate("Below")
        self.leaf = below.issue("www.test", "*.www.test", label="c")
        self.rsa = self.ca.issue("rsa.test", kind="rsa", label="rsa")
        self.ed25519 = self.ca.issue("ed.test", kind="ed25519", label="ed")
        self.soon = self.ca.issue("soon.test", days=9, label="soon")
        self.expired = self.ca.issue("old.test", starts=-40, days=30, label="old")
        self.later = self.ca.issue("later.test", starts=2, label="later")
        self.nameless = self.ca.issue(label="nameless")
        self.weak = self.ca.issue("weak.test", kind="rsa", bits=1024, label="weak")
        self.curve = self.ca.issue("curve.test", curve="secp256k1", label="curve")
        fading = self.ca.intermediate("Fading", days=5)
        self.fading = fading.issue("fading.test", label="fading")
        self.names = {
            "c": self.leaf.chain, "ckey": self.leaf.key, "leaf": self.leaf.cert,
            "root": self.ca.cert, "other": self.rsa.cert, "otherkey": self.rsa.key,
            "nofile": folder / "nothing.pem",
            "junk": self.text("junk", "this is no PEM\n"), "empty": self.text("empty", ""),
            "encrypted": encrypted(self.leaf.key, folder / "encrypted.key"),
            "both": joined(folder / "both.pem", self.leaf.cert, self.leaf.key),
            "reversed": joined(folder / "reversed.pem", below.cert, self.leaf.cert),
            "wrong": joined(folder / "wrong.pem", self.leaf.cert, self.ca.cert, below.cert),
            "ocsp": self.leaf.ocsp(), "otherocsp": self.rsa.ocsp(),
            "tickets": self.text("tickets", "x" * 80),
            "der": folder / "c.der", "csr": folder / "c.csr",
        }
        openssl("x509", "-in", self.leaf.cert, "-outform", "DER", "-out", self.names["der"])
        openssl("req", "-new", "-key", self.leaf.key, "-subj", "/CN=x", "-out", self.names["csr"])
        sha1 = self.ca.issue("sha1.test", label="sha1")
        openssl("x509", "-req", "-in", sha1.cert.with_suffix(".csr"), "-CA", self.ca.cert,
                "-CAkey", self.ca.key, "-sha1", "-days", "30", "-out", sha1.chain)
        self.sha1 = sha1
        self.revoked = self.ca.issue("gone.test", label="gone")
        self.ca.revoke(self.revoked)
        self.names["revoked"] = self.revoked.ocsp()

    def text(self, name, content):
        path = self.folder / name
        path.write_text(content)
        return path

    def fill(self, text):
        return re.sub(r"\{(\w+)\}", lambda m: str(self.names[m[1]]), text)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return Files(tmp_path_factory.mktemp("certs"))


def certificate(name="c", cert="{c}", key="{ckey}", more=""):
    return f"[certificate {name}]\ncert = {cert}\nkey = {key}\n{more}"


def of(leaf, name="c"):
    """The section with a leaf of Files as its only certificate."""
    return lambda files: getattr(files, leaf).section(name)


BASE = GLOBAL + LISTENER + ROUTE + BACKEND + certificate()


def findings(done):
    return done.stderr + done.stdout


def line_of(site, text):
    lines = site.config.read_text().splitlines()
    return max(i + 1 for i, line in enumerate(lines) if text in line)


def with_(*sections, more=""):
    """The whole file with these in place of the usual sections of the same heads."""
    parts = {p.splitlines()[0]: p for p in (GLOBAL, LISTENER, ROUTE, BACKEND, certificate())}
    for section in sections:
        parts[section.splitlines()[0]] = section
    return "".join(parts.values()) + more


def with_certificate(**kw):
    return with_(certificate(**kw))


def with_listener(more):
    return with_(LISTENER + more)


def with_backend(more):
    return with_(BACKEND + more)


# id, the file (or what makes it of Files), a part of the wrong line, what is said of it
ERRORS = [
    # files
    ("certificate that is not there", with_certificate(cert="{nofile}"), "cert = ",
     r"\[certificate c\] cert: cannot read '.*nothing\.pem': No such file"),
    ("key that is not there", with_certificate(key="{nofile}"), "key = ",
     r"\[certificate c\] key: '.*nothing\.pem': cannot be read: No such file"),
    ("key that is a directory", with_certificate(key="/"), "key = ", r"key: '/': it is no file"),
    ("ocsp that is not there", with_certificate(more="ocsp = {nofile}\n"), "ocsp = ",
     r"ocsp: cannot read"),
    ("no PEM", with_certificate(cert="{junk}"), "cert = ", r"no certificate in it \(PEM\)"),
    ("empty", with_certificate(cert="{empty}"), "cert = ", r"it is empty"),
    ("DER", with_certificate(cert="{der}"), "cert = ", r"looks like DER .*-inform DER"),
    ("request", with_certificate(cert="{csr}"), "cert = ", r"but a request for one"),
    ("key without PEM", with_certificate(key="{junk}"), "key = ", r"no private key in it \(PEM\)"),
    ("certificate as key", with_certificate(key="{c}"), "key = ",
     r"no private key in it, but a certificate"),
    ("key as certificate", with_certificate(cert="{ckey}"), "cert = ",
     r"has a private key in it, which only `key` may name"),
    ("both in one file", with_certificate(cert="{both}", key="{both}"), "cert = ",
     r"has a private key in it"),
    ("encrypted key", with_certificate(key="{encrypted}"), "key = ", r"it is encrypted"),
    # keys and certificates
    ("key of another", with_certificate(key="{otherkey}"), "key = ",
     r"key: '.*rsa\.key': it does not match the certificate in '.*c\.chain\.pem'"),
    ("keys swapped", with_(certificate(key="{otherkey}"),
                           LISTENER.replace("= c", "= c, d"),
                           certificate("d", "{other}", "{ckey}")), "key = {otherkey}",
     r"does not match the certificate in '.*', but that of \[certificate d\]"),
    ("leaf behind its issuer", with_certificate(cert="{reversed}"), "key = ",
     r"it is the key of certificate 2 of '.*': that one has to be the first"),
    ("short RSA key", of("weak"), "cert = ", r"its RSA key has 1024 bits: clients take 2048"),
    ("weak curve", of("curve"), "cert = ", r"of the curve secp256k1, which clients do not take"),
    ("weak signature", of("sha1"), "cert = ", r"signed with SHA1, which clients do not take"),
    ("ocsp of another", with_certificate(more="ocsp = {otherocsp}\n"), "ocsp = ",
     r"ocsp: '.*': it is about another certificate"),
    ("ocsp in PEM", with_certificate(more="ocsp = {c}\n"), "ocsp = ", r"no OCSP response in it"),
    ("no cert", with_("[certificate c]\nkey = {ckey}\n"), "[certificate c]",
     r"has no cert, and needs one"),
    ("no key", with_("[certificate c]\ncert = {c}\n"), "[certificate c]",
     r"has no key, and needs one"),
    ("twice", BASE + certificate(), "[certificate c]", r"defined twice, first at"),
    ("misspelt", with_(LISTENER.replace("= c", "= ccc"), certificate("cc")), "certificate = ccc",
     r"there is no \[certificate ccc\] \(did you mean 'cc'\?\)"),
    # listeners
    ("tls without certificate", with_(LISTENER.replace("certificate = c\n", "")), "[listener web]",
     r"needs one: \[route all\] at .*ends TLS"),
    ("default_backend without certificate",
     with_("[listener web]\nbind = @web@\ntls = on\ndefault_backend = pool\n",
           "[route all]\nbackend = pool\nhost = x.test\ntls = passthrough\n"),
     "[listener web]", r"needs one for its default_backend"),
    ("certificate without tls", with_(LISTENER.replace("tls = on\n", "")), "certificate = c",
     r"certificate: has no effect without tls = on"),
    ("min version without tls", with_("[listener web]\nbind = @web@\ntls_min_version = 1.3\n"),
     "tls_min_version", r"has no effect without tls = on"),
    ("version", with_listener("tls_min_version = 1.1\n"), "tls_min_version",
     r"'1\.1' is none of 1\.2, 1\.3"),
    ("verify without ca", with_listener("client_verify = required\n"), "client_verify",
     r"needs a client_ca"),
    ("ca without verify", with_listener("client_ca = {root}\n"), "client_ca",
     r"has no effect without client_verify"),
    ("client_ca that is not there", with_listener("client_ca = {nofile}\nclient_verify = "
                                                  "optional\n"), "client_ca", r"cannot read"),
    ("client_ca of no certificate", with_listener("client_ca = {junk}\nclient_verify = "
                                                  "optional\n"), "client_ca", r"no certificate"),
    ("protocol", with_listener("alpn = http/3\n"), "alpn", r"'http/3' is not spoken in http mode"),
    # routes
    ("passthrough without tls", with_("[listener web]\nbind = @web@\n",
                                      "[route all]\nlistener = web\ntls = passthrough\n"
                                      "backend = pool\n"), "tls = passthrough",
     r"passthrough, but \[listener web\] has no tls = on"),
    ("passthrough nowhere", with_("[listener web]\nbind = @web@\n",
                                  "[route all]\ntls = passthrough\nbackend = pool\n"),
     "[route all]", r"never matches: .*no listener has tls = on"),
    ("passthrough and a path", with_("[route all]\ntls = passthrough\nbackend = pool\npath = /x\n"),
     "path = /x", r"does not belong in a route with tls = passthrough"),
    ("passthrough and no backend", with_("[route all]\ntls = passthrough\nrespond = 200\n"),
     "respond = 200", r"does not belong in a route with tls = passthrough"),
    ("passthrough to tls", with_("[route all]\ntls = passthrough\nbackend = pool\n",
                                 BACKEND + "tls = on\ntls_ca = {root}\n"), "backend = pool",
     r"sends the client's own TLS on"),
    ("both ways", BASE + "[route a]\nhost = a.test\ntls = passthrough\nbackend = pool\n"
     "[route b]\nhost = a.test\npath = /b\nbackend = pool\n", "[route b]",
     r"ends TLS for 'a\.test' on \[listener web\], and \[route a\] at .* passes it through"),
    ("host in plain tcp", with_("[listener web]\nbind = @web@\nmode = tcp\n",
                                "[route all]\nlistener = web\nhost = a.test\nbackend = pool\n"),
     "host = a.test", r"host: does not belong in a route of a tcp listener"),
    # backends
    ("tls_name without tls", with_backend("tls_name = x.test\n"), "tls_name",
     r"has no effect without tls = on"),
    ("tls_ca that is not there", with_backend("tls = on\ntls_ca = {nofile}\n"), "tls_ca",
     r"cannot read"),
    ("tls_ca of a key", with_backend("tls = on\ntls_ca = {ckey}\n"), "tls_ca",
     r"has a private key in it"),
    ("tls_ca of no certificate", with_backend("tls = on\ntls_ca = {junk}\n"), "tls_ca",
     r"no certificate in it"),
    ("unix server without a name", with_("[backend pool]\nserver = unix:/run/x.sock\ntls = on\n"
                                         "tls_ca = {root}\n"), "server = unix",
     r"has no host that its certificate could name: set tls_name"),
    ("tls_certificate that there is not", with_backend("tls = on\ntls_ca = {root}\n"
                                                       "tls_certificate = x\n"),
     "tls_certificate", r"there is no \[certificate x\]"),
    # global
    ("ticket keys of another size", with_(GLOBAL + "ticket_key_file = {junk}\n"),
     "ticket_key_file", r"it holds keys of 80 or 48 random bytes"),
    ("ticket keys that are not there", with_(GLOBAL + "ticket_key_file = {nofile}\n"),
     "ticket_key_file", r"cannot read"),
]

WARNINGS = [
    ("expired", of("expired"), "cert = ", r"it expired 10 days ago \(20\d\d-\d\d-\d\d\)"),
    ("not yet valid", of("later"), "cert = ", r"it is not valid yet, but in \d+ (day|hour)s?"),
    ("expires soon", of("soon"), "cert = ", r"it expires in [89] days"),
    ("its issuer expires soon", of("fading"), "cert = ",
     r"certificate 2 \(CN=Fading\) expires in [45] days"),
    ("order", with_certificate(cert="{wrong}"), "cert = ",
     r"out of order: certificate 2 \(CN=Test CA\) did not issue certificate 1 \(CN=www\.test\): "
     r"certificate 3 \(CN=Below\) did, and belongs there"),
    ("no name", of("nameless"), "cert = ", r"it names no host"),
    ("used by nobody", BASE + certificate("d"), "[certificate d]", r"nothing uses it"),
    ("host without certificate", with_("[route all]\nhost = a.test, x.www.test\nbackend = pool\n"),
     "[route all]", r"no certificate of \[listener web\] names 'a\.test': clients get that of "
     r"\[certificate c\]"),
    ("two of a kind for a host",
     with_(LISTENER + "certificate = d\n", certificate("d")), "[certificate d]",
     r"names 'www\.test' with a key of the same kind as \[certificate c\], which "
     r"\[listener web\] has first: clients get that one"),
    ("revoked", lambda files: files.revoked.section("c", ocsp=files.names["revoked"]), "ocsp = ",
     r"it says that the certificate is revoked"),
    ("h2", with_listener("alpn = h2, http/1.1\n"), "alpn", r"h2 is not supported yet"),
    ("unverified servers", with_backend("tls = on\ntls_verify = off\n"), "tls_verify",
     r"whoever answers in a server's place is believed"),
]


def written(site, files, text):
    """A Site of the text, which may be what a function makes for the one certificate."""
    if callable(text):
        text = with_(text(files))
    return site(raw=files.fill(text))


@pytest.mark.parametrize("text,where,says", [e[1:] for e in ERRORS], ids=[e[0] for e in ERRORS])
def test_mistake_is_an_error_at_its_place(site, files, text, where, says):
    s = written(site, files, text)
    done = s.check()
    out = findings(done)
    assert done.returncode == 1, out
    line = line_of(s, files.fill(where))
    assert re.search(rf"rpd\.ini:{line}: (?!warning).*{says}", out), out


@pytest.mark.parametrize("text,where,says", [w[1:] for w in WARNINGS],
                         ids=[w[0] for w in WARNINGS])
def test_doubtful_is_warned_of_and_served(site, files, text, where, says):
    s = written(site, files, text)
    done = s.check()
    out = findings(done)
    assert done.returncode == 0, out
    assert re.search(rf"rpd\.ini:{line_of(s, where)}: warning: .*{says}", out), out
    assert out.count("warning: ") == 1, out


@pytest.mark.parametrize("leaf", ["leaf", "rsa", "ed25519"])
def test_good_file_passes_without_a_word(site, files, leaf):
    s = written(site, files, of(leaf))
    done = s.check()
    assert done.returncode == 0
    assert findings(done) == f"rpd: configuration {s.config} is valid\n"


def test_everything_that_tls_can_be_told(site, files):
    s = site(raw=files.fill(with_(
        GLOBAL + "key_process = off\nticket_key_file = {tickets}\n",
        LISTENER.replace("= c", "= c, rsa")
        + "strict_sni = on\ntls_min_version = 1.3\nalpn = http/1.1\nclient_ca = {root}\n"
          "client_verify = optional\n",
        "[listener db]\nbind = @db@\ntls = on\nmode = tcp\nalpn = postgresql\n",
        ROUTE + "[route pass]\nhost = pass.test\ntls = passthrough\nbackend = pool\n",
        "[route db]\nlistener = db\nhost = db.test\ntls = passthrough\nbackend = pool\n",
        BACKEND, "[backend tls]\nserver = 127.0.0.1:9\ntls = on\ntls_ca = {root}\n"
        "tls_name = up.test\ntls_certificate = rsa\n",
        "[route up]\npath = /up\nbackend = tls\n", certificate(more="ocsp = {ocsp}\n"),
        files.rsa.section("rsa"))))
    done = s.check()
    assert done.returncode == 0, findings(done)
    assert "warning" not in findings(done), findings(done)


def test_every_mistake_is_reported_in_one_run(site, files):
    s = site(raw=files.fill(with_(
        LISTENER.replace("= c", "= c, old, d, e"), files.expired.section("old"),
        certificate("d", "{nofile}", "{nofile}"), certificate("e", "{junk}", "{encrypted}"),
        certificate(key="{otherkey}"), BACKEND + "tls = on\ntls_ca = {empty}\n")))
    out = findings(s.check())
    for says in (r"certificate c\] key: .*does not match", r"old\] cert: .*expired",
                 r"d\] cert: cannot read", r"d\] key: .*cannot be read",
                 r"e\] cert: .*no certificate", r"e\] key: .*encrypted", r"tls_ca: .*empty"):
        assert re.search(says, out), (says, out)


def test_files_are_looked_for_beside_the_file_that_names_them(site, files):
    s = site(raw=GLOBAL + "include = tls/c.ini\n" + LISTENER + ROUTE + BACKEND)
    folder = s.dir / "tls"
    folder.mkdir()
    shutil.copy(files.leaf.chain, folder / "c.pem")
    shutil.copy(files.leaf.key, folder / "c.key")
    (folder / "c.ini").write_text(certificate(cert="c.pem", key="../tls/c.key"))
    done = s.run(RPD, "-t", "-c", s.config)
    assert done.returncode == 0, findings(done)


def test_no_certificate_of_the_system(site, files):
    s = site(raw=files.fill(with_backend("tls = on\n")))
    s.env["SSL_CERT_FILE"] = str(files.names["nofile"])
    out = findings(s.check())
    assert re.search(rf"rpd\.ini:{line_of(s, '[backend pool]')}: \[backend pool\] tls_ca: none is "
                     r"set, and the system's CA certificates cannot be read", out), out


def test_start_refuses_what_the_check_refuses(site, files):
    s = site(raw=files.fill(with_certificate(key="{otherkey}")))
    done = s.run(RPD, "-c", s.config)
    assert done.returncode == 1
    assert "does not match the certificate" in findings(done)


# ---- a daemon ----

CAN_MOUNT = subprocess.run(["unshare", "-m", "true"], check=False,
                           capture_output=True).returncode == 0

SERVED = """
[listener web]
bind = @web@
tls = on
certificate = c
[route all]
respond = 200 ok
[certificate c]
cert = {folder}/c.pem
key = {folder}/c.key
"""


class Served:
    """A daemon whose certificate is a file that changes."""

    def __init__(self, rpd, tmp_path, leaf, more="", **kw):
        self.folder = tmp_path
        self.put(leaf)
        self.d = rpd(SERVED.format(folder=tmp_path) + more, **kw)

    def put(self, leaf, key=None):
        """As renewals do it: by renames."""
        for source, name in ((leaf.chain, "c.pem"), (key or leaf.key, "c.key")):
            new = self.folder / "new"
            shutil.copy(source, new)
            os.rename(new, self.folder / name)

    def seen(self):
        """The names of the certificate that a client gets."""
        context = ssl.create_default_context(cafile=self.ca.bundle)
        context.check_hostname = False
        with socket.create_connection(self.d.addr(), timeout=20) as sock, \
                context.wrap_socket(sock) as tls:
            return [name for _, name in tls.getpeercert()["subjectAltName"]]


@pytest.fixture
def served(rpd, tmp_path, files):
    def make(leaf, **kw):
        one = Served(rpd, tmp_path, leaf, **kw)
        one.ca = files.ca
        return one
    return make


@pytest.mark.parametrize("keys", ["on", "off"])
def test_reload_takes_a_certificate_that_changed(served, files, keys):
    one = served(files.leaf, globals_=f"key_process = {keys}")
    assert one.seen() == ["www.test", "*.www.test"]
    one.put(files.rsa)
    out = one.d.reload().stdout
    assert re.search(r"^generation 2: certificates ~1$", out, re.M), out
    assert re.search(r"^  ~ certificate c: cert content \w+ -> \w+, valid until "
                     r"20\d\d-\d\d-\d\d -> 20\d\d-\d\d-\d\d$", out, re.M), out
    assert one.seen() == ["rsa.test"]
    assert one.d.reload().stdout == "generation 3: nothing changed\n"
    assert one.seen() == ["rsa.test"]


def test_reload_of_a_key_that_does_not_match_is_refused(served, files):
    one = served(files.leaf)
    one.put(files.leaf, key=files.rsa.key)
    done = one.d.ctl("reload")
    assert done.returncode == 1
    assert "it does not match the certificate" in done.stdout + done.stderr
    assert one.d.stats()["rpd"]["generation"] == 1
    assert one.seen() == ["www.test", "*.www.test"]


def test_keys_move_between_processes(served, files):
    one = served(files.leaf, globals_="key_process = on")
    for value in ("off", "on"):
        text = one.d.config.read_text()
        one.d.config.write_text(re.sub(r"key_process = \w+", f"key_process = {value}", text))
        assert f"key_process {'on' if value == 'off' else 'off'} -> {value}" \
            in one.d.reload().stdout
        assert one.seen() == ["www.test", "*.www.test"]


def test_diff_and_rollback_of_a_certificate(served, files):
    one = served(files.leaf)
    one.put(files.rsa)
    out = one.d.ctl("config", "diff", one.d.config).stdout
    assert re.search(r"^  ~ certificate c: cert content ", out, re.M), out
    assert one.seen() == ["www.test", "*.www.test"]
    assert one.d.ctl("apply", one.d.config, "--confirm", "60s").returncode == 0
    assert one.seen() == ["rsa.test"]
    one.d.ctl("rollback", check=True)
    assert one.seen() == ["www.test", "*.www.test"]


def test_days_left_are_shown(served, files):
    one = served(files.soon)
    row = one.d.stats()["certificates"]["c"]
    until = openssl("x509", "-in", files.soon.cert, "-noout", "-enddate").decode().strip()
    assert ssl.cert_time_to_seconds(until.split("=")[1]) == row["not_after"]
    assert row["hosts"] == "soon.test" and row["subject"] == "CN=soon.test"
    assert re.search(r"^c +8d\d\dh +soon\.test", one.d.ctl("stats", "certificates").stdout, re.M)
    assert re.search(r"^c +expires in 8d\d\dh +soon\.test$", one.d.ctl("health").stdout, re.M)
    health = json.loads(one.d.ctl("-o", "json", "health").stdout)["certificates"]["c"]
    assert health["days_left"] == 8 and health["why"].startswith("expires in 8d")

    one.put(files.leaf)
    one.d.reload()
    assert one.d.stats()["certificates"]["c"]["hosts"] == "www.test, *.www.test"
    assert re.search(r"^c +good for 89d", one.d.ctl("health").stdout, re.M)


@pytest.mark.skipif(not CAN_MOUNT, reason="needs a view of files of its own for /etc/hosts")
@pytest.mark.parametrize("keys", ["on", "off"])
def test_keys_stay_when_a_name_resolves_at_last(served, files, tmp_path, keys):
    """No file is read for it: what files say by then comes with the next reload."""
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n")
    one = served(files.leaf, globals_=f"key_process = {keys}",
                 more="[route late]\npath = /late\nbackend = late\n"
                      "[backend late]\nserver = late.test:9\n",
                 wrapper=["unshare", "-m", "sh", "-c",
                          f'mount --bind {hosts} /etc/hosts && exec "$@"', "sh"])
    assert "does not resolve" in one.d.stderr()
    one.put(files.rsa)
    with open(hosts, "a", encoding="ascii") as stream:
        stream.write("127.0.0.1 late.test\n")
    one.d.wait_stats(lambda s: s["backends"]["late"]["servers"]["late.test:9"]["state"]
                     == "unchecked", timeout=30)
    for _ in range(4):
        assert one.seen() == ["www.test", "*.www.test"]
    one.d.reload()
    assert one.seen() == ["rsa.test"]


@pytest.mark.parametrize("keys", ["on", "off"])
def test_keys_come_back_with_the_process(served, files, program, keys):
    """A program that passes its trial and then finds its configuration broken gives the process
    back, with the certificate of before, whatever the files have by now."""
    one = served(files.leaf, globals_=f"key_process = {keys}", program=program)
    real = program.with_name("real")
    shutil.copy(RPD, real)
    one.d.replace_program("#!/bin/sh\nif grep -q mode=upgrade /proc/$$/fd/$RPD_HANDOFF; then\n"
                          f"cp {files.rsa.key} {one.folder}/c.key\nfi\nexec {real} \"$@\"\n")
    said = one.d.upgrade(status=1).stderr
    assert "does not match the certificate" in said, said
    for _ in range(4):
        assert one.seen() == ["www.test", "*.www.test"]
    pids = one.d.worker_pids()
    os.kill(pids[0], 9)
    one.d.wait_stats(lambda s: sum(w["state"] == "running" and w["pid"] != pids[0]
                                   for w in s["workers"]) == 2)
    for _ in range(8):
        assert one.seen() == ["www.test", "*.www.test"]
