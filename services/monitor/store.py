"""monitor's tables. What is written is a union: the same again, in whatever order, changes nothing."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Final, Literal
from uuid import UUID

from libs.storage.pool import Connection
from libs.storage.queries import load_queries
from services.monitor.facts import Batch, Document, Key, Request

_SQL = load_queries(Path(__file__).parent / "sql" / "monitor.sql")

TOLD_AT_ONCE: Final = 1_000
"""Documents that one look tells of; of more the next one does."""

Kind = Literal["signed-not-posted", "token-signed-not-posted", "posted-not-signed"]

_TELL: Final[Mapping[Kind, str]] = {
    "signed-not-posted": "tell_unposted",
    "token-signed-not-posted": "tell_token_unposted",
    "posted-not-signed": "tell_unsigned",
}


@dataclass(frozen=True)
class Late:
    """A document that nothing has answered, and since when it waits for that."""

    request_id: UUID
    document_id: str
    since: datetime


@dataclass(frozen=True)
class Open:
    """What is open: how many documents for longer than they may be, and since when the oldest of all.

    `untold` counts late ones of which no alarm was raised.
    """

    unposted: int
    unposted_since: datetime | None
    token_unposted: int
    token_unposted_since: datetime | None
    unsigned: int
    unsigned_since: datetime | None
    request_since: datetime | None
    untold: int


@dataclass(frozen=True)
class Days:
    """Which day was closed last, whether its files are there, and the next day that has a request."""

    closed: date | None
    written: bool
    next: date | None


@dataclass(frozen=True)
class RequestOfDay:
    """A request that was completed, as the daily file needs it; `documents` and `refusals` as `facts.Request`."""

    request_id: UUID
    header: str | None
    documents: bytes | None
    completed_at: datetime
    posted: int
    refusals: bytes


@dataclass(frozen=True)
class Pruned:
    """How many rows one step of pruning took."""

    requests: int
    documents: int


async def write(connection: Connection, batch: Batch) -> None:
    """Write a batch, in one transaction of the caller's; in key order, so that two never deadlock."""
    if batch.requests:
        await connection.execute(_SQL["lock_days"])
        await connection.execute(_SQL["write_requests"], list(batch.requests), *_columns(batch.requests, Request))
    if batch.documents:
        requests, names = zip(*batch.documents, strict=True)
        await connection.execute(_SQL["write_documents"], requests, names, *_columns(batch.documents, Document))
    concerned = _may_end(batch)
    if concerned:
        await connection.execute(_SQL["end_documents"], list(concerned))


def _columns(rows: Mapping[Key, Document] | Mapping[UUID, Request], kind: type) -> list[list[object]]:
    return [[getattr(row, name) for row in rows.values()] for name in kind.__slots__]  # type: ignore[attr-defined]


def _may_end(batch: Batch) -> set[UUID]:
    """Requests of which a document may be open and ended by a rejection of the whole, whichever came first."""
    ended = {request_id for request_id, request in batch.requests.items() if request.ended_at is not None}
    halves = {key[0] for key, one in batch.documents.items() if one.posted_at is None and one.rejected_at is None}
    return ended | halves


async def tell_late(connection: Connection, kind: Kind, before: datetime) -> list[Late]:
    """Mark documents that nothing answered since `before`, each once; the caller's transaction tells of them."""
    rows = await connection.fetch(_SQL[_TELL[kind]], before, TOLD_AT_ONCE)
    return [Late(row["request_id"], row["document_id"], row["since"]) for row in rows]


async def answered(connection: Connection) -> list[Key]:
    """Documents that were told of and agree by now; they are forgotten as such."""
    return [(row["request_id"], row["document_id"]) for row in await connection.fetch(_SQL["answered"])]


async def still_open(connection: Connection, before: Mapping[Kind, datetime]) -> Open:
    """What is open; counted are documents that wait since before these times."""
    row = await connection.fetchrow(_SQL["still_open"], *(before[kind] for kind in _TELL))
    assert row is not None
    return Open(**dict(row))


async def days(connection: Connection) -> Days:
    """Where the daily files stand."""
    row = await connection.fetchrow(_SQL["days"])
    assert row is not None
    return Days(**dict(row))


async def close_day(connection: Connection, day: date, now: datetime) -> None:
    """Let nothing more come into this day. Waits for the batches that are being written."""
    await connection.execute(_SQL["lock_days_alone"])
    await connection.execute(_SQL["close_day"], day, now)


async def callers_before(connection: Connection, day: date) -> list[str]:
    """Who had a file of the day before: they have one of each day from their first request on."""
    return [row["caller"] for row in await connection.fetch(_SQL["callers_before"], day)]


async def mark_written(connection: Connection, day: date, files: Mapping[str, str]) -> None:
    """The day's files are there: caller → hex SHA-256."""
    await connection.execute(_SQL["written"], day, json.dumps(files))


async def requests_of_day(
    connection: Connection, day: date, after: tuple[datetime, UUID], limit: int
) -> list[RequestOfDay]:
    """The next requests of a day in the order of their completion, after (completed_at, request_id)."""
    return [RequestOfDay(**dict(row)) for row in await connection.fetch(_SQL["requests_of_day"], day, *after, limit)]


async def posted_of(connection: Connection, request_id: UUID) -> dict[str, datetime]:
    """When each document of a request was posted."""
    rows = await connection.fetch(_SQL["posted_of_request"], request_id)
    return {row["document_id"]: row["posted_at"] for row in rows}


async def mark_pruned(connection: Connection, before: date, now: datetime) -> None:
    """Let days before this one go that have their file. Waits for the batches that are being written."""
    await connection.execute(_SQL["lock_days_alone"])
    await connection.execute(_SQL["mark_pruned"], before, now)


async def prune(connection: Connection, limit: int) -> Pruned:
    """Forget so many settled requests of marked days, oldest first, with their documents."""
    row = await connection.fetchrow(_SQL["prune"], limit)
    assert row is not None
    return Pruned(**dict(row))
