"""Detached CAdES-B signatures (RFC 5652, ETSI EN 319 122-1) of one fixed profile, built around a prebuilt template."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from libs.crypto.algorithms import SignatureAlgorithm, document_algorithm
from libs.crypto.certificates import CertificateError, certificate_facts
from libs.crypto.der import (
    CONTEXT_0,
    OCTET_STRING,
    SEQUENCE,
    SET,
    UTC_TIME,
    UTF8_STRING,
    encode,
    encode_oid,
)
from libs.crypto.errors import CryptoError

OID_SAH = "2.25.290109310110680859644059387974447391490"
OID_PERAKU = "2.25.151748329212122844528561886919056172988"
"""Commitment types: certified, approved. All private OIDs here are UUIDs under 2.25 (ITU-T X.667)."""

OID_DOCUMENT_ID = "2.25.99171904974951802788379401384360554215"
"""Signed attribute, UTF8String: the caller's id of the document."""

OID_SYSTEM = "2.25.315404191997391793837440684322557512160"
"""Signed attribute, UTF8String: the system that asked, as the caller's key says."""

OID_ROOT = "2.25.48523313358066902325860532718352016225"
"""Signed attribute, OCTET STRING of 32 bytes: the root of the manifest that the officer authorised."""

ACTIONS = {"sah": OID_SAH, "peraku": OID_PERAKU}
"""Action to commitment type."""

DIGEST_SIZE = 32
"""Bytes of a document's SHA-256, and of a root."""

MAX_TEXT = 255
"""Bytes of a document id or system in UTF-8."""

ATTRIBUTE_TYPES = {
    "content_type": "1.2.840.113549.1.9.3",
    "signing_time": "1.2.840.113549.1.9.5",
    "digest": "1.2.840.113549.1.9.4",
    "certificate": "1.2.840.113549.1.9.16.2.47",
    "action": "1.2.840.113549.1.9.16.2.16",
    "document_id": OID_DOCUMENT_ID,
    "system": OID_SYSTEM,
    "root": OID_ROOT,
}
"""The signed attributes: these eight, each once, and no others."""

_VERSION_1 = bytes((2, 1, 1))
_SIGNED_DATA = encode_oid("1.2.840.113549.1.7.2")
_DATA = encode_oid("1.2.840.113549.1.7.1")
_SHA256 = encode(SEQUENCE, encode_oid("2.16.840.1.101.3.4.2.1"))  # parameters absent (RFC 5754 section 2)
_OIDS = {name: encode_oid(dotted) for name, dotted in ATTRIBUTE_TYPES.items()}
_UTC_TIME_START, _UTC_TIME_END = 2001, 2049  # well inside, so that no time zone reaches the ends


class CmsError(CryptoError):
    """A signature outside the profile; `reason` is stable and fit for a reason code."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class SignedAttributes:
    """What an officer's signature says beside the document's bytes; `signing_time` is UTC, whole seconds."""

    document_id: str
    digest: bytes
    action: str
    system: str
    root: bytes
    signing_time: datetime


def _attribute(name: str, value: bytes) -> bytes:
    return encode(SEQUENCE, _OIDS[name], encode(SET, value))


def _certificate_attribute(fingerprint: bytes) -> bytes:
    # ESSCertIDv2 (RFC 5035): SHA-256 is the default and therefore absent, as is the issuer: sid has it.
    ess = encode(SEQUENCE, encode(SEQUENCE, encode(SEQUENCE, encode(OCTET_STRING, fingerprint))))
    return _attribute("certificate", ess)


_CONTENT_TYPE = _attribute("content_type", _DATA)
_COMMITMENTS = {action: _attribute("action", encode(SEQUENCE, encode_oid(oid))) for action, oid in ACTIONS.items()}
_ROOT_PREFIX = _attribute("root", encode(OCTET_STRING, bytes(DIGEST_SIZE)))[:-DIGEST_SIZE]
_DIGEST_PREFIX = _attribute("digest", encode(OCTET_STRING, bytes(DIGEST_SIZE)))[:-DIGEST_SIZE]
TIME_PREFIX = _attribute("signing_time", encode(UTC_TIME, bytes(13)))[:-13]
CERTIFICATE_PREFIX = _certificate_attribute(bytes(DIGEST_SIZE))[:-DIGEST_SIZE]
"""What stands before the signing time, and before the fingerprint of the signer's certificate."""


class CmsTemplate:
    """The parts of a signature that are the same for every document of one certificate, encoded once.

    Immutable, so any number of threads may share it.
    """

    __slots__ = ("_certificate_attribute", "_head", "_signer", "algorithm")

    def __init__(self, certificate: bytes, chain_certificates: Sequence[bytes]) -> None:
        """Take the signer's certificate and what goes with it, in DER. Raises CmsError for a key of no profile."""
        try:
            facts = certificate_facts(certificate)
        except CertificateError:
            raise CmsError("malformed") from None
        algorithm = document_algorithm(facts.public_key)
        if algorithm is None:
            raise CmsError("algorithm-unsupported")
        self.algorithm: SignatureAlgorithm = algorithm
        self._certificate_attribute = _certificate_attribute(facts.fingerprint)
        certificates = encode(CONTEXT_0, *sorted({certificate, *chain_certificates}))
        self._head = _VERSION_1 + encode(SET, _SHA256) + encode(SEQUENCE, _DATA) + certificates
        self._signer = _VERSION_1 + facts.issuer_and_serial + _SHA256

    def signed_attributes(self, attributes: SignedAttributes) -> bytes:
        """The DER SET OF attributes: exactly the bytes that are hashed and signed (RFC 5652 section 5.4).

        Raises CmsError("attributes-invalid") for values that the profile cannot carry.
        """
        commitment = _COMMITMENTS.get(attributes.action)
        document_id, system = _utf8(attributes.document_id), _utf8(attributes.system)
        texts = 0 < len(document_id) <= MAX_TEXT and 0 < len(system) <= MAX_TEXT
        if commitment is None or not texts or {len(attributes.digest), len(attributes.root)} != {DIGEST_SIZE}:
            raise CmsError("attributes-invalid")
        return encode(
            SET,
            *sorted(
                (
                    _CONTENT_TYPE,
                    _DIGEST_PREFIX + attributes.digest,
                    TIME_PREFIX + _utc_time(attributes.signing_time),
                    self._certificate_attribute,
                    commitment,
                    _attribute("document_id", encode(UTF8_STRING, document_id)),
                    _attribute("system", encode(UTF8_STRING, system)),
                    _ROOT_PREFIX + attributes.root,
                )
            ),
        )

    def assemble(self, signed_attributes: bytes, signature: bytes) -> bytes:
        """The ContentInfo in DER from the bytes that were signed and the signature over them.

        An ECDSA signature must be DER (r, s); a PKCS#11 module gives r ‖ s.
        """
        signer = encode(
            SEQUENCE,
            self._signer,
            b"\xa0",  # [0] IMPLICIT replaces the SET tag that was signed
            signed_attributes[1:],
            self.algorithm.identifier,
            encode(OCTET_STRING, signature),
        )
        return encode(
            SEQUENCE,
            _SIGNED_DATA,
            encode(CONTEXT_0, encode(SEQUENCE, self._head, encode(SET, signer))),
        )


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        pass
    raise CmsError("attributes-invalid")


def _utc_time(moment: datetime) -> bytes:
    if moment.utcoffset() is None or moment.microsecond or not _UTC_TIME_START <= moment.year < _UTC_TIME_END:
        raise CmsError("attributes-invalid")
    utc = moment.astimezone(UTC)
    return b"%02d%02d%02d%02d%02d%02dZ" % (utc.year % 100, utc.month, utc.day, utc.hour, utc.minute, utc.second)
