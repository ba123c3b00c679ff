"""Builders for the certificates and CRLs of both trees: officers (root, issuing CA) and services (service root)."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from libs.crypto.algorithms import document_algorithm, is_strong
from libs.crypto.certificates import UNREADABLE
from libs.crypto.errors import CryptoError

OFFICE_URI = "urn:gpki:office:"
"""Before an office, in the subjectAltName of a caller that may name these offices alone."""

OID_DOCUMENT_SIGNING = "1.3.6.1.5.5.7.3.36"
"""Extended key usage id-kp-documentSigning (RFC 9336)."""

OID_CALLER = "2.25.185838030140558576109990206311228979238"
OID_REGISTRAR = "2.25.230141527991655384750509550365693275741"
OID_PRODUCER = "2.25.82430906570615685792089558486482243885"
OID_SECURITY_OFFICER = "2.25.311563270935412788402938402671298346021"
OID_SEALING = "2.25.183645352485712426886450355761786006644"
"""Extended key usages of service certificates: private arcs under 2.25 (ITU-T X.667), one per purpose."""

OID_CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"
"""Extended key usage id-kp-clientAuth (RFC 5280 section 4.2.1.12): a TLS server takes no client without it."""

SigningKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
"""An authority's key; an adapter of an HSM key that subclasses one of these is accepted (tested)."""

SubjectKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | x25519.X25519PublicKey


class PkiError(CryptoError):
    """A certification request or a revocation that may not be honoured."""


class ServicePurpose(StrEnum):
    """What a service certificate is for; a certificate has exactly one purpose."""

    CALLER = "caller"
    REGISTRAR = "registrar"
    PRODUCER = "producer"
    SEALING = "sealing"
    SECURITY_OFFICER = "security-officer"


@dataclass(frozen=True, slots=True)
class ServiceProfile:
    """How a purpose is marked, and which keys may have it."""

    oid: str
    key_types: tuple[type, ...]
    agrees: bool
    """Whether the key is for key agreement, not for signatures."""
    beside: frozenset[str] = frozenset()
    """Usages of others, not ours, that its certificate has beside its own, and may lack."""

    def is_said_by(self, usages: frozenset[str] | None) -> bool:
        """Whether a certificate with these extended key usages is for this purpose, and for none of ours beside it."""
        return usages is not None and usages - self.beside == {self.oid}


SERVICE_PROFILES = {
    ServicePurpose.CALLER: ServiceProfile(
        OID_CALLER,
        (ed25519.Ed25519PublicKey, ec.EllipticCurvePublicKey, rsa.RSAPublicKey),
        agrees=False,
        beside=frozenset({OID_CLIENT_AUTH}),
    ),
    ServicePurpose.REGISTRAR: ServiceProfile(
        OID_REGISTRAR, (ed25519.Ed25519PublicKey, ec.EllipticCurvePublicKey, rsa.RSAPublicKey), agrees=False
    ),
    ServicePurpose.PRODUCER: ServiceProfile(OID_PRODUCER, (ed25519.Ed25519PublicKey,), agrees=False),
    ServicePurpose.SECURITY_OFFICER: ServiceProfile(OID_SECURITY_OFFICER, (ed25519.Ed25519PublicKey,), agrees=False),
    ServicePurpose.SEALING: ServiceProfile(OID_SEALING, (x25519.X25519PublicKey,), agrees=True),
}


@dataclass(frozen=True, slots=True)
class Issuer:
    """An authority: its certificate and the key that belongs to it."""

    certificate: x509.Certificate
    key: SigningKey


@dataclass(frozen=True, slots=True)
class Validity:
    """From and until, both inclusive, aware, whole seconds."""

    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class RevokedCertificate:
    """One CRL entry."""

    serial: int
    date: datetime
    reason: x509.ReasonFlags = x509.ReasonFlags.unspecified


def distinguished_name(
    common_name: str, *, serial_number: str | None = None, organizational_unit: str | None = None
) -> x509.Name:
    """C=MY, O=Kerajaan Malaysia, CN; OU for a caller: its system; serialNumber for an officer: No. Kad Pengenalan."""
    attributes = [
        x509.NameAttribute(NameOID.COUNTRY_NAME, "MY"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Kerajaan Malaysia"),
    ]
    if organizational_unit is not None:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, organizational_unit))
    attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    if serial_number is not None:
        attributes.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, serial_number))
    return x509.Name(attributes)


def build_root(key: SigningKey, *, name: x509.Name, serial: int, validity: Validity) -> x509.Certificate:
    """A self-signed root of either tree that allows one tier of authorities below."""
    builder = _builder(name, name, key.public_key(), serial, validity)
    return _ca(builder, path_length=1).sign(key, hashes.SHA256())


def build_issuing_ca(
    issuer: Issuer, public_key: SubjectKey, *, name: x509.Name, serial: int, validity: Validity, crl_url: str
) -> x509.Certificate:
    """The authority that issues officers' certificates; `crl_url` is where its issuer's CRL is."""
    builder = _below(issuer, public_key, name, serial, validity).add_extension(_crl_at(crl_url), critical=False)
    return _ca(builder, path_length=0).sign(issuer.key, hashes.SHA256())


def build_officer(
    issuer: Issuer, public_key: SubjectKey, *, name: x509.Name, serial: int, validity: Validity, crl_url: str
) -> x509.Certificate:
    """An officer's signing certificate: digitalSignature and nonRepudiation, document signing. Raises PkiError."""
    if document_algorithm(public_key) is None or not is_strong(public_key):
        raise PkiError("an officer's key is RSA from 2048 bits or P-256")
    builder = _below(issuer, public_key, name, serial, validity)
    builder = builder.add_extension(_usage(digital_signature=True, content_commitment=True), critical=True)
    builder = builder.add_extension(_extended(OID_DOCUMENT_SIGNING), critical=False)
    return builder.add_extension(_crl_at(crl_url), critical=False).sign(issuer.key, hashes.SHA256())


def build_service(
    issuer: Issuer,
    public_key: SubjectKey,
    *,
    purpose: ServicePurpose,
    name: x509.Name,
    serial: int,
    validity: Validity,
    offices: Iterable[str] = (),
) -> x509.Certificate:
    """A caller, registrar, producer or sealing-key certificate; of a caller, the only offices that it may name.

    Raises PkiError for a key that its purpose forbids.
    """
    profile = SERVICE_PROFILES[purpose]
    if not isinstance(public_key, profile.key_types) or not (profile.agrees or is_strong(public_key)):
        raise PkiError("the purpose does not allow this kind of key")
    builder = _below(issuer, public_key, name, serial, validity)
    usage = _usage(key_agreement=True) if profile.agrees else _usage(digital_signature=True)
    builder = builder.add_extension(usage, critical=True)
    uris = [x509.UniformResourceIdentifier(OFFICE_URI + office) for office in offices]
    if uris:
        builder = builder.add_extension(x509.SubjectAlternativeName(uris), critical=False)
    return builder.add_extension(_extended(profile.oid, *profile.beside), critical=True).sign(
        issuer.key, hashes.SHA256()
    )


def build_sealing_authority(
    issuer: Issuer, public_key: SubjectKey, *, name: x509.Name, serial: int, validity: Validity
) -> x509.Certificate:
    """hsm_signer's authority for daily sealing keys; its extended key usage keeps it from making callers."""
    builder = _below(issuer, public_key, name, serial, validity).add_extension(_extended(OID_SEALING), critical=True)
    return _ca(builder, path_length=0).sign(issuer.key, hashes.SHA256())


def build_crl(
    issuer: Issuer,
    *,
    number: int,
    this_update: datetime,
    next_update: datetime,
    revoked: Iterable[RevokedCertificate],
) -> bytes:
    """A complete CRL in DER, with number and authority key identifier; entries sorted by serial."""
    entries = []
    for item in sorted(revoked, key=lambda entry: entry.serial):
        entry = x509.RevokedCertificateBuilder(item.serial, item.date)
        if item.reason is not x509.ReasonFlags.unspecified:  # RFC 5280 section 5.3.1: leave it out
            entry = entry.add_extension(x509.CRLReason(item.reason), critical=False)
        entries.append(entry.build())
    # All entries at once: add_revoked_certificate copies the list each time, quadratic past 30,000.
    builder = (
        x509.CertificateRevocationListBuilder(revoked_certificates=entries)
        .issuer_name(issuer.certificate.subject)
        .last_update(this_update)
        .next_update(next_update)
        .add_extension(_authority_key_id(issuer.certificate), critical=False)
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.DER)


def requested_key(der: bytes) -> SubjectKey:
    """The public key of a PKCS#10 request whose proof of possession holds. Raises PkiError.

    Everything else in the request is ignored: names and extensions are the authority's to decide.
    """
    try:
        request = x509.load_der_x509_csr(der)
        key = request.public_key() if request.is_signature_valid else None
    except UNREADABLE:
        key = None
    if key is None or not is_strong(key):
        raise PkiError("no valid certification request")
    return key  # type: ignore[return-value]  # is_strong admits signature keys only


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: SubjectKey, serial: int, validity: Validity
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(serial)
        .not_valid_before(validity.not_before)
        .not_valid_after(validity.not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _below(
    issuer: Issuer, public_key: SubjectKey, name: x509.Name, serial: int, validity: Validity
) -> x509.CertificateBuilder:
    builder = _builder(name, issuer.certificate.subject, public_key, serial, validity)
    return builder.add_extension(_authority_key_id(issuer.certificate), critical=False)


def _ca(builder: x509.CertificateBuilder, *, path_length: int) -> x509.CertificateBuilder:
    return builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True).add_extension(
        _usage(key_cert_sign=True, crl_sign=True), critical=True
    )


def _authority_key_id(certificate: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    key_id = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id)


def _extended(*oids: str) -> x509.ExtendedKeyUsage:
    return x509.ExtendedKeyUsage([x509.ObjectIdentifier(oid) for oid in oids])


def _crl_at(url: str) -> x509.CRLDistributionPoints:
    point = x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None)
    return x509.CRLDistributionPoints([point])


def _usage(
    *,
    digital_signature: bool = False,
    content_commitment: bool = False,
    key_agreement: bool = False,
    key_cert_sign: bool = False,
    crl_sign: bool = False,
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=content_commitment,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=key_agreement,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )
