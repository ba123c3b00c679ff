"""A service's own copy of the state topics: users, certificates, keys; the highest version wins."""

from collections.abc import Collection, Sequence
from hashlib import sha256
from pathlib import Path
from uuid import UUID

from libs.contracts.state import Certificate, Key, User
from libs.storage.pool import Connection
from libs.storage.queries import load_queries

_SQL = load_queries(Path(__file__).parent / "sql" / "state.sql")


async def put_users(connection: Connection, users: Sequence[User]) -> None:
    """Keep the newest state of each."""
    await connection.executemany(
        _SQL["put_user"], [(user.user, user.version, user.model_dump_json().encode()) for user in users]
    )


async def put_certificates(connection: Connection, certificates: Sequence[Certificate]) -> None:
    """Keep the newest state of each."""
    await connection.executemany(
        _SQL["put_certificate"],
        [
            (c.credential_id, c.user, c.version, c.model_dump_json().encode(), sha256(c.certificate).digest())
            for c in certificates
        ],
    )


async def put_keys(connection: Connection, keys: Sequence[Key]) -> None:
    """Keep the newest state of each."""
    await connection.executemany(
        _SQL["put_key"], [(key.key_id, key.purpose, key.version, key.model_dump_json().encode()) for key in keys]
    )


async def user(connection: Connection, user_id: str) -> User | None:
    """The user with this kad pengenalan, if registered."""
    value = await connection.fetchval(_SQL["user"], user_id)
    return None if value is None else User.model_validate_json(value)


async def certificates(connection: Connection, credential_ids: Sequence[UUID]) -> dict[UUID, Certificate]:
    """The certificates of these credentials, as far as they were issued."""
    rows = await connection.fetch(_SQL["certificates"], credential_ids)
    return {row["credential_id"]: Certificate.model_validate_json(row["value"]) for row in rows}


async def certificates_by_fingerprint(
    connection: Connection, fingerprints: Collection[bytes]
) -> dict[bytes, Certificate]:
    """The state of these certificates, by SHA-256 of their DER, as far as they are registered."""
    if not fingerprints:
        return {}
    rows = await connection.fetch(_SQL["certificates_by_fingerprint"], list(fingerprints))
    return {row["fingerprint"]: Certificate.model_validate_json(row["value"]) for row in rows}


async def key(connection: Connection, key_id: str, purpose: str) -> Key | None:
    """A key of this purpose. Its chain was checked against the service root before it was kept."""
    value = await connection.fetchval(_SQL["key"], key_id, purpose)
    return None if value is None else Key.model_validate_json(value)


async def keys(connection: Connection, purpose: str) -> list[Key]:
    """All keys of this purpose, retired ones too."""
    return [Key.model_validate_json(row["value"]) for row in await connection.fetch(_SQL["keys"], purpose)]
