"""Validation of service certificates under the pinned service root: one purpose each, never another."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from libs.crypto.algorithms import is_strong
from libs.crypto.certificates import CertificateError, CertificateFacts, certificate_facts, is_issued_by
from libs.crypto.errors import CryptoError
from libs.crypto.path import may_issue
from libs.crypto.pki import OFFICE_URI, SERVICE_PROFILES, ServicePurpose


class ServiceCertificateError(CryptoError):
    """A service certificate that may not be used; the text names the rule."""


@dataclass(frozen=True, slots=True)
class ServiceIdentity:
    """Whom a valid service certificate names. `key_id` is the SHA-256 of the SubjectPublicKeyInfo, in hex.

    `unit` is the organizational unit, for a caller its system; None when there is none, or more than one. `offices` are
    those that a caller may name, all of them when it is empty.
    """

    name: str
    purpose: ServicePurpose
    key_id: str
    public_key: Any
    not_after: datetime
    unit: str | None
    offices: frozenset[str] = frozenset()


def validate_service_certificate(
    certificate: bytes, chain: Sequence[bytes], *, service_root: bytes, purpose: ServicePurpose, at: datetime
) -> ServiceIdentity:
    """Check a caller's, producer's or sealing key's certificate, all in DER, to the pinned root.

    The purpose must be the certificate's only extended key usage, and that of the authority between it and the root:
    the sealing authority can make sealing keys and nothing else. Beside it stands at most what its profile has `also`:
    a caller is a client of TLS, too. These certificates have no CRL: they are withdrawn by `gpki.keys.v1`. Raises
    ServiceCertificateError.
    """
    try:
        root, leaf, *others = (certificate_facts(der) for der in (service_root, certificate, *chain))
    except CertificateError:
        raise ServiceCertificateError("not a certificate") from None
    profile = SERVICE_PROFILES[purpose]
    path = _path(leaf, others, root)
    for facts in path:
        if facts.unknown_critical or not facts.strong_signature:
            raise ServiceCertificateError("critical extension or signature algorithm")
        if not facts.not_before <= at <= facts.not_after:
            raise ServiceCertificateError("outside its validity")
        if facts is not root and not profile.is_said_by(facts.extended_key_usage):
            raise ServiceCertificateError("another purpose")
    usage = leaf.key_usage
    if leaf.is_ca or usage is None or not (usage.key_agreement if profile.agrees else usage.digital_signature):
        raise ServiceCertificateError("key usage")
    if not isinstance(leaf.public_key, profile.key_types) or not (profile.agrees or is_strong(leaf.public_key)):
        raise ServiceCertificateError("kind of key")
    name, unit = _name_and_unit(leaf.certificate)
    return ServiceIdentity(
        name,
        purpose,
        leaf.spki_sha256.hex(),
        leaf.public_key,
        leaf.not_after,
        unit,
        _offices(leaf.certificate),
    )


def _name_and_unit(certificate: x509.Certificate) -> tuple[str, str | None]:
    try:
        subject = certificate.subject
    except ValueError:  # read only here: its bytes were compared, not its content
        raise ServiceCertificateError("name") from None
    names = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(names) != 1:
        raise ServiceCertificateError("name")
    units = subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    return str(names[0].value), str(units[0].value) if len(units) == 1 else None


def _offices(certificate: x509.Certificate) -> frozenset[str]:
    """Raises ServiceCertificateError for names that cannot be read: they may restrict."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    except ValueError:
        raise ServiceCertificateError("names") from None
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return frozenset(uri.removeprefix(OFFICE_URI) for uri in uris if uri.startswith(OFFICE_URI))


def _path(leaf: CertificateFacts, others: list[CertificateFacts], root: CertificateFacts) -> list[CertificateFacts]:
    """Leaf, at most one authority, root."""
    path = [leaf]
    for below in range(2):
        issuer = next((one for one in (root, *others) if one is not path[-1] and is_issued_by(path[-1], one)), None)
        if issuer is None or not may_issue(issuer, below=below) or not is_strong(issuer.public_key):
            break
        path.append(issuer)
        if issuer is root:
            return path
    raise ServiceCertificateError("no path to the service root")
