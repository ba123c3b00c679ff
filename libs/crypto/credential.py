"""Custody of a user's key outside the HSM (design 4.4): the key that encrypts it comes from PIN and HSM together."""

import secrets
from dataclasses import astuple, dataclass
from typing import Self

from argon2.low_level import ARGON2_VERSION, Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from libs.crypto.errors import CryptoError
from libs.crypto.secrets import normal_pin

SALT_BYTES = 16
"""Bytes of a credential's random salt (RFC 9106 section 3.1)."""

_NONCE_BYTES = 12
_KEK_BYTES = 32
_KEK_DOMAIN = b"gpki.credential-kek.v1"
_WRAP_DOMAIN = b"gpki.credential-wrap.v1"


class WrongPin(CryptoError):
    """The tag of the wrapped key failed: another PIN, or another user's or credential's key."""


@dataclass(frozen=True, slots=True)
class Argon2Parameters:
    """Cost of Argon2id, kept with each credential, so that it can rise, at the next right PIN: 22 ms.

    Of the settings that OWASP's Password Storage Cheat Sheet holds for equal, the one of least memory, since the signer
    works beside others; who has the database alone tries no PIN without the HSM's pepper, whatever memory costs him.
    """

    memory_kib: int = 7 * 1024
    iterations: int = 5
    parallelism: int = 1

    def raises(self, kept: Self) -> bool:
        """Whether to seal again what is kept at another cost: these are higher in something, and lower in nothing."""
        return self != kept and all(ours >= theirs for ours, theirs in zip(astuple(self), astuple(kept), strict=True))


def argon2id(pin: str, salt: bytes, parameters: Argon2Parameters) -> bytes:
    """Argon2id (RFC 9106) of the PIN in NFC: 32 bytes. Blocks for its whole cost: call it off the event loop."""
    return hash_secret_raw(
        secret=normal_pin(pin).encode(),
        salt=salt,
        time_cost=parameters.iterations,
        memory_cost=parameters.memory_kib,
        parallelism=parameters.parallelism,
        hash_len=_KEK_BYTES,
        type=Type.ID,
        version=ARGON2_VERSION,
    )


def key_encryption_key(hsm_mac: bytes, *, user: str, credential_id: str) -> bytes:
    """HKDF-SHA256 over HMAC_HSM(pepper, Argon2id(PIN, salt)), bound to user and credential: 32 bytes.

    `hsm_mac` is the HMAC-SHA256 that the HSM made over `argon2id(...)`: a stolen database cannot test a PIN alone.
    """
    info = _bound(_KEK_DOMAIN, user, credential_id)
    return HKDF(algorithm=SHA256(), length=_KEK_BYTES, salt=None, info=info).derive(hsm_mac)


def seal_wrapped_key(
    kek: bytes,
    wrapped: bytes,
    *,
    user: str,
    credential_id: str,
) -> bytes:
    """Encrypt a key that the HSM wrapped (AES-256-GCM): a random 12-byte nonce, then the ciphertext with its tag."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(kek).encrypt(nonce, wrapped, _bound(_WRAP_DOMAIN, user, credential_id))


def open_wrapped_key(kek: bytes, blob: bytes, *, user: str, credential_id: str) -> bytes:
    """The inverse of `seal_wrapped_key`. Raises WrongPin when the tag fails."""
    try:
        nonce, ciphertext = blob[:_NONCE_BYTES], blob[_NONCE_BYTES:]
        return AESGCM(kek).decrypt(nonce, ciphertext, _bound(_WRAP_DOMAIN, user, credential_id))
    except (InvalidTag, ValueError):
        reason = "the PIN does not open this key"
    raise WrongPin(reason)


def _bound(domain: bytes, *fields: str) -> bytes:
    return domain + b"".join(len(data).to_bytes(2, "big") + data for data in map(str.encode, fields))
