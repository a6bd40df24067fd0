"""Certificates for tests, made with the openssl command: an authority, what it issues, and every
way in which a certificate can be wrong.

    ca = Authority(folder)                        # an EC root
    www = ca.issue("www.test", "*.www.test")      # .cert .key .chain (paths)
    below = ca.intermediate("Below")              # an authority that issues with a longer chain
    old = ca.issue("old.test", starts=-40, days=30)   # expired 10 days ago
"""

import datetime
import ipaddress
import itertools
import os
import pathlib
import subprocess

CONFIG = """\
[ca]
default_ca = this
[this]
dir = {folder}
database = {folder}/index.txt
serial = {folder}/serial
new_certs_dir = {folder}
certificate = {folder}/{label}.pem
private_key = {folder}/{label}.key
default_md = sha256
policy = any
unique_subject = no
email_in_dn = no
[any]
commonName = optional
[req]
distinguished_name = empty
[empty]
"""

LEAF = """\
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature, keyEncipherment
extendedKeyUsage = serverAuth, clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""

ISSUER = """\
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign, digitalSignature
subjectKeyIdentifier = hash
"""


def openssl(*words, **kw):
    """What the command prints; raises with what it complains of."""
    done = subprocess.run(["openssl", *map(str, words)], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False, **kw)
    assert done.returncode == 0, (words, done.stderr.decode())
    return done.stdout


def make_key(path, kind="ec", bits=2048, curve="prime256v1"):
    """A private key in PEM: kind ec, rsa, ed25519, or a name that openssl knows."""
    options = {"ec": ["-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{curve}"],
               "rsa": ["-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{bits}"]}
    openssl("genpkey", *options.get(kind, ["-algorithm", kind]), "-out", path)
    os.chmod(path, 0o600)
    return path


def encrypted(key, path, password="secret"):
    """The same key, in need of a password."""
    openssl("pkey", "-in", key, "-aes256", "-passout", f"pass:{password}", "-out", path)
    return path


def joined(path, *parts):
    """The files one after the other: a chain in an order of the caller's choice."""
    path = pathlib.Path(path)
    path.write_bytes(b"".join(pathlib.Path(part).read_bytes() for part in parts))
    return path


def at(days):
    """The time so many days from now, as `openssl ca` takes it."""
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)
    return moment.strftime("%Y%m%d%H%M%SZ")


def alternative(name):
    try:
        return f"IP:{ipaddress.ip_address(name)}"
    except ValueError:
        return f"DNS:{name}"


class Leaf:
    """A certificate that was issued: paths of the certificate alone, of its key, and of the chain
    that a server sends (the certificate, then the intermediate ones)."""

    def __init__(self, issuer, label, names):
        self.issuer, self.label, self.names = issuer, label, names
        self.cert = issuer.folder / f"{label}.pem"
        self.key = issuer.folder / f"{label}.key"
        self.chain = issuer.folder / f"{label}.chain.pem"

    def section(self, name=None, **more):
        """The [certificate] of rpd.ini."""
        lines = {"cert": self.chain, "key": self.key, **more}
        return f"[certificate {name or self.label}]\n" + "".join(
            f"{key} = {value}\n" for key, value in lines.items())

    def ocsp(self, path=None, days=7):
        """An OCSP response (DER) for it, signed by its issuer."""
        path = path or self.issuer.folder / f"{self.label}.ocsp"
        ca = self.issuer
        openssl("ocsp", "-index", ca.folder / "index.txt", "-CA", ca.cert, "-issuer", ca.cert,
                "-rsigner", ca.cert, "-rkey", ca.key, "-cert", self.cert, "-ndays", days,
                "-respout", path, "-noverify")
        return path


class Authority:
    """Issues certificates; `cert` is its own, `bundle` that of the root (what clients trust)."""

    def __init__(self, folder, name="Test CA", kind="ec", parent=None, days=3650, **key):
        self.folder = pathlib.Path(folder) / name.lower().replace(" ", "-")
        self.folder.mkdir(parents=True)
        self.name, self.parent = name, parent
        self.count = itertools.count(1)
        self.cert, self.key = self.folder / "ca.pem", self.folder / "ca.key"
        (self.folder / "index.txt").touch()
        (self.folder / "serial").write_text(f"{int.from_bytes(os.urandom(8), 'big') | 1 << 63:x}")
        (self.folder / "openssl.cnf").write_text(CONFIG.format(folder=self.folder, label="ca"))
        make_key(self.key, kind, **key)
        issuer = parent or self
        issuer.sign(self.key, self.cert, name, ISSUER, 0, days, is_root=parent is None)
        self.bundle = parent.bundle if parent else self.cert

    def sign(self, key, cert, common_name, extensions, starts, days, is_root=False):
        """A certificate for the key, valid from `starts` days from now for so many days."""
        config = self.folder / "openssl.cnf"
        request, extfile = cert.with_suffix(".csr"), cert.with_suffix(".ext")
        extfile.write_text(extensions)
        openssl("req", "-new", "-config", config, "-key", key, "-out", request,
                "-subj", f"/CN={common_name}" if common_name else "/")
        # A minute early: a clock that stands still a moment is no reason to fail.
        begin = at(starts - 1 / 1440) if starts == 0 else at(starts)
        openssl("ca", "-batch", "-notext", "-config", config, "-in", request, "-out", cert,
                "-extfile", extfile, "-startdate", begin, "-enddate", at(starts + days),
                *(["-selfsign", "-keyfile", key] if is_root else []))

    def intermediate(self, name="Intermediate CA", **more):
        """An authority below this one: what it issues has its certificate in the chain."""
        return Authority(self.folder, name, parent=self, **more)

    def revoke(self, leaf):
        """OCSP responses made from now on say so."""
        openssl("ca", "-config", self.folder / "openssl.cnf", "-revoke", leaf.cert)

    def issue(self, *names, kind="ec", days=90, starts=0, common_name=None, label=None,
              extensions=LEAF, key=None, **options):
        """A certificate for names or addresses; none: a name-less one, unless common_name."""
        label = label or f"{(names or ('leaf',))[0].replace('*', 'any')}-{next(self.count)}"
        leaf = Leaf(self, label, names)
        if key:
            leaf.key = pathlib.Path(key)
        else:
            make_key(leaf.key, kind, **options)
        if names:
            extensions += f"subjectAltName = {','.join(map(alternative, names))}\n"
        subject = common_name if common_name is not None else (names or ("",))[0]
        self.sign(leaf.key, leaf.cert, subject, extensions, starts, days)
        parts, above = [leaf.cert], self
        while above.parent:
            parts.append(above.cert)
            above = above.parent
        joined(leaf.chain, *parts)
        return leaf
