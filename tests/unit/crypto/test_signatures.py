"""A signature is checked with the one algorithm that its key has."""

from collections.abc import Callable
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding

from libs.crypto.algorithms import document_algorithm
from libs.crypto.pki import distinguished_name, requested_key
from libs.crypto.public_keys import public_key_id
from libs.crypto.requests import certification_request, new_signing_key, read_signing_key
from libs.crypto.signatures import verify
from tests.support.pki import shared_rsa_key

DATA = b"what was signed"

ED25519 = ed25519.Ed25519PrivateKey.generate()
P256 = ec.generate_private_key(ec.SECP256R1())
RSA = shared_rsa_key()

Sign = Callable[[bytes], bytes]


def _rsa(key: rsa.RSAPrivateKey, digest: hashes.HashAlgorithm) -> Sign:
    return lambda data: key.sign(data, padding.PKCS1v15(), digest)


GOOD: list[tuple[Any, Sign]] = [
    (ED25519, ED25519.sign),
    (P256, lambda data: P256.sign(data, ec.ECDSA(hashes.SHA256()))),
    (RSA, _rsa(RSA, hashes.SHA256())),
]


@pytest.mark.parametrize(("key", "sign"), GOOD, ids=["ed25519", "p-256", "rsa"])
def test_a_signature_holds_for_its_key_and_data_only(key: Any, sign: Sign) -> None:
    signature = sign(DATA)
    assert verify(key.public_key(), signature, DATA)
    assert not verify(key.public_key(), signature, DATA + b".")
    assert not verify(key.public_key(), signature[:-1] + bytes([signature[-1] ^ 1]), DATA)
    assert not verify(key.public_key(), b"", DATA)
    for other, _ in GOOD:
        assert other is key or not verify(other.public_key(), signature, DATA)


def test_no_other_algorithm_is_accepted() -> None:
    p384, short = ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 1024)
    assert not verify(p384.public_key(), p384.sign(DATA, ec.ECDSA(hashes.SHA256())), DATA)
    assert not verify(short.public_key(), _rsa(short, hashes.SHA256())(DATA), DATA)
    assert not verify(RSA.public_key(), _rsa(RSA, hashes.SHA512())(DATA), DATA)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    assert not verify(RSA.public_key(), RSA.sign(DATA, pss, hashes.SHA256()), DATA)
    assert not verify(x25519.X25519PrivateKey.generate().public_key(), b"", DATA)


def test_a_request_proves_possession_to_the_authority() -> None:
    for key in (ED25519, P256, RSA):
        pem = certification_request(key, distinguished_name("otp_dispatch"))
        der = x509.load_pem_x509_csr(pem).public_bytes(Encoding.DER)
        assert requested_key(der) == key.public_key()


def test_a_signing_key_survives_its_file_and_nothing_else_is_one() -> None:
    pem = new_signing_key()
    assert public_key_id(read_signing_key(pem).public_key()) == public_key_id(read_signing_key(pem).public_key())
    assert public_key_id(read_signing_key(pem).public_key()) != public_key_id(ED25519.public_key())
    with pytest.raises(ValueError, match="not an Ed25519"):
        read_signing_key(b"rubbish")


@pytest.mark.parametrize(("bits", "exponent"), [(2048, 3), (2048, 2**2047 + 1), (8192, 65_537)])
def test_rsa_of_a_senders_choice_signs_no_document(bits: int, exponent: int) -> None:
    """What costs its maker nothing must not cost us a hundred times a usual look."""
    key = rsa.RSAPublicNumbers(exponent, 2**bits - 1).public_key()
    assert document_algorithm(key) is None
    assert document_algorithm(RSA.public_key()) is not None
