"""Cancels that came before their request: kept by each service that may end it, applied by the one that does."""

from pathlib import Path
from uuid import UUID

import structlog

from libs.contracts.cancelling import CancelRequested
from libs.storage.pool import Connection
from libs.storage.queries import load_queries

_SQL = load_queries(Path(__file__).parent / "sql" / "cancels.sql")

log = structlog.get_logger()


async def lock(connection: Connection, request_id: UUID) -> None:
    """Until the transaction ends: whoever first writes of a request, and whoever cancels it, see one another.

    Without it a cancel is kept beside a request that has just come and never looks again. Take it before the
    request's row.
    """
    await connection.execute(_SQL["lock"], request_id)


async def keep(connection: Connection, event: CancelRequested) -> None:
    """Keep a cancel for the request that is yet to come. Call it under `lock`."""
    await connection.execute(_SQL["keep"], event.request_id, event.cancellation, event.caller, event.user)


async def wait(connection: Connection, request_id: UUID, *, caller: str, user: str) -> bool:
    """Whether this caller's and user's own cancel waits for this request."""
    return bool(await connection.fetchval(_SQL["wait"], request_id, caller, user))


async def take(connection: Connection, request_id: UUID, *, caller: str, user: str) -> tuple[UUID, ...]:
    """The cancels that waited for this request, which is this caller's and user's; those of others are dropped."""
    rows = await connection.fetch(_SQL["take"], request_id, caller, user)
    if not all(row["own"] for row in rows):
        log.warning("cancel of somebody else dropped", request_id=str(request_id))
    return tuple(row["cancellation"] for row in rows if row["own"])
