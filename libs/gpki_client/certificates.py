"""Certificates up to a pinned root (RFC 5280), for the sealing key and for officers; CRLs are `record`'s business."""

from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from .errors import CertificateError

_KNOWN_CRITICAL = (x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage)
HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What `cryptography` raises for a certificate or a CRL that it cannot read."""

E = TypeVar("E", bound=x509.ExtensionType)


def load(certificate: bytes) -> x509.Certificate:
    """Read PEM or DER. Raises CertificateError."""
    try:
        if certificate.lstrip().startswith(b"-----BEGIN"):
            return x509.load_pem_x509_certificate(certificate)
        return x509.load_der_x509_certificate(certificate)
    except UNREADABLE:
        raise CertificateError("not a certificate") from None


def path_to(
    root: x509.Certificate, leaf: x509.Certificate, others: Sequence[x509.Certificate], *, at: datetime, length: int
) -> list[x509.Certificate]:
    """The certificates from `leaf` to `root`, both included, at most `length`, all valid at `at`.

    Raises CertificateError.
    """
    path = [leaf]
    while path[-1] != root:
        issuer = next((one for one in (root, *others) if one not in path and _issued(path[-1], one)), None)
        if issuer is None or len(path) == length or not _may_issue(issuer, below=len(path) - 1):
            raise CertificateError("no path to the pinned root")
        path.append(issuer)
    for certificate in path:
        _usable(certificate, at)
    return path


def extension(certificate: x509.Certificate, kind: type[E]) -> E | None:
    """The value of an extension, if the certificate has it. Raises CertificateError."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
    except UNREADABLE:
        raise CertificateError("unreadable extensions") from None


def purposes(certificate: x509.Certificate) -> set[str] | None:
    """The extended key usages as dotted names; None when there is no such extension."""
    usage = extension(certificate, x509.ExtendedKeyUsage)
    return None if usage is None else {purpose.dotted_string for purpose in usage}


def _issued(child: x509.Certificate, parent: x509.Certificate) -> bool:
    try:
        child.verify_directly_issued_by(parent)
    except (*UNREADABLE, InvalidSignature):
        return False
    return True


def _may_issue(certificate: x509.Certificate, *, below: int) -> bool:
    constraints, usage = extension(certificate, x509.BasicConstraints), extension(certificate, x509.KeyUsage)
    if constraints is None or not constraints.ca or usage is None or not (usage.key_cert_sign and usage.crl_sign):
        return False
    key = certificate.public_key()
    strong = isinstance(key, ec.EllipticCurvePublicKey) or (isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048)
    return strong and (constraints.path_length is None or below <= constraints.path_length)


def _usable(certificate: x509.Certificate, at: datetime) -> None:
    if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
        raise CertificateError("outside its validity")
    try:
        critical = [one.value for one in certificate.extensions if one.critical]
        weak = not isinstance(certificate.signature_hash_algorithm, HASHES)
    except UNREADABLE:
        raise CertificateError("unreadable extensions or algorithm") from None
    if weak or any(not isinstance(value, _KNOWN_CRITICAL) for value in critical):
        raise CertificateError("critical extension or signature algorithm")
