"""Signatures of our profile, for its tests: one by RSA, one by P-256, of officers under one tree."""

import hashlib
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding

from libs.crypto.cms import CmsError, CmsTemplate, SignedAttributes
from libs.crypto.cms_reading import ExpectedAttributes, parse
from tests.support.pki import Identity, Pki, p256_key, shared_rsa_key

DOCUMENT = b"Baucar bayaran 2026/11/0001"
NOW = datetime.now(UTC).replace(microsecond=0)
PKI = Pki(now=NOW)
OFFICERS = {"rsa": PKI.officer(key=shared_rsa_key()), "p256": PKI.officer("810101145566", key=p256_key())}
TEMPLATES = {name: CmsTemplate(officer.der, PKI.chain) for name, officer in OFFICERS.items()}
ATTRIBUTES = SignedAttributes("BV-2026-0001", hashlib.sha256(DOCUMENT).digest(), "sah", "igfmas", b"\x07" * 32, NOW)


def sign(officer: Identity, data: bytes) -> bytes:
    if isinstance(officer.key, ec.EllipticCurvePrivateKey):
        return officer.key.sign(data, ec.ECDSA(hashes.SHA256()))
    return officer.key.sign(data, padding.PKCS1v15(), hashes.SHA256())


def make(kind: str = "rsa", attributes: SignedAttributes = ATTRIBUTES) -> bytes:
    signed = TEMPLATES[kind].signed_attributes(attributes)
    return TEMPLATES[kind].assemble(signed, sign(OFFICERS[kind], signed))


def expected_of(attributes: SignedAttributes) -> ExpectedAttributes:
    """All but the time, which is the signer's to choose."""
    return ExpectedAttributes(
        document_id=attributes.document_id,
        digest=attributes.digest,
        action=attributes.action,
        system=attributes.system,
        root=attributes.root,
    )


CMS = {kind: make(kind) for kind in OFFICERS}


def refused(cms: bytes) -> str:
    with pytest.raises(CmsError) as caught:
        parse(cms)
    return caught.value.reason
