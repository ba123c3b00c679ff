"""Sealing where it is typed (RFC 9180, base mode, X25519, HKDF-SHA256, AES-256-GCM), to a judged key only."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from . import certificates
from .caller import key_id_of
from .errors import CertificateError, SealingError, SecretsError

OID_SEALING = "2.25.183645352485712426886450355761786006644"
"""The extended key usage of sealing keys and of the authority that certifies them: their only one."""

PIN_MIN, PIN_MAX = 8, 64
"""Characters of a PIN in NFC."""

_DOMAIN = b"gpki.sealing.v1"
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def sealing_info(purpose: str, *fields: bytes | str) -> bytes:
    """What binds a sealed message to its place: the domain, then purpose and fields, each with a 2-byte length."""
    parts = [field.encode() if isinstance(field, str) else field for field in (purpose, *fields)]
    return _DOMAIN + b"".join(len(part).to_bytes(2, "big") + part for part in parts)


def seal(plaintext: bytes, key: X25519PublicKey, info: bytes) -> bytes:
    """The 32-byte encapsulated key, then the ciphertext with its tag."""
    return _SUITE.encrypt(plaintext, key, info)


def open_sealed(sealed: bytes, key: X25519PrivateKey, info: bytes) -> bytes:
    """The plaintext. Raises SealingError for another key, another info or an altered message: which, is not told."""
    try:
        return _SUITE.decrypt(sealed, key, info)
    except (InvalidTag, ValueError):
        pass
    raise SealingError("the sealed message does not open")


def encode_pin(pin: str) -> bytes:
    """258 bytes for any PIN: length of its UTF-8 in NFC (2 bytes, big-endian), that, and zeros. Raises SecretsError."""
    normal = unicodedata.normalize("NFC", pin)
    if not PIN_MIN <= len(normal) <= PIN_MAX:
        raise SecretsError(f"a PIN has {PIN_MIN} to {PIN_MAX} characters")
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in normal):
        raise SecretsError("a PIN has no control characters")
    data = normal.encode()
    return len(data).to_bytes(2, "big") + data.ljust(4 * PIN_MAX, b"\0")


def encode_secrets(pin: str, otp: str) -> bytes:
    """265 bytes: version 1, six digits, the encoded PIN. Raises SecretsError."""
    if not re.fullmatch(r"[0-9]{6}", otp):
        raise SecretsError("an OTP has six digits")
    return b"\x01" + otp.encode() + encode_pin(pin)


@dataclass(frozen=True)
class SealingKey:
    """The signer's key of the day, judged by `judge`."""

    key_id: str
    public_key: X25519PublicKey

    @classmethod
    def judge(cls, key_id: str, chain: Sequence[bytes], *, service_root: bytes, at: datetime) -> "SealingKey":
        """Judge a key as the API gave it: `chain` in DER, its own certificate first, under the root that you pinned.

        Raises SealingError; CertificateError, which names the rule.
        """
        if not chain:
            raise SealingError("no certificate")
        root = certificates.load(service_root)
        leaf, *others = map(certificates.load, chain)
        path = certificates.path_to(root, leaf, others, at=at, length=3)
        if any(certificates.purposes(one) != {OID_SEALING} for one in path[:-1]):
            raise CertificateError("another purpose")
        usage = certificates.extension(leaf, x509.KeyUsage)
        constraints = certificates.extension(leaf, x509.BasicConstraints)
        public_key = leaf.public_key()
        if usage is None or not usage.key_agreement or (constraints is not None and constraints.ca):
            raise CertificateError("key usage")
        if not isinstance(public_key, X25519PublicKey):
            raise CertificateError("kind of key")
        if key_id_of(public_key) != key_id:
            raise SealingError("another key than it is named")
        return cls(key_id, public_key)

    def seal_authorisation(self, *, pin: str, otp: str, request_id: UUID, root: bytes) -> bytes:
        """PIN and OTP for this request and these very documents, readable by the signer only. Raises SecretsError."""
        info = sealing_info("authorisation", str(request_id), root, self.key_id)
        return seal(encode_secrets(pin, otp), self.public_key, info)

    def seal_pin(self, pin: str, *, user: str, credential_id: UUID) -> bytes:
        """The PIN that an officer chose for a credential that is yet to be made. Raises SecretsError."""
        info = sealing_info("enrolment-pin", user, str(credential_id), self.key_id)
        return seal(encode_pin(pin), self.public_key, info)

    def seal_pin_change(self, old: str, new: str, *, change: UUID, user: str, credential_id: UUID) -> bytes:
        """Both PINs of one change, readable by the signer only; `Device.pin_change` signs it. Raises SecretsError."""
        info = sealing_info("pin-change", str(change), user, str(credential_id), self.key_id)
        return seal(b"\x01" + encode_pin(old) + encode_pin(new), self.public_key, info)
