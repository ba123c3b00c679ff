"""posting's, or any, tables as the operator may see them: read, and nothing else."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg
from pydantic import SecretStr


@dataclass(frozen=True)
class Database:
    """Where PostgreSQL is, and who asks."""

    host: str
    port: int
    name: str
    user: str
    password: SecretStr


@contextlib.asynccontextmanager
async def connection(
    database: Database, *, as_name: str, seconds: float
) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    """A session that can write nothing; `seconds` to connect. Raises what asyncpg raises."""
    opened = await asyncpg.connect(
        host=database.host,
        port=database.port,
        database=database.name,
        user=database.user,
        password=database.password.get_secret_value(),
        timeout=seconds,
        server_settings={"application_name": as_name, "default_transaction_read_only": "on"},
    )
    try:
        yield opened
    finally:
        opened.terminate()
