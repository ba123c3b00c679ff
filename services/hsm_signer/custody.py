"""Custody of users' keys: opened by PIN and HSM together, used inside the HSM only (design section 4.4)."""

import secrets
from dataclasses import dataclass, field, replace
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
from libs.runtime.memory import give_back

WRAPPING_KEY = "user-wrapping-1"
"""Label of the first AES key under which users' keys leave the HSM; a setting names the current one."""

PEPPER = "pin-pepper-1"
"""Label of the first HMAC key without which a PIN opens nothing; a setting names the current one."""


@dataclass(frozen=True)
class Protection:
    """With what a key is protected outside the HSM: two keys of the HSM by their labels, and the cost of Argon2id."""

    wrapping_key: str = WRAPPING_KEY
    pepper: str = PEPPER
    parameters: Argon2Parameters = field(default_factory=Argon2Parameters)


@dataclass(frozen=True)
class Credential:
    """A user's key as it is kept. `wrapped` opens with the PIN only."""

    credential_id: UUID
    user_id: str
    algorithm: UserKeyAlgorithm
    salt: bytes
    protection: Protection
    wrapped: bytes = field(repr=False)


@dataclass(frozen=True)
class NewCredential:
    """A credential that was just made, and the PKCS#10 request that its key signed."""

    credential: Credential
    csr: bytes


@dataclass(frozen=True)
class OpenedKey:
    """A user's key that the PIN has opened: it is of use in the HSM only, under the key that wrapped it there."""

    algorithm: UserKeyAlgorithm
    wrapping_key: str
    wrapped: bytes = field(repr=False)


class Custody:
    """Opens, makes and uses users' keys. Safe for concurrent use; the HSM works one call after another.

    What is made, and what is sealed again, is protected as `current` says. Only a key under a wrapping key of before
    there were trusted ones stays there: the HSM never lets out what that one unwraps (libs/hsm/wrapping_keys.py).
    """

    def __init__(self, hsm: Hsm, stretching: Offload, current: Protection | None = None) -> None:
        """`stretching`: as many threads as may have Argon2id's memory at once."""
        self._hsm = hsm
        self._stretching = stretching
        self._current = current or Protection()

    async def create(
        self, pin: str, *, credential_id: UUID, user_id: str, algorithm: UserKeyAlgorithm
    ) -> NewCredential:
        """Make a key pair under a PIN. Raises HsmUnavailable."""
        builder = x509.CertificateSigningRequestBuilder().subject_name(
            distinguished_name(str(credential_id), serial_number=user_id)
        )

        def certify(key: HsmPrivateKey) -> bytes:
            return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)

        made = await self._hsm.generate_user_key(self._current.wrapping_key, algorithm, certify)
        empty = Credential(credential_id, user_id, algorithm, b"", self._current, b"")
        return NewCredential(await self._sealed(empty, pin, self._current, made.wrapped), made.certified)

    async def open(self, credential: Credential, pin: str) -> OpenedKey:
        """The key as the HSM wrapped it, moved to the current wrapping key.

        Who signs or seals with it goes on under the current one, also when the older is destroyed meanwhile.
        Raises WrongPin, HsmUnavailable, KeyUnusable.
        """
        kek = await self._kek(credential, pin)
        wrapped = open_wrapped_key(
            kek, credential.wrapped, user=credential.user_id, credential_id=str(credential.credential_id)
        )
        kept, now = credential.protection.wrapping_key, self._current.wrapping_key
        moved = None if kept == now else await self._hsm.move_user_key(kept, now, credential.algorithm, wrapped)
        if moved is not None:
            return OpenedKey(credential.algorithm, now, moved)
        return OpenedKey(credential.algorithm, kept, wrapped)

    async def renewed(self, credential: Credential, pin: str, opened: OpenedKey) -> Credential | None:
        """The same under the same PIN, where its protection is outdated: other keys of the HSM, lower parameters."""
        kept, now = credential.protection, self._current
        same_keys = (kept.wrapping_key, kept.pepper) == (opened.wrapping_key, now.pepper)
        if same_keys and not now.parameters.raises(kept.parameters):
            return None
        return await self.seal_again(credential, pin, opened)

    async def seal_again(self, credential: Credential, pin: str, opened: OpenedKey) -> Credential:
        """The opened key under this PIN, a new salt, the HSM's current keys, and the current cost, which never falls.

        The caller keeps it in place of the very credential that was opened, and of no other. Raises HsmUnavailable.
        """
        kept, now = credential.protection, self._current
        parameters = now.parameters if now.parameters.raises(kept.parameters) else kept.parameters
        return await self._sealed(
            credential, pin, Protection(opened.wrapping_key, now.pepper, parameters), opened.wrapped
        )

    async def sign(self, key: OpenedKey, messages: list[bytes]) -> list[bytes]:
        """A signature for each message, in order. Raises HsmUnavailable, KeyUnusable."""
        return await self._hsm.sign_many(key.wrapping_key, key.algorithm, key.wrapped, messages)

    async def _sealed(self, credential: Credential, pin: str, protection: Protection, wrapped: bytes) -> Credential:
        salted = replace(credential, salt=secrets.token_bytes(SALT_BYTES), protection=protection)
        kek = await self._kek(salted, pin)
        blob = seal_wrapped_key(kek, wrapped, user=salted.user_id, credential_id=str(salted.credential_id))
        return replace(salted, wrapped=blob)

    async def _kek(self, credential: Credential, pin: str) -> bytes:
        stretched = await self._stretching(_stretched, pin, credential.salt, credential.protection.parameters)
        mac = await self._hsm.hmac_sha256(credential.protection.pepper, stretched)
        return key_encryption_key(mac, user=credential.user_id, credential_id=str(credential.credential_id))


def _stretched(pin: str, salt: bytes, parameters: Argon2Parameters) -> bytes:
    give_back()  # Argon2id's 7 MiB come on top of what the last Pukal has left, and are the most that the signer holds
    return argon2id(pin, salt, parameters)
