"""Detached CAdES-B signatures (RFC 5652, ETSI EN 319 122-1) of the platform's one profile, whoever holds the key."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate

from . import certificates
from .der import CONTEXT_0, INTEGER, OCTET_STRING, SEQUENCE, SET, UTC_TIME, UTF8_STRING, children, encode, encode_oid
from .errors import CertificateError

COMMITMENTS = {
    "sah": "2.25.290109310110680859644059387974447391490",
    "peraku": "2.25.151748329212122844528561886919056172988",
}
"""Action to commitment type."""

ATTRIBUTES = {
    "content_type": "1.2.840.113549.1.9.3",
    "signing_time": "1.2.840.113549.1.9.5",
    "digest": "1.2.840.113549.1.9.4",
    "certificate": "1.2.840.113549.1.9.16.2.47",
    "action": "1.2.840.113549.1.9.16.2.16",
    "document_id": "2.25.99171904974951802788379401384360554215",
    "system": "2.25.315404191997391793837440684322557512160",
    "root": "2.25.48523313358066902325860532718352016225",
}
"""The signed attributes: these eight, each once, and no others."""

RSA_SHA256 = encode(SEQUENCE, encode_oid("1.2.840.113549.1.1.11"), b"\x05\x00")
ECDSA_SHA256 = encode(SEQUENCE, encode_oid("1.2.840.10045.4.3.2"))

_VERSION = encode(INTEGER, b"\x01")
_DATA = encode_oid("1.2.840.113549.1.7.1")
_SIGNED_DATA = encode_oid("1.2.840.113549.1.7.2")
_SHA256 = encode(SEQUENCE, encode_oid("2.16.840.1.101.3.4.2.1"))


@dataclass(frozen=True)
class SignedAttributes:
    """What a signature says beside the document's bytes: its SHA-256, and the root of the manifest it stands in."""

    document_id: str
    digest: bytes
    action: str
    system: str
    root: bytes
    signing_time: datetime


class Signer:
    """The parts of a signature that follow from the certificate. May be shared by threads."""

    def __init__(self, certificate: Certificate, chain: Sequence[Certificate] = ()) -> None:
        """Take the officer's certificate and those between it and the root. Raises CertificateError."""
        self.algorithm = algorithm_of(certificate.public_key())
        ders = {one.public_bytes(Encoding.DER) for one in (certificate, *chain)}
        fingerprint = encode(OCTET_STRING, certificate.fingerprint(hashes.SHA256()))
        self._certificate = encode(SEQUENCE, encode(SEQUENCE, encode(SEQUENCE, fingerprint)))
        self._head = (_VERSION, encode(SET, _SHA256), encode(SEQUENCE, _DATA), encode(CONTEXT_0, *sorted(ders)))
        _, serial, _, issuer, *_ = children(certificate.tbs_certificate_bytes)
        self._sid = encode(SEQUENCE, issuer, serial)

    def attributes(self, said: SignedAttributes) -> dict[str, bytes]:
        """Every signed attribute, encoded, by its name. Raises ValueError for what the profile cannot carry."""
        if said.action not in COMMITMENTS or {len(said.digest), len(said.root)} != {32}:
            raise ValueError("action, digest or root")
        if not 1 <= len(said.document_id.encode()) <= 255 or not 1 <= len(said.system.encode()) <= 255:
            raise ValueError("document id or system")
        if said.signing_time.microsecond or not 2001 <= said.signing_time.year < 2049:
            raise ValueError("signing time")
        values = {
            "content_type": _DATA,
            "signing_time": encode(UTC_TIME, f"{said.signing_time.astimezone(UTC):%y%m%d%H%M%SZ}".encode()),
            "digest": encode(OCTET_STRING, said.digest),
            "certificate": self._certificate,
            "action": encode(SEQUENCE, encode_oid(COMMITMENTS[said.action])),
            "document_id": encode(UTF8_STRING, said.document_id.encode()),
            "system": encode(UTF8_STRING, said.system.encode()),
            "root": encode(OCTET_STRING, said.root),
        }
        return {name: encode(SEQUENCE, encode_oid(oid), encode(SET, values[name])) for name, oid in ATTRIBUTES.items()}

    def to_be_signed(self, said: SignedAttributes) -> bytes:
        """The DER SET OF attributes: exactly the bytes that are hashed and signed. Raises ValueError."""
        return encode(SET, *sorted(self.attributes(said).values()))

    def assemble(self, signed: bytes, signature: bytes) -> bytes:
        """The CMS in DER from what was signed and the signature over it; an ECDSA signature is DER (r, s)."""
        signer = encode(
            SEQUENCE,
            _VERSION,
            self._sid,
            _SHA256,
            bytes((CONTEXT_0,)) + signed[1:],  # [0] IMPLICIT replaces the SET tag that was signed
            self.algorithm,
            encode(OCTET_STRING, signature),
        )
        data = encode(SEQUENCE, *self._head, encode(SET, signer))
        return encode(SEQUENCE, _SIGNED_DATA, encode(CONTEXT_0, data))


def algorithm_of(key: object) -> bytes:
    """The AlgorithmIdentifier of a key that signs documents: RSA from 2048 bits, or P-256. Raises CertificateError."""
    match key:
        case rsa.RSAPublicKey() if key.key_size >= 2048:
            return RSA_SHA256
        case ec.EllipticCurvePublicKey() if isinstance(key.curve, ec.SECP256R1):
            return ECDSA_SHA256
    raise CertificateError("an officer's key is RSA from 2048 bits, or P-256")


def signer_of(certificate: bytes, chain: Sequence[bytes] = ()) -> Signer:
    """A signer of certificates in PEM or DER. Raises CertificateError."""
    return Signer(certificates.load(certificate), [certificates.load(one) for one in chain])
