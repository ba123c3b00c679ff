"""Which signature algorithms are accepted, as data: AlgorithmIdentifier → how to verify."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from libs.crypto.der import SEQUENCE, encode, encode_oid

RSA_MIN_BITS = 2048
"""Floor of an RSA modulus, in bits."""

RSA_MAX_BITS = 4096
"""Ceiling of the modulus of a key that signs documents."""

RSA_EXPONENT = 65_537
"""The one public exponent of keys that sign documents."""

_NULL = b"\x05\x00"


@dataclass(frozen=True, slots=True)
class SignatureAlgorithm:
    """One accepted algorithm; `identifier` is its AlgorithmIdentifier in DER."""

    name: str
    identifier: bytes
    key_type: type
    arguments: tuple[Any, ...]

    def verify(self, public_key: Any, signature: bytes, data: bytes | memoryview) -> bool:
        """Whether the signature over the data holds; False for a key of another kind."""
        if not isinstance(public_key, self.key_type):
            return False
        try:
            public_key.verify(signature, data, *self.arguments)  # type: ignore[attr-defined]
        except (InvalidSignature, ValueError):
            return False
        return True


def _rsa(name: str, oid: str, digest: hashes.HashAlgorithm) -> SignatureAlgorithm:
    identifier = encode(SEQUENCE, encode_oid(oid), _NULL)
    return SignatureAlgorithm(name, identifier, rsa.RSAPublicKey, (padding.PKCS1v15(), digest))


def _ecdsa(name: str, oid: str, digest: hashes.HashAlgorithm) -> SignatureAlgorithm:
    return SignatureAlgorithm(name, encode(SEQUENCE, encode_oid(oid)), ec.EllipticCurvePublicKey, (ec.ECDSA(digest),))


RSA_SHA256 = _rsa("RSA-PKCS1v15-SHA256", "1.2.840.113549.1.1.11", hashes.SHA256())
RSA_SHA384 = _rsa("RSA-PKCS1v15-SHA384", "1.2.840.113549.1.1.12", hashes.SHA384())
RSA_SHA512 = _rsa("RSA-PKCS1v15-SHA512", "1.2.840.113549.1.1.13", hashes.SHA512())
ECDSA_SHA256 = _ecdsa("ECDSA-SHA256", "1.2.840.10045.4.3.2", hashes.SHA256())
ECDSA_SHA384 = _ecdsa("ECDSA-SHA384", "1.2.840.10045.4.3.3", hashes.SHA384())

DOCUMENT_ALGORITHMS = {item.identifier: item for item in (RSA_SHA256, ECDSA_SHA256)}
"""What an officer's key may sign documents with."""

CA_ALGORITHMS = {item.identifier: item for item in (RSA_SHA256, RSA_SHA384, RSA_SHA512, ECDSA_SHA256, ECDSA_SHA384)}
"""What an authority may sign CRLs with; certificates are judged by the same list, through cryptography."""

_CURVES = (ec.SECP256R1, ec.SECP384R1)

_STRONG: dict[type, Callable[[Any], bool]] = {
    rsa.RSAPublicKey: lambda key: key.key_size >= RSA_MIN_BITS,
    ec.EllipticCurvePublicKey: lambda key: isinstance(key.curve, _CURVES),
    ed25519.Ed25519PublicKey: lambda _: True,
}


def _is_usual(key: rsa.RSAPublicKey) -> bool:
    return key.key_size <= RSA_MAX_BITS and key.public_numbers().e == RSA_EXPONENT


def is_strong(public_key: Any) -> bool:
    """Whether a key that verifies signatures meets the floor: RSA from 2048 bits, P-256, P-384, Ed25519."""
    return any(isinstance(public_key, kind) and strong(public_key) for kind, strong in _STRONG.items())


def document_algorithm(public_key: Any) -> SignatureAlgorithm | None:
    """The algorithm with which a key signs documents: RSA or P-256; None for any other key.

    Of RSA only what authorities certify: with a size or an exponent of a sender's choice a look costs him nothing, and
    us a hundred times as much.
    """
    if isinstance(public_key, ec.EllipticCurvePublicKey) and not isinstance(public_key.curve, ec.SECP256R1):
        return None
    if isinstance(public_key, rsa.RSAPublicKey) and not _is_usual(public_key):
        return None
    return next((item for item in DOCUMENT_ALGORITHMS.values() if isinstance(public_key, item.key_type)), None)
