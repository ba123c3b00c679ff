"""Certification requests (PKCS#10) of those who want a service certificate; the authority is in `pki`."""

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from libs.crypto.errors import CryptoError


def certification_request(
    key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, name: x509.Name
) -> bytes:
    """A request in PEM that proves possession of the key; an HSM key's adapter is accepted."""
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, digest).public_bytes(Encoding.PEM)


def new_signing_key() -> bytes:
    """A fresh Ed25519 private key in PEM (PKCS#8, not encrypted): the content of a secret file."""
    key = ed25519.Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def read_signing_key(pem: bytes) -> ed25519.Ed25519PrivateKey:
    """The inverse of `new_signing_key`. Raises CryptoError, without the content."""
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise CryptoError("not an Ed25519 private key in PEM")
    return key
