"""A tree whose keys are the same in every run, so that the corpus stays signed by it, and can be signed anew."""

from functools import cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from libs.crypto.algorithms import ECDSA_SHA256
from libs.crypto.der import BIT_STRING, SEQUENCE, encode, expect, only
from libs.crypto.pki import Issuer
from tests.support.pki import EPOCH, Pki


def fixed_key(number: int) -> ec.EllipticCurvePrivateKey:
    """A P-256 key that everybody knows."""
    return ec.derive_private_key(number, ec.SECP256R1())


def fixed_signer(number: int) -> Ed25519PrivateKey:
    """An Ed25519 key that everybody knows."""
    return Ed25519PrivateKey.from_private_bytes(bytes((number,)) * 32)


@cache
def tree() -> Pki:
    """Root and issuing CA of fixed keys."""
    return Pki(now=EPOCH, root_key=fixed_key(0x11), issuing_key=fixed_key(0x22))


@cache
def der(issuer: Issuer) -> bytes:
    """The issuer's certificate."""
    return issuer.certificate.public_bytes(Encoding.DER)


def signed_by(issuer: Issuer, to_be_signed: bytes) -> bytes:
    """A certificate or a CRL around these bytes, whatever they are, with a good signature by P-256."""
    assert isinstance(issuer.key, ec.EllipticCurvePrivateKey)
    signature = issuer.key.sign(to_be_signed, ec.ECDSA(hashes.SHA256()))
    return encode(SEQUENCE, to_be_signed, ECDSA_SHA256.identifier, encode(BIT_STRING, b"\0", signature))


def to_be_signed(whole: bytes) -> bytes:
    """What a certificate's or a CRL's signature is over."""
    at, end = only(whole, 0, len(whole), SEQUENCE)
    _, stop = expect(whole, at, end, SEQUENCE)
    return whole[at:stop]
