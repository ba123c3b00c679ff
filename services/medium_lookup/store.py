"""medium_lookup's table: which requests were judged, so that a cancel finds who ends them."""

from pathlib import Path
from uuid import UUID

from libs.contracts.manifest import Header
from libs.contracts.reasons import Reason
from libs.storage.pool import Connection
from libs.storage.queries import load_queries
from services.medium_lookup.cancelling import Judged

_SQL = load_queries(Path(__file__).parent / "sql" / "medium_lookup.sql")
MIGRATIONS = Path(__file__).parent / "sql" / "migrations"


async def add_request(
    connection: Connection, request_id: UUID, header: Header | None, end_reason: Reason | None
) -> None:
    """Keep what was decided; call it under the request's cancel lock."""
    whose = (None, None) if header is None else (header.caller, header.user)
    await connection.execute(_SQL["add_request"], request_id, *whose, end_reason)


async def judged(connection: Connection, request_id: UUID) -> Judged | None:
    """What was decided of a request, None if it has not come, or waits."""
    row = await connection.fetchrow(_SQL["request"], request_id)
    if row is None:
        return None
    reason = row["end_reason"]
    return Judged(row["caller"], row["user_id"], None if reason is None else Reason(reason))
