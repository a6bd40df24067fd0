"""Certificates of this run, made with openssl: the same for all proxies."""
import dataclasses
import functools
import pathlib
import subprocess
import tempfile

KEYS = {"ecdsa": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
        "rsa": ["rsa", "-pkeyopt", "rsa_keygen_bits:2048"]}
NAME = "bench"  # that load asks for


@dataclasses.dataclass(frozen=True)
class Certificate:
    cert: pathlib.Path
    key: pathlib.Path
    both: pathlib.Path


@functools.cache
def folder():
    """It goes with the process."""
    return tempfile.TemporaryDirectory(prefix="rpd-bench-")


@functools.cache
def certificate(key):
    """One with a key of KEYS."""
    paths = [pathlib.Path(folder().name, f"{key}.{end}") for end in ("crt", "key", "pem")]
    made = Certificate(*paths)
    subprocess.run(["openssl", "req", "-x509", "-newkey", *KEYS[key], "-nodes", "-days", "30",
                    "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}",
                    "-keyout", made.key, "-out", made.cert], check=True, stderr=subprocess.DEVNULL)
    made.both.write_bytes(made.cert.read_bytes() + made.key.read_bytes())
    return made
