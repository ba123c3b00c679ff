"""The file of a backup: the signer's custody as JSON, and a signature over it by a key of the HSM.

What is in it opens nothing without the HSM: users' keys are wrapped under one of its keys and encrypted under another
and the officer's PIN. There is no PIN, no code, and no key of the HSM in it.
"""

import base64
import binascii
import hashlib
from typing import Annotated, Final
from uuid import UUID

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import Field, ValidationError

from libs.contracts.base import Base64, Exact, UtcTime
from libs.crypto.signatures import verify
from libs.hsm.adapters import HsmECPrivateKey, HsmPrivateKey
from libs.hsm.errors import HsmRefused
from libs.hsm.hsm import Hsm
from libs.hsm.user_keys import UserKeyAlgorithm

BACKUP_KEY: Final = "custody-backup-1"
"""Label of the P-256 key of the HSM that signs backups; `init` makes it."""

_DOMAIN: Final = b"gpki.custody-backup.v1\n"
"""Begins what is signed."""


class BackupError(Exception):
    """The file is no backup that this HSM signed; says why."""


class Place(Exact):
    """Up to where what the signer has said on this partition is in the backup."""

    topic: str
    partition: int
    next_offset: int


class BackedUpCredential(Exact):
    """A row of `credential`; without `wrapped` its key was destroyed."""

    credential_id: UUID
    user_id: str
    algorithm: UserKeyAlgorithm
    wrapped: Annotated[Base64 | None, Field(repr=False)]
    salt: Base64
    wrapping_key: str | None
    pepper: str | None
    memory_kib: int
    iterations: int
    parallelism: int
    wrong_pins: int
    locked_at: UtcTime | None
    destroyed_at: UtcTime | None
    created_at: UtcTime


class Backup(Exact):
    """Custody as it was at `made_at` (the database's time); `history` says up to where it knows Kafka's.

    `custody_keys` are the HSM's keys that it is under, by their labels, `destroyed_keys` those that are gone for good.
    """

    made_at: UtcTime
    history: tuple[Place, ...]
    custody_keys: tuple[str, ...]
    destroyed_keys: tuple[str, ...]
    credentials: tuple[BackedUpCredential, ...]


def digest(file: bytes) -> str:
    """What an order names: the hex SHA-256 of the whole file."""
    return hashlib.sha256(file).hexdigest()


async def sealed(backup: Backup, hsm: Hsm) -> bytes:
    """The file: one line of content, one of its signature. Raises HsmError."""
    content = backup.model_dump_json().encode()
    signature = await hsm.with_private_key(BACKUP_KEY, lambda key: _sign(key, _DOMAIN + content))
    return content + b"\n" + base64.b64encode(signature) + b"\n"


async def opened(file: bytes, hsm: Hsm) -> Backup:
    """The content of a file that this HSM's key has signed. Raises BackupError, HsmError."""
    content, _, rest = file.partition(b"\n")
    public = await hsm.with_private_key(BACKUP_KEY, lambda key: key.public_key())
    try:
        holds = verify(public, base64.b64decode(rest.strip(), validate=True), _DOMAIN + content)
    except binascii.Error:
        holds = False
    if not holds:
        raise BackupError("it was changed, or this HSM has not signed it")
    try:
        return Backup.model_validate_json(content)
    except ValidationError:
        raise BackupError("it is of another release") from None


def _sign(key: HsmPrivateKey, message: bytes) -> bytes:
    if not isinstance(key, HsmECPrivateKey):
        raise HsmRefused("the key of backups is not of P-256")
    return key.sign(message, ec.ECDSA(hashes.SHA256()))
