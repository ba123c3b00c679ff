"""The code at rest, between reservation and record: encrypted to this service itself."""

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12
_DOMAIN = b"gpki.otp-code.v1"


class CodeLost(Exception):
    """The code was wiped, or encrypted under another key, or its row was altered."""


class CodeBox:
    """AES-256-GCM, bound to the place where the code lies. Codes live 15 minutes: no nonce ever repeats in practice."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def close(self, code: str, place: bytes) -> bytes:
        """Encrypt."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, code.encode(), _DOMAIN + place)

    def open(self, closed: bytes, place: bytes) -> str:
        """Decrypt. Raises CodeLost."""
        try:
            return self._cipher.decrypt(closed[:_NONCE_BYTES], closed[_NONCE_BYTES:], _DOMAIN + place).decode()
        except (InvalidTag, ValueError):
            pass
        raise CodeLost
