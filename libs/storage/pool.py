"""The connection pool of one service: its own role, its own schema, bounded waits, durable commits."""

from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
from asyncpg.protocol import protocol

from libs.runtime.transport import client_context
from libs.storage.errors import DatabaseUnavailable, is_unavailable

if TYPE_CHECKING:
    Pool = asyncpg.Pool[asyncpg.Record]
    Connection = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
else:
    Pool = asyncpg.Pool
    Connection = asyncpg.pool.PoolConnectionProxy

CONNECT_TIMEOUT = 10.0
"""Seconds until a server that does not answer counts as away."""

COMMAND_TIMEOUT = 30.0
"""Seconds that one statement may take; far above any of ours, far below a handler's bound."""


CONNECTIONS = 6
"""Of one service at most."""


# asyncpg asks each element of an array whether it is an array itself, by an abstract class: 0.3 us for a text or an id,
# of which a document has forty in posting. Asked by types, it costs next to nothing. Held against the pin by
# tests/integration/storage/test_arrays.py.
protocol.IterableABC = (list, tuple, set, frozenset)  # type: ignore[attr-defined]


async def _keep_session(_connection: object) -> None:
    """Spare a round trip per use: our sessions set nothing, and an open transaction is ended without this."""


async def open_pool(
    *,
    host: str,
    port: int,
    database: str,
    user: str,
    password: str,
    schema: str,
    connections: int = CONNECTIONS,
    transport_root: Path | None = None,
) -> Pool:
    """Open a pool whose connections see only `schema`.

    `lock_timeout` and `idle_in_transaction_session_timeout` of 5 s hold nobody behind a frozen replica (design
    section 3), but for what `end_stalled_sessions` ends and for who sets others in a transaction. Raises
    DatabaseUnavailable.
    """
    try:
        return await asyncpg.create_pool(
            host=host,
            port=port,
            database=database,
            user=user,
            password=password,
            ssl=client_context(transport_root),
            min_size=1,
            max_size=connections,
            timeout=CONNECT_TIMEOUT,
            command_timeout=COMMAND_TIMEOUT,
            reset=_keep_session,
            server_settings={
                "search_path": schema,
                "application_name": schema,
                "lock_timeout": "5s",
                "idle_in_transaction_session_timeout": "5s",
                "jit": "off",
                # A plan is made while tables are empty and kept: it must use an index, in its order, from the start.
                "enable_seqscan": "off",
                "enable_bitmapscan": "off",
                "enable_hashjoin": "off",
                "enable_mergejoin": "off",
            },
        )
    except Exception as error:
        if is_unavailable(error):
            raise DatabaseUnavailable from error
        raise


async def end_stalled_sessions(connection: Connection) -> int:
    """End our own role's sessions whose client has been silent for 5 s in the middle of a statement; returns how many.

    A client that froze between Parse and Sync is `active` for PostgreSQL and not idle: its locks hold its twin, and
    before version 17 (`transaction_timeout`) no time-out reaches it, since a cancel waits for the client's next
    message. Ask this whenever a lock could not be had.
    """
    return int(await connection.fetchval(_END_STALLED))


_END_STALLED = """
SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE usename = current_user AND datname = current_database() AND pid <> pg_backend_pid()
    AND state = 'active' AND wait_event = 'ClientRead' AND xact_start IS NOT NULL
    AND query_start < clock_timestamp() - interval '5 seconds'
"""
