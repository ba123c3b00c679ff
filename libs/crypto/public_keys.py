"""The name of a public key, the same everywhere: certificates, `gpki.keys.v1`, sealed messages, callers' assertions."""

import hashlib

from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def spki(public_key: PublicKeyTypes) -> bytes:
    """The SubjectPublicKeyInfo in DER."""
    return public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def spki_sha256(public_key: PublicKeyTypes) -> bytes:
    """SHA-256 of the SubjectPublicKeyInfo."""
    return hashlib.sha256(spki(public_key)).digest()


def public_key_id(public_key: PublicKeyTypes) -> str:
    """The id under which everyone knows a key: `spki_sha256` in hex; `ServiceIdentity.key_id` is the same."""
    return spki_sha256(public_key).hex()
