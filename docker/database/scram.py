"""Passwords as PostgreSQL keeps them (RFC 5803), made here so that no statement and no log has one in it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets

_ITERATIONS = 4096


def make_verifier(password: str, salt: bytes = b"") -> str:
    """Return what PostgreSQL stores for a password.

    :param password: of ASCII, which needs no normalisation
    :param salt: a new one by default
    """
    salt = salt or secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ITERATIONS)
    client = hmac.digest(salted, b"Client Key", "sha256")
    server = hmac.digest(salted, b"Server Key", "sha256")
    stored = hashlib.sha256(client).digest()
    return f"SCRAM-SHA-256${_ITERATIONS}:{_base64(salt)}${_base64(stored)}:{_base64(server)}"


def fits(verifier: str, password: str) -> bool:
    """Tell whether a verifier of ours is that of a password."""
    match = re.fullmatch(r"SCRAM-SHA-256\$\d+:([^$]+)\$.*", verifier)
    if match is None:
        return False
    return hmac.compare_digest(make_verifier(password, base64.b64decode(match[1])), verifier)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
