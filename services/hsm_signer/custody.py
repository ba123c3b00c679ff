"""Custody of users' keys: opened by PIN and HSM together, used inside the HSM only (design section 4.4)."""

import secrets
from dataclasses import dataclass, field
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from libs.crypto.credential import (
    SALT_BYTES,
    Argon2Parameters,
    argon2id,
    key_encryption_key,
    open_wrapped_key,
    seal_wrapped_key,
)
from libs.crypto.pki import distinguished_name
from libs.hsm.adapters import HsmPrivateKey
from libs.hsm.hsm import Hsm
from libs.hsm.user_keys import UserKeyAlgorithm
from libs.runtime.executor import Offload

WRAPPING_KEY = "user-wrapping-1"
"""Label of the AES key under which users' keys leave the HSM."""

PEPPER = "pin-pepper-1"
"""Label of the HMAC key without which a PIN opens nothing."""


@dataclass(frozen=True)
class Credential:
    """A user's key as it is kept. `wrapped` opens with the PIN only."""

    credential_id: UUID
    user_id: str
    algorithm: UserKeyAlgorithm
    salt: bytes
    parameters: Argon2Parameters
    wrapped: bytes = field(repr=False)


@dataclass(frozen=True)
class NewCredential:
    """A credential that was just made, and the PKCS#10 request that its key signed."""

    credential: Credential
    csr: bytes


class Custody:
    """Opens, makes and uses users' keys. Safe for concurrent use; the HSM works one call after another."""

    def __init__(self, hsm: Hsm, stretching: Offload) -> None:
        """`stretching`: as many threads as may have Argon2id's memory at once."""
        self._hsm = hsm
        self._stretching = stretching

    async def create(
        self, pin: str, *, credential_id: UUID, user_id: str, algorithm: UserKeyAlgorithm
    ) -> NewCredential:
        """Make a key pair under a PIN. Raises HsmUnavailable."""
        parameters, salt = Argon2Parameters(), secrets.token_bytes(SALT_BYTES)
        kek = await self._kek(pin, salt, parameters, user_id, credential_id)
        builder = x509.CertificateSigningRequestBuilder().subject_name(
            distinguished_name(str(credential_id), serial_number=user_id)
        )

        def certify(key: HsmPrivateKey) -> bytes:
            return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)

        made = await self._hsm.generate_user_key(WRAPPING_KEY, algorithm, certify)
        wrapped = seal_wrapped_key(kek, made.wrapped, user=user_id, credential_id=str(credential_id))
        return NewCredential(Credential(credential_id, user_id, algorithm, salt, parameters, wrapped), made.certified)

    async def open(self, credential: Credential, pin: str) -> bytes:
        """The key as the HSM wrapped it. Raises WrongPin, HsmUnavailable."""
        kek = await self._kek(pin, credential.salt, credential.parameters, credential.user_id, credential.credential_id)
        return open_wrapped_key(
            kek, credential.wrapped, user=credential.user_id, credential_id=str(credential.credential_id)
        )

    async def sign(self, algorithm: UserKeyAlgorithm, wrapped: bytes, messages: list[bytes]) -> list[bytes]:
        """A signature for each message, in order. Raises HsmUnavailable, KeyUnusable."""
        return await self._hsm.sign_many(WRAPPING_KEY, algorithm, wrapped, messages)

    async def _kek(
        self, pin: str, salt: bytes, parameters: Argon2Parameters, user_id: str, credential_id: UUID
    ) -> bytes:
        stretched = await self._stretching(argon2id, pin, salt, parameters)
        mac = await self._hsm.hmac_sha256(PEPPER, stretched)
        return key_encryption_key(mac, user=user_id, credential_id=str(credential_id))
