"""HPKE sealing of what only the signer may read (RFC 9180, base mode: X25519, HKDF-SHA256, AES-256-GCM)."""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from libs.crypto.errors import CryptoError

PURPOSE_AUTHORISATION = "authorisation"
"""PIN and OTP of one request; fields: request id, root, sealing-key id."""

PURPOSE_CHALLENGE = "activation-challenge"
"""The activation challenge of one request; fields: request id, root, sealing-key id."""

PURPOSE_ENROLMENT_PIN = "enrolment-pin"
"""A PIN that is set; fields: user, credential id, sealing-key id."""

PURPOSE_PIN_CHANGE = "pin-change"
"""The PIN that was and the PIN that is to be; fields: change id, user, credential id, sealing-key id."""

PURPOSE_OTP_MESSAGE = "otp-message"
"""The message that carries an OTP to GPKI Mobile, sealed to the device; fields: request id, device id."""

PURPOSE_NOTICE = "notice"
"""What GPKI Mobile is told of a change, sealed to the device; fields: notice id, device id."""

_DOMAIN = b"gpki.sealing.v1"

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class SealError(CryptoError):
    """A sealed message could not be opened: wrong key, wrong info or altered; which, is never told."""


def sealing_info(purpose: str, *fields: bytes | str) -> bytes:
    """The `info` that binds a sealed message to its purpose and place.

    Layout: "gpki.sealing.v1", then purpose and each field as a 2-byte big-endian length and the bytes; text is UTF-8.
    Fields of an authorisation and of a challenge: request id, root (32 bytes), sealing-key id.
    """
    parts = [_DOMAIN]
    for field in (purpose, *fields):
        data = field.encode() if isinstance(field, str) else field
        parts += [len(data).to_bytes(2, "big"), data]
    return b"".join(parts)


def seal(plaintext: bytes, public_key: X25519PublicKey, info: bytes) -> bytes:
    """Seal to a public key; returns the 32-byte encapsulated key, then the ciphertext with its 16-byte tag."""
    return _SUITE.encrypt(plaintext, public_key, info)


def open_sealed(blob: bytes, private_key: X25519PrivateKey, info: bytes) -> bytes:
    """Open what `seal` made with the same info. Raises SealError for everything else."""
    try:
        return _SUITE.decrypt(blob, private_key, info)
    except (InvalidTag, ValueError):
        reason = "sealed message cannot be opened"
    raise SealError(reason)
