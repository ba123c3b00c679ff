"""HSM keys as `cryptography` private keys, so that its certificate, CRL and CSR builders sign inside the HSM."""

import hashlib
from collections.abc import Callable
from typing import Any, NoReturn, Self

from asn1crypto.core import OctetString
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils
from cryptography.hazmat.primitives.asymmetric import padding as paddings
from pkcs11 import Attribute, KeyType, Mechanism

__all__ = ["HsmECPrivateKey", "HsmPrivateKey", "HsmRSAPrivateKey", "adapt", "public_key_of", "signer"]

Sign = Callable[[bytes], bytes]


def signer(private: Any, key_type: KeyType) -> Sign:
    """The function message → signature: RSASSA-PKCS1-v1_5 with SHA-256, or ECDSA with SHA-256 as DER ECDSA-Sig-Value.

    ECDSA hashes here, since SoftHSM 2.6 has only the raw mechanism.
    """
    if key_type is KeyType.RSA:
        return lambda message: bytes(private.sign(message, mechanism=Mechanism.SHA256_RSA_PKCS))

    def sign_ecdsa(message: bytes) -> bytes:
        raw = private.sign(hashlib.sha256(message).digest(), mechanism=Mechanism.ECDSA)
        half = len(raw) // 2
        return utils.encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))

    return sign_ecdsa


def public_key_of(public: Any) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey:
    """Read a PKCS#11 public key object; EC points are P-256, uncompressed, in an OCTET STRING (PKCS#11 2.40 2.3.3)."""
    if public[Attribute.KEY_TYPE] is KeyType.RSA:
        exponent = int.from_bytes(public[Attribute.PUBLIC_EXPONENT], "big")
        return rsa.RSAPublicNumbers(exponent, int.from_bytes(public[Attribute.MODULUS], "big")).public_key()
    point = OctetString.load(public[Attribute.EC_POINT]).native
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)


class _KeyInHsm:
    """What both adapters refuse alike. An adapter is valid only inside the call that got it, on the HSM's thread."""

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    def private_numbers(self) -> NoReturn:
        raise UnsupportedAlgorithm("the private key does not leave the HSM")

    def private_bytes(self, *_args: object, **_kwargs: object) -> NoReturn:
        raise UnsupportedAlgorithm("the private key does not leave the HSM")


class HsmRSAPrivateKey(_KeyInHsm, rsa.RSAPrivateKey):
    """RSA key that signs with RSASSA-PKCS1-v1_5 and SHA-256, nothing else."""

    def __init__(self, sign: Sign, public: rsa.RSAPublicKey) -> None:
        self._sign = sign
        self._public = public

    @property
    def key_size(self) -> int:
        return self._public.key_size

    def public_key(self) -> rsa.RSAPublicKey:
        return self._public

    def sign(
        self,
        data: Any,
        padding: paddings.AsymmetricPadding,
        algorithm: utils.Prehashed | utils.NoDigestInfo | hashes.HashAlgorithm,
    ) -> bytes:
        if not isinstance(padding, paddings.PKCS1v15) or not isinstance(algorithm, hashes.SHA256):
            raise UnsupportedAlgorithm("HSM keys sign with PKCS #1 v1.5 and SHA-256 only")
        return self._sign(bytes(data))

    def decrypt(self, ciphertext: Any, padding: paddings.AsymmetricPadding) -> NoReturn:  # noqa: ARG002 - the ABC's names
        raise UnsupportedAlgorithm("HSM keys sign only")


class HsmECPrivateKey(_KeyInHsm, ec.EllipticCurvePrivateKey):
    """P-256 key that signs with ECDSA and SHA-256, nothing else."""

    def __init__(self, sign: Sign, public: ec.EllipticCurvePublicKey) -> None:
        self._sign = sign
        self._public = public

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._public.curve

    @property
    def key_size(self) -> int:
        return self._public.key_size

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._public

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        if not isinstance(signature_algorithm, ec.ECDSA) or not isinstance(
            signature_algorithm.algorithm, hashes.SHA256
        ):
            raise UnsupportedAlgorithm("HSM keys sign with ECDSA and SHA-256 only")
        return self._sign(bytes(data))

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> NoReturn:  # noqa: ARG002 - same
        raise UnsupportedAlgorithm("HSM keys sign only")


HsmPrivateKey = HsmRSAPrivateKey | HsmECPrivateKey


def adapt(private: Any, public: Any) -> HsmPrivateKey:
    """Adapter over a PKCS#11 key pair's two handles."""
    key = public_key_of(public)
    if isinstance(key, rsa.RSAPublicKey):
        return HsmRSAPrivateKey(signer(private, KeyType.RSA), key)
    return HsmECPrivateKey(signer(private, KeyType.EC), key)
