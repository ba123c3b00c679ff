"""Signatures of callers and registrars: the algorithm follows from the key, never from the message."""

from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from libs.crypto.algorithms import document_algorithm, is_strong


def verify(public_key: Any, signature: bytes, data: bytes) -> bool:
    """Whether the signature over the data holds.

    Ed25519 (RFC 8032), ECDSA P-256 with SHA-256 (DER) or RSA PKCS#1 v1.5 with SHA-256 from 2048 bits; False for every
    other key.
    """
    if isinstance(public_key, Ed25519PublicKey):
        try:
            public_key.verify(signature, data)
        except InvalidSignature:
            return False
        return True
    algorithm = document_algorithm(public_key)
    return algorithm is not None and is_strong(public_key) and algorithm.verify(public_key, signature, data)
