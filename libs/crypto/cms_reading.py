"""Strict reading of signatures of the one profile of `libs.crypto.cms`, for verifying and posting."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypedDict

from libs.crypto.algorithms import DOCUMENT_ALGORITHMS, SignatureAlgorithm
from libs.crypto.cms import (
    ACTIONS,
    ATTRIBUTE_TYPES,
    CERTIFICATE_PREFIX,
    DIGEST_SIZE,
    TIME_PREFIX,
    CmsError,
    CmsTemplate,
    SignedAttributes,
)
from libs.crypto.der import (
    CONTEXT_0,
    CONTEXT_1,
    INTEGER,
    OCTET_STRING,
    OID,
    SEQUENCE,
    SET,
    UTC_TIME,
    UTF8_STRING,
    DerError,
    elements,
    encode_oid,
    expect,
    only,
    read,
)

MAX_SIZE = 32 * 1024
"""Bytes of a signature at most; one with a chain of two has about 3 KiB."""

_MAX_CERTIFICATES = 5
_UTC_TIME_LENGTH = 13
_CERTIFICATES_AT = 54
"""Where the set of certificates begins when all lengths around it take two bytes, which those of RSA keys do."""
_KEPT = 4096
"""Sets of certificates kept at most, about 10 KB each."""

_NAMES = {encode_oid(dotted): name for name, dotted in ATTRIBUTE_TYPES.items()}
_ACTIONS = {encode_oid(oid): action for action, oid in ACTIONS.items()}


class ExpectedAttributes(TypedDict):
    """What the signature of a document must say; only the signing time is the signer's to choose."""

    document_id: str
    digest: bytes
    action: str
    system: str
    root: bytes


@dataclass(frozen=True, slots=True)
class SignedDocument:
    """A parsed signature; nothing in it is verified yet except that it is of the profile.

    `signed_attributes` are the bytes under the signature; `certificate` is the one that they name, `chain` the others.
    """

    attributes: SignedAttributes
    signed_attributes: bytes
    signature: bytes
    algorithm: SignatureAlgorithm
    certificate: bytes
    chain: tuple[bytes, ...]


def parse(cms: bytes) -> SignedDocument:
    """Read a signature that `CmsTemplate` could have made, byte for byte.

    Raises CmsError with one of these reasons: `malformed`: not DER, or not this profile; `attributes-missing`: a CMS
    that lacks signed attributes of the profile; `attributes-invalid`: values that the profile cannot carry;
    `algorithm-unsupported`; `certificate-mismatch`: the certificate that the attributes name is not in it.
    """
    try:
        return _parse(cms)
    except (DerError, UnicodeDecodeError):
        pass
    raise CmsError("malformed")


def parse_expected(cms: bytes, expected: ExpectedAttributes) -> SignedDocument | None:
    """What `parse` makes of a signature with these attributes; None for all other bytes, which `parse` tells apart.

    In a third of its time: the one encoding is made and compared, and nothing else is looked at.
    """
    try:
        return _parse_expected(cms, expected)
    except (DerError, CmsError):
        return None


def verify_signature(document: SignedDocument, public_key: Any) -> bool:
    """Whether the signature over the signed attributes is this key's. The document's bytes are the caller's to hash."""
    return document.algorithm.verify(public_key, document.signature, document.signed_attributes)


def attribute_differences(document: SignedDocument, expected: ExpectedAttributes) -> tuple[str, ...]:
    """The names of the attributes that are not as expected; empty when all agree."""
    return tuple(name for name, value in expected.items() if getattr(document.attributes, name) != value)


def _parse_expected(cms: bytes, expected: ExpectedAttributes) -> SignedDocument | None:
    _, start, stop = read(cms, _CERTIFICATES_AT, len(cms))
    named, timed = cms.find(CERTIFICATE_PREFIX, stop), cms.find(TIME_PREFIX, stop)
    if min(named, timed) < 0 or len(cms) > MAX_SIZE:
        return None
    named, timed = named + len(CERTIFICATE_PREFIX), timed + len(TIME_PREFIX)
    certificate, chain, template = _signer(cms[start:stop], cms[named : named + DIGEST_SIZE])
    attributes = SignedAttributes(**expected, signing_time=_time(cms[timed : timed + _UTC_TIME_LENGTH]))
    signed_attributes = template.signed_attributes(attributes)
    # After the attributes, the algorithm and the signature end the message: what is there else is not equal to this.
    after = cms.find(signed_attributes[1:], stop) + len(signed_attributes) - 1 + len(template.algorithm.identifier)
    at, end = expect(cms, after, len(cms), OCTET_STRING)
    signature = cms[at:end]
    if template.assemble(signed_attributes, signature) != cms:
        return None
    return SignedDocument(attributes, signed_attributes, signature, template.algorithm, certificate, chain)


def _parse(cms: bytes) -> SignedDocument:
    if len(cms) > MAX_SIZE:
        raise DerError("too long")
    certificates, signer_info = _signed_data(cms)
    start, end = only(cms, *signer_info, SEQUENCE)
    parts = elements(cms, start, end)
    attributes_at = 3  # after version, sid, digestAlgorithm
    if len(parts) <= attributes_at or parts[attributes_at][0] != CONTEXT_0:
        raise CmsError("attributes-missing")
    if [part[0] for part in parts] != [INTEGER, SEQUENCE, SEQUENCE, CONTEXT_0, SEQUENCE, OCTET_STRING]:
        raise DerError("signer info")
    _, at, start, stop = parts[3]
    values = _attributes(cms, start, stop)
    signed_attributes = b"\x31" + cms[at + 1 : stop]
    algorithm = DOCUMENT_ALGORITHMS.get(cms[parts[4][1] : parts[4][3]])
    if algorithm is None:
        raise CmsError("algorithm-unsupported")
    signature = cms[parts[5][2] : parts[5][3]]
    certificate, chain, template = _signer(certificates, _certificate_hash(values["certificate"]))
    attributes = _decode(values)
    # The one encoding: whatever differs from it in any byte is outside the profile.
    if (
        template.signed_attributes(attributes) != signed_attributes
        or template.assemble(signed_attributes, signature) != cms
    ):
        raise DerError("not of the profile")
    return SignedDocument(attributes, signed_attributes, signature, algorithm, certificate, chain)


def _signed_data(cms: bytes) -> tuple[bytes, tuple[int, int]]:
    """The content of the certificate set, and where the content of signerInfos is."""
    at, end = only(cms, 0, len(cms), SEQUENCE)
    _, at = expect(cms, at, end, OID)
    at, end = only(cms, at, end, CONTEXT_0)
    at, end = only(cms, at, end, SEQUENCE)
    parts = elements(cms, at, end)
    tags = [part[0] for part in parts if part[0] != CONTEXT_1]  # CRLs inside are refused later: not what is missing
    if tags == [INTEGER, SET, SEQUENCE, SET]:
        raise CmsError("certificate-mismatch")
    if tags != [INTEGER, SET, SEQUENCE, CONTEXT_0, SET]:
        raise DerError("signed data")
    _, _, start, stop = parts[3]
    return cms[start:stop], parts[-1][2:]


def _attributes(cms: bytes, at: int, end: int) -> dict[str, bytes]:
    """The single value of each attribute, as an element, by name."""
    values: dict[str, bytes] = {}
    unknown = False
    for tag, _, start, stop in elements(cms, at, end):
        if tag != SEQUENCE:
            raise DerError("attribute")
        _, after = expect(cms, start, stop, OID)
        name = _NAMES.get(cms[start:after])
        first, last = only(cms, after, stop, SET)
        if name is None or name in values:
            unknown = True
        else:
            values[name] = cms[first:last]
    if len(values) != len(_NAMES):
        raise CmsError("attributes-missing")
    if unknown:
        raise DerError("attribute")
    return values


def _decode(values: dict[str, bytes]) -> SignedAttributes:
    action = _ACTIONS.get(_content(values["action"], SEQUENCE))
    if action is None:
        raise DerError("commitment type")
    return SignedAttributes(
        document_id=_content(values["document_id"], UTF8_STRING).decode(),
        digest=_content(values["digest"], OCTET_STRING),
        action=action,
        system=_content(values["system"], UTF8_STRING).decode(),
        root=_content(values["root"], OCTET_STRING),
        signing_time=_time(_content(values["signing_time"], UTC_TIME)),
    )


def _content(element: bytes, tag: int) -> bytes:
    start, stop = only(element, 0, len(element), tag)
    return element[start:stop]


@lru_cache(maxsize=_KEPT)
def _time(text: bytes) -> datetime:
    if len(text) != _UTC_TIME_LENGTH or not text[:-1].isdigit():
        raise DerError("time")
    year, month, day, hour, minute, second = (int(text[i : i + 2]) for i in range(0, _UTC_TIME_LENGTH - 1, 2))
    try:
        # Two-digit years are 2000 to 2049 here: no signature is older, and the rebuilt bytes are compared.
        return datetime(2000 + year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        pass
    raise DerError("time")


def _certificate_hash(element: bytes) -> bytes:
    at, end = 0, len(element)
    for _ in range(3):
        at, end = only(element, at, end, SEQUENCE)
    at, end = only(element, at, end, OCTET_STRING)
    return element[at:end]


@lru_cache(maxsize=_KEPT)
def _signer(certificates: bytes, fingerprint: bytes) -> tuple[bytes, tuple[bytes, ...], CmsTemplate]:
    found: Sequence[bytes] = [certificates[at:stop] for _, at, _, stop in elements(certificates, 0, len(certificates))]
    if len(found) > _MAX_CERTIFICATES:
        raise DerError("too many certificates")
    for certificate in found:
        if hashlib.sha256(certificate).digest() == fingerprint:
            chain = tuple(other for other in found if other != certificate)
            return certificate, chain, CmsTemplate(certificate, chain)
    raise CmsError("certificate-mismatch")
