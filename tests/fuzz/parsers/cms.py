"""Signatures of documents, as a token or a broker writer sends them."""

import hashlib
from collections.abc import Iterable

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from libs.crypto.cms import CmsError, CmsTemplate, SignedAttributes
from libs.crypto.cms_reading import ExpectedAttributes, parse, parse_expected
from tests.fuzz.mutating import mutate_der
from tests.fuzz.target import Target
from tests.support.pki import EPOCH, Pki, p256_key, shared_rsa_key

_REASONS = {"malformed", "attributes-missing", "attributes-invalid", "algorithm-unsupported", "certificate-mismatch"}


def accepts(data: bytes) -> bool:
    """Whether it is of the profile; then the fast reading finds the same, and for another document nothing."""
    try:
        document = parse(data)
    except CmsError as error:
        if error.reason not in _REASONS:
            raise AssertionError(error.reason) from error
        nothing = ExpectedAttributes(document_id="x", digest=bytes(32), action="sah", system="x", root=bytes(32))
        assert parse_expected(data, nothing) is None
        return False
    said = document.attributes
    expected = ExpectedAttributes(
        document_id=said.document_id, digest=said.digest, action=said.action, system=said.system, root=said.root
    )
    assert parse_expected(data, expected) == document
    assert parse_expected(data, {**expected, "root": bytes(31) + b"\x01"}) is None
    return True


def seeds() -> Iterable[bytes]:
    """One by RSA, one by P-256."""
    pki = Pki(now=EPOCH)
    for key in (shared_rsa_key(), p256_key()):
        template = CmsTemplate(pki.officer(key=key).der, pki.chain)
        digest = hashlib.sha256(b"Baucar").digest()
        signed = template.signed_attributes(SignedAttributes("BV-1", digest, "sah", "iGFMAS", bytes(32), EPOCH))
        yield template.assemble(signed, _signature(key, signed))


def _signature(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


TARGET = Target("cms", accepts, seeds, mutate_der, max_size=40 * 1024)
