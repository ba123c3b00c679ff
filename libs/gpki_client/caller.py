"""The caller's registered key: its signature over a root, and an assertion for each call."""

import hashlib
from datetime import datetime, timedelta
from typing import Any, Final, Self
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from .errors import GpkiError
from .manifest import signature_input

AUDIENCE: Final = "gpki-gateway"

ASSERTION_LIFETIME: Final = timedelta(seconds=50)
"""60 s are accepted; the rest is for two clocks that differ."""

PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class Caller:
    """A system that may ask, by its name and its private key (Ed25519, P-256, or RSA from 2048 bits)."""

    def __init__(self, name: str, key: PrivateKey) -> None:
        self._algorithm = _algorithm(key)
        self._key = key
        self.name = name
        self.key_id = key_id_of(key.public_key())

    @classmethod
    def from_pem(cls, name: str, pem: bytes) -> Self:
        """Read a PKCS #8 private key that is not encrypted. Raises GpkiError, without the content."""
        try:
            key: Any = load_pem_private_key(pem, None)
        except (ValueError, TypeError):
            key = None
        return cls(name, key)

    def __repr__(self) -> str:
        return f"Caller({self.name!r}, {self.key_id})"

    def sign_root(self, root: bytes) -> bytes:
        """The signature that goes with a manifest of this root."""
        return self.sign(signature_input(root))

    def sign(self, data: bytes) -> bytes:
        """Ed25519; ECDSA with SHA-256 in DER; RSA PKCS #1 v1.5 with SHA-256."""
        match self._key:
            case rsa.RSAPrivateKey():
                return self._key.sign(data, padding.PKCS1v15(), hashes.SHA256())
            case ec.EllipticCurvePrivateKey():
                return self._key.sign(data, ec.ECDSA(hashes.SHA256()))
            case _:
                return self._key.sign(data)

    def assertion(self, user: str, *, at: datetime) -> str:
        """A JWT for one call on behalf of an officer: never used twice."""
        return assertion(self._key, self._algorithm, key_id=self.key_id, issuer=self.name, user=user, at=at)


def assertion(key: PrivateKey, algorithm: str, *, key_id: str, issuer: str, user: str, at: datetime) -> str:
    """The JWT (RFC 7519) of a caller or a device."""
    claims = {
        "iss": issuer,
        "sub": user,
        "aud": AUDIENCE,
        "iat": at,
        "exp": at + ASSERTION_LIFETIME,
        "jti": uuid4().hex,
    }
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": key_id})


def key_id_of(key: PublicKeyTypes) -> str:
    """The name of a public key everywhere: the hex SHA-256 of its SubjectPublicKeyInfo."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _algorithm(key: PrivateKey) -> str:
    match key:
        case ed25519.Ed25519PrivateKey():
            return "EdDSA"
        case ec.EllipticCurvePrivateKey() if isinstance(key.curve, ec.SECP256R1):
            return "ES256"
        case rsa.RSAPrivateKey() if key.key_size >= 2048:
            return "RS256"
    raise GpkiError("a caller's key is Ed25519, P-256, or RSA from 2048 bits")
