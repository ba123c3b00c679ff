"""What the rest of this room needs to know of one X.509 certificate, read once and kept."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import ExtensionOID

from libs.crypto.algorithms import CA_ALGORITHMS
from libs.crypto.der import CONTEXT_0, INTEGER, SEQUENCE, DerError, encode, expect, read
from libs.crypto.errors import CryptoError
from libs.crypto.public_keys import spki_sha256

_KEPT = 8192
"""Certificates kept at most, about 5 KB each."""

_PROCESSED = frozenset({ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE, ExtensionOID.EXTENDED_KEY_USAGE})
"""Critical extensions that validation here really acts on; any other critical one makes a certificate unusable."""


UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What `cryptography` raises for a certificate, or a request for one, that it cannot read."""


class CertificateError(CryptoError):
    """Bytes that are not a certificate that can be judged."""


@dataclass(frozen=True, slots=True, eq=False)
class CertificateFacts:
    """One certificate; `issuer_and_serial` and names are DER; times are UTC; `path_length` None means no limit."""

    certificate: x509.Certificate
    fingerprint: bytes
    subject: bytes
    issuer: bytes
    serial: int
    issuer_and_serial: bytes
    key_id: bytes | None
    authority_key_id: bytes | None
    public_key: Any
    spki_sha256: bytes
    strong_signature: bool
    not_before: datetime
    not_after: datetime
    is_ca: bool
    path_length: int | None
    key_usage: x509.KeyUsage | None
    extended_key_usage: frozenset[str] | None
    unknown_critical: bool


@lru_cache(maxsize=_KEPT)
def certificate_facts(der: bytes) -> CertificateFacts:
    """Read a certificate. Raises CertificateError when it cannot be parsed or has a key of no known kind."""
    try:
        return _read(der)
    except UNREADABLE:
        pass
    raise CertificateError("not a certificate")


def is_issued_by(child: CertificateFacts, parent: CertificateFacts) -> bool:
    """Whether names, key identifiers and signature say that `parent` issued `child` (RFC 5280 section 6.1.3 a)."""
    if child.issuer != parent.subject or child.authority_key_id not in {None, parent.key_id}:
        return False
    try:
        child.certificate.verify_directly_issued_by(parent.certificate)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _read(der: bytes) -> CertificateFacts:
    certificate = x509.load_der_x509_certificate(der)
    extensions = certificate.extensions
    found = {extension.oid: extension.value for extension in extensions}
    constraints: Any = found.get(ExtensionOID.BASIC_CONSTRAINTS)
    usage: Any = found.get(ExtensionOID.EXTENDED_KEY_USAGE)
    key_id: Any = found.get(ExtensionOID.SUBJECT_KEY_IDENTIFIER)
    authority: Any = found.get(ExtensionOID.AUTHORITY_KEY_IDENTIFIER)
    key_usage: Any = found.get(ExtensionOID.KEY_USAGE)
    serial, issuer, subject, algorithm = _names(der)
    public_key = certificate.public_key()
    return CertificateFacts(
        certificate=certificate,
        fingerprint=hashlib.sha256(der).digest(),
        subject=subject,
        issuer=issuer,
        serial=certificate.serial_number,
        issuer_and_serial=encode(SEQUENCE, issuer, serial),
        key_id=key_id.digest if key_id else None,
        authority_key_id=authority.key_identifier if authority else None,
        public_key=public_key,
        spki_sha256=spki_sha256(public_key),
        strong_signature=algorithm in CA_ALGORITHMS,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        is_ca=bool(constraints and constraints.ca),
        path_length=constraints.path_length if constraints else None,
        key_usage=key_usage,
        extended_key_usage=frozenset(oid.dotted_string for oid in usage) if usage else None,
        unknown_critical=any(extension.critical and extension.oid not in _PROCESSED for extension in extensions),
    )


def _names(der: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Serial number, issuer, subject and signature algorithm, byte for byte as the certificate has them."""
    start, stop = expect(der, 0, len(der), SEQUENCE)
    at, end = expect(der, start, stop, SEQUENCE)
    tag, _, after = read(der, at, end)
    if tag != CONTEXT_0:
        raise DerError("not version 3")
    serial, algorithm, issuer, _, subject = _slices(der, after, end, (INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE))
    return serial, issuer, subject, algorithm


def _slices(der: bytes, at: int, end: int, tags: tuple[int, ...]) -> list[bytes]:
    found = []
    for tag in tags:
        _, stop = expect(der, at, end, tag)
        found.append(der[at:stop])
        at = stop
    return found
