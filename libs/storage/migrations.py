"""Migrations: numbered `.sql` files, applied once each, in order, under a lock, by the owner of the schema."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from asyncpg import UndefinedTableError

from libs.storage.pool import Pool

LEDGER_MIGRATIONS = Path(__file__).parent / "sql" / "migrations"
"""The tables of `ledger.py`, which every service has in its own schema."""

_LOCK = int.from_bytes(hashlib.sha256(b"gpki.migrations").digest()[:8], "big", signed=True)


class MigrationChanged(Exception):
    """A file that was applied before now has other content; add a new file instead of editing an old one."""


class NotMigrated(Exception):
    """A schema lacks what this version of the service needs; its owner applies it before the service starts."""


async def require_migrated(pool: Pool, folders: Sequence[Path]) -> None:
    """Return if all of these were applied as they are. A service asks: its role cannot apply them.

    Raises NotMigrated, MigrationChanged.
    """
    try:
        done = {row["name"]: row["sha256"] for row in await pool.fetch("SELECT name, sha256 FROM migration")}
    except UndefinedTableError:
        done = {}
    for name, file in files(folders).items():
        if name not in done:
            raise NotMigrated(f"{name} is not applied: have the owner of the schemas apply it, then start again")
        if done[name] != digest_of(file):
            raise MigrationChanged(name)


async def migrate(pool: Pool, folders: Sequence[Path]) -> list[str]:
    """Apply what is missing, each file in a transaction of its own; returns the names applied.

    As the owner of the schema, which no service is. Safe to run from many hosts at once. Raises MigrationChanged.
    """
    applied: list[str] = []
    async with pool.acquire() as connection:
        await connection.execute("SET lock_timeout = '60s'")
        await connection.execute("SELECT pg_advisory_lock(hashtext(current_schema()), $1)", _LOCK & 0x7FFFFFFF)
        try:
            await connection.execute(
                "CREATE TABLE IF NOT EXISTS migration (name text PRIMARY KEY, sha256 bytea NOT NULL, "
                "applied_at timestamptz NOT NULL DEFAULT now())"
            )
            done = {row["name"]: row["sha256"] for row in await connection.fetch("SELECT name, sha256 FROM migration")}
            for name, file in files(folders).items():
                digest = digest_of(file)
                if name in done:
                    if done[name] != digest:
                        raise MigrationChanged(name)
                    continue
                async with connection.transaction():
                    await connection.execute(file.read_text(encoding="utf-8"))
                    await connection.execute("INSERT INTO migration (name, sha256) VALUES ($1, $2)", name, digest)
                applied.append(name)
        finally:
            await connection.execute("SELECT pg_advisory_unlock_all()")
            await connection.execute("RESET lock_timeout")
    return applied


def files(folders: Sequence[Path]) -> dict[str, Path]:
    """The migrations of these folders by the name under which they are applied, in their order."""
    return {
        f"{folder.parent.parent.name}/{file.stem}": file for folder in folders for file in sorted(folder.glob("*.sql"))
    }


def digest_of(file: Path) -> bytes:
    """What tells that a file was applied as it is: the SHA-256 of its bytes."""
    return hashlib.sha256(file.read_bytes()).digest()
