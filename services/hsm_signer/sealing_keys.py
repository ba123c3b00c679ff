"""The signer's sealing keys: made daily, certified by the sealing authority in the HSM, destroyed when they are old.

A private key lies in the database, encrypted under a key of the HSM that is its alone and is destroyed with it: what a
backup, a dead row or a write-ahead log still holds opens nothing any more.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import asyncpg
import structlog
from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding

from libs.contracts.state import Key
from libs.crypto.pki import Issuer, ServicePurpose, Validity, build_service, distinguished_name
from libs.crypto.public_keys import public_key_id
from libs.hsm.errors import HsmRefused
from libs.hsm.hsm import Hsm
from libs.storage.pool import Connection, Pool
from libs.storage.queries import load_queries

AUTHORITY_KEY = "sealing-authority-1"
"""Label of the P-256 key that certifies sealing keys."""

log = structlog.get_logger()

_SQL = load_queries(Path(__file__).parent / "sql" / "signer.sql")
_DOMAIN = b"gpki.sealing-key-at-rest.v1"
_NONCE_BYTES = 12


@dataclass(frozen=True)
class NewSealingKey:
    """A key that was just made, not yet kept."""

    key_id: str
    chain: tuple[bytes, ...]
    encrypted: bytes = field(repr=False)
    created_at: datetime


class SealingKeys:
    """Opens by key id; rotates. Replicas share the keys through the database."""

    def __init__(
        self,
        hsm: Hsm,
        pool: Pool,
        authority_chain: tuple[bytes, ...],
        *,
        lifetime: timedelta,
        kept: timedelta,
    ) -> None:
        self._hsm = hsm
        self._pool = pool
        self._authority_chain = authority_chain
        self._lifetime = lifetime
        self._kept = kept
        self._private: dict[str, X25519PrivateKey] = {}

    async def private_key(self, key_id: str) -> X25519PrivateKey | None:
        """The private key, None for one that is unknown or destroyed. Raises HsmUnavailable.

        The rows are asked at each use: a key that any replica has destroyed is forgotten here.
        """
        async with self._pool.acquire() as connection:
            rows = await connection.fetch(_SQL["sealing_keys"])
        self._forget_all_but(rows)
        for row in rows:
            if row["key_id"] == key_id and key_id not in self._private:
                await self._decrypt(row)
        return self._private.get(key_id)

    async def is_due(self, now: datetime) -> bool:
        """Whether the newest key is old, or there is none."""
        async with self._pool.acquire() as connection:
            rows = await connection.fetch(_SQL["sealing_keys"])
        return not any(row["retired_at"] is None and now - row["created_at"] < self._lifetime for row in rows)

    async def make(self, now: datetime) -> NewSealingKey:
        """Make a key and have the authority certify it, valid until a replaced key is destroyed."""
        private = X25519PrivateKey.generate()
        public, key_id = private.public_key(), public_key_id(private.public_key())
        authority = x509.load_der_x509_certificate(self._authority_chain[0])
        start = now.replace(microsecond=0)
        validity = Validity(start - timedelta(minutes=5), start + self._lifetime + self._kept)
        serial = int.from_bytes(secrets.token_bytes(16), "big") >> 1

        certificate = await self._hsm.with_private_key(
            AUTHORITY_KEY,
            lambda key: build_service(
                Issuer(authority, key),
                public,
                purpose=ServicePurpose.SEALING,
                name=distinguished_name("hsm_signer"),
                serial=serial,
                validity=validity,
            ).public_bytes(Encoding.DER),
        )
        await self._hsm.ensure_mac_key(at_rest_label(key_id))
        nonce = secrets.token_bytes(_NONCE_BYTES)
        encrypted = AESGCM(await self._key_at_rest(key_id)).encrypt(nonce, private.private_bytes_raw(), _DOMAIN)
        return NewSealingKey(key_id, (certificate, *self._authority_chain), nonce + encrypted, now)

    async def rotate(self, connection: Connection, new: NewSealingKey, now: datetime) -> list[Key]:
        """Keep the new key, and retire the others; returns the states to publish.

        Nothing changes, and nothing is returned, when another replica has rotated meanwhile: the new key is given up.
        Raises HsmUnavailable.
        """
        await connection.execute(_SQL["lock_sealing_keys"])
        rows = await connection.fetch(_SQL["sealing_keys"])
        if any(row["retired_at"] is None and now - row["created_at"] < self._lifetime for row in rows):
            await self._destroy_at_rest(new.key_id)
            return []
        await connection.execute(_SQL["add_sealing_key"], new.key_id, new.chain, new.encrypted, new.created_at)
        retired = await connection.fetch(_SQL["retire_sealing_keys"], new.key_id, now)
        return [
            _state(new.key_id, new.chain, 1, None),
            *(_state(row["key_id"], row["chain"], 2, row["retired_at"]) for row in retired),
        ]

    async def destroy_old(self, connection: Connection, now: datetime) -> None:
        """Destroy private keys that were replaced longer ago than they are kept. Raises HsmUnavailable; then again.

        Ends with the transaction: what the HSM has destroyed by then is known to be gone when it is done again.
        """
        for row in await connection.fetch(_SQL["destroy_sealing_keys"], now - self._kept):
            await self._destroy_at_rest(row["key_id"])
        self._forget_all_but(await connection.fetch(_SQL["sealing_keys"]))

    def _forget_all_but(self, rows: Sequence[asyncpg.Record]) -> None:
        alive = {row["key_id"] for row in rows}
        self._private = {key_id: key for key_id, key in self._private.items() if key_id in alive}

    async def _decrypt(self, row: asyncpg.Record) -> None:
        key_id, encrypted = row["key_id"], row["private_key"]
        try:
            key = await self._key_at_rest(key_id)
            raw = AESGCM(key).decrypt(encrypted[:_NONCE_BYTES], encrypted[_NONCE_BYTES:], _DOMAIN)
        except (InvalidTag, HsmRefused):
            return  # altered in the database, or of a key that the HSM has not: as good as unknown
        self._private[key_id] = X25519PrivateKey.from_private_bytes(raw)

    async def _key_at_rest(self, key_id: str) -> bytes:
        return await self._hsm.hmac_sha256(at_rest_label(key_id), _DOMAIN + key_id.encode())

    async def _destroy_at_rest(self, key_id: str) -> None:
        if not await self._hsm.destroy_secret_key(at_rest_label(key_id)):
            log.warning("the key at rest was destroyed before", sealing_key=key_id)


def at_rest_label(key_id: str) -> str:
    """Label of the HMAC key from which the key comes that encrypts this sealing key at rest."""
    return f"sealing-at-rest-{key_id[:16]}"


def authority_key(chain: Sequence[bytes]) -> ec.EllipticCurvePublicKey:
    """The public key that the sealing authority's certificate names. Raises TypeError if it is none of P-256."""
    key = x509.load_der_x509_certificate(chain[0]).public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise TypeError("the sealing authority's certificate is not of a P-256 key")
    return key


async def authority_key_id(hsm: Hsm) -> str:
    """The id of the sealing authority's key in this token. Raises HsmUnavailable, HsmRefused when there is none."""
    return public_key_id(await hsm.with_private_key(AUTHORITY_KEY, lambda key: key.public_key()))


def _state(key_id: str, chain: tuple[bytes, ...], version: int, retired_at: datetime | None) -> Key:
    return Key(
        key_id=key_id, version=version, purpose="sealing", owner="hsm_signer", chain=chain, retired_at=retired_at
    )
