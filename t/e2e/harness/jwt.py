"""Signed tokens (JWT) for tests; the openssl command signs."""
import base64
import json
import subprocess
import time

from .certs import make_key, openssl


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _raw_ecdsa(der, half=32):
    """r and s of a DER signature, one behind the other."""
    numbers, at = b"", 2
    for _ in range(2):
        n = der[at + 1]
        numbers += der[at + 2:at + 2 + n].lstrip(b"\0").rjust(half, b"\0")
        at += 2 + n
    return numbers


class Issuer:
    """Who signs: a key of a kind (rsa, ec, ed25519), and the public file of it."""
    ALG = {"rsa": "RS256", "ec": "ES256", "ed25519": "EdDSA"}

    def __init__(self, folder, kind="ec", name="issuer"):
        self.kind = kind
        self.key = make_key(folder / f"{name}.key", kind)
        self.public = folder / f"{name}.pem"
        openssl("pkey", "-in", self.key, "-pubout", "-out", self.public)
        self.message = folder / f"{name}.message"

    def sign(self, message):
        self.message.write_bytes(message)
        words = ["dgst", "-sha256", "-sign", self.key, self.message]
        if self.kind == "ed25519":
            words = ["pkeyutl", "-sign", "-rawin", "-inkey", self.key, "-in", self.message]
        done = subprocess.run(["openssl", *map(str, words)], stdout=subprocess.PIPE, check=True)
        return _raw_ecdsa(done.stdout) if self.kind == "ec" else done.stdout

    def token(self, header=None, **claims):
        head = {"alg": self.ALG[self.kind], "typ": "JWT"} | (header or {})
        text = b64url(json.dumps(head).encode()) + "." + b64url(json.dumps(claims).encode())
        return text + "." + b64url(self.sign(text.encode()))


def bearer(token):
    return [("Authorization", f"Bearer {token}")]


def in_seconds(seconds):
    """A NumericDate."""
    return int(time.time()) + seconds
