"""Secrets of the embedded stack: random, one file each, readable only by their owner; and PostgreSQL's verifier."""

import base64
import hashlib
import hmac
import secrets
from pathlib import Path

from deploy.native.failures import StackError
from libs.runtime import secret_files
from libs.runtime.settings import ConfigurationError

SCRAM_ITERATIONS = 4096
"""PostgreSQL's own default; the passwords are 192 random bits, so stretching adds nothing."""


def ensure_secret(directory: Path, name: str) -> str:
    """Return the secret `directory/name`, made with 192 random bits (directory 0700, file 0600) if it is not there.

    Raises StackError when others may read the one that is there.
    """
    try:
        return secret_files.ensure_secret(directory, name, _new_secret).decode().strip()
    except ConfigurationError as error:
        raise StackError(str(error), "see who read or changed it, and let only its owner") from None


def _new_secret() -> bytes:
    return secrets.token_urlsafe(24).encode()  # no end of line: Kafka takes every byte of the file


def scram_verifier(password: str, salt: bytes) -> str:
    """Return the SCRAM-SHA-256 verifier that PostgreSQL stores for an ASCII password (RFC 5802, RFC 7677).

    Sent instead of the password, so that no statement, and no log of one, ever holds it.
    """
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, SCRAM_ITERATIONS)
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    parts = (base64.b64encode(part).decode() for part in (salt, stored_key, server_key))
    return "SCRAM-SHA-256${iterations}:{}${}:{}".format(*parts, iterations=SCRAM_ITERATIONS)
