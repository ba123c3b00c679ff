"""The ledger of one service: what was handled, what was decided, what is due (design section 3).

Every function takes the connection, so that a stage's own writes and the ledger's are one transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from itertools import accumulate, chain
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
from pydantic_core import from_json, to_json

from libs.contracts.cloudevents import Record
from libs.storage.pool import Connection
from libs.storage.queries import load_queries

_SQL = load_queries(Path(__file__).parent / "sql" / "ledger.sql")


@dataclass(frozen=True)
class Seen:
    """A delivery that was handled before, or is parked, and the hash of the content it had."""

    content_hash: bytes
    parked: bool


@dataclass(frozen=True)
class Outcome:
    """A record that follows from `cause`, recorded before it is published."""

    event_id: UUID
    cause: UUID
    record: Record


@dataclass(frozen=True)
class Due:
    """A claimed due row: a parked record, or a timer. `what` is the topic's name or the timer's.

    `at` is when it was due, `leased_until` until when the claim holds. `partition` and `offset` are where a parked
    record lay; a timer lay nowhere.
    """

    id: UUID
    what: str
    request_id: UUID | None
    why: str
    tries: int
    content_hash: bytes
    record: Record
    appended_at: datetime
    created_at: datetime
    now: datetime
    at: datetime
    leased_until: datetime
    partition: int | None
    offset: int | None

    @property
    def is_timer(self) -> bool:
        """Whether this never was a record on a topic."""
        return self.partition is None


_DUE_COLUMNS = [field.name for field in fields(Due) if field.name != "record"]


async def seen(
    connection: Connection, ids: Sequence[UUID], causes: Sequence[UUID]
) -> tuple[dict[UUID, Seen], list[UUID]]:
    """Which of these deliveries were handled, or parked, before; and which causes left outcomes unpublished."""
    rows = await connection.fetch(_SQL["seen"], ids, causes)
    handled = {row["id"]: Seen(row["content_hash"], row["parked"]) for row in rows if row["content_hash"] is not None}
    return handled, [row["id"] for row in rows if row["content_hash"] is None]


async def claim(connection: Connection, deliveries: Sequence[tuple[UUID, bytes]]) -> set[UUID]:
    """Mark (id, content hash) as handled; returns those that this transaction is the first to mark.

    Waits for a twin that is marking the same ids, at most `lock_timeout`. In id order, so that two never deadlock.
    """
    if not deliveries:
        return set()
    ids, hashes = zip(*deliveries, strict=True)
    return {row["id"] for row in await connection.fetch(_SQL["claim"], ids, hashes)}


async def claim_parked(connection: Connection, deliveries: Sequence[UUID]) -> set[UUID]:
    """Mark parked deliveries as handled; returns those that nobody else has marked since they were parked."""
    if not deliveries:
        return set()
    return {row["id"] for row in await connection.fetch(_SQL["claim_parked"], deliveries)}


async def unclaim(connection: Connection, deliveries: Sequence[UUID], parked: Sequence[UUID] = ()) -> None:
    """Take back the mark of deliveries that this transaction claimed and did not finish; `parked` ones wait on."""
    if deliveries:
        await connection.execute(_SQL["unclaim"], deliveries)
    if parked:
        await connection.execute(_SQL["unclaim_parked"], parked)


async def record(connection: Connection, outcomes: Sequence[Outcome]) -> set[UUID]:
    """Record outcomes; returns the ids that were new. One that is recorded already stays as it was first."""
    if not outcomes:
        return set()
    values = [outcome.record.value for outcome in outcomes]
    headers = [_headers_bytes(outcome.record) for outcome in outcomes]
    sizes = [len(value) + len(header) for value, header in zip(values, headers, strict=True)]
    rows = await connection.fetch(
        _SQL["record_outcomes"],
        uuid4(),
        b"".join(chain.from_iterable(zip(values, headers, strict=True))),
        [outcome.event_id for outcome in outcomes],
        [outcome.cause for outcome in outcomes],
        [outcome.record.topic for outcome in outcomes],
        [outcome.record.key for outcome in outcomes],
        list(accumulate(sizes[:-1], initial=0)),
        [len(value) for value in values],
        [len(header) for header in headers],
    )
    return {row["event_id"] for row in rows}


async def unpublished(
    connection: Connection, causes: Sequence[UUID], event_ids: Sequence[UUID] = ()
) -> list[tuple[UUID, Record]]:
    """Recorded outcomes, of these causes or with these ids, that nobody marked as published."""
    rows = await connection.fetch(_SQL["unpublished"], causes, event_ids)
    return [(row["event_id"], _record(row["topic"], row)) for row in rows]


async def mark_published(connection: Connection, event_ids: Sequence[UUID]) -> None:
    """The broker has acknowledged these."""
    if event_ids:
        await connection.execute(_SQL["mark_published"], event_ids)


async def leftovers(connection: Connection, *, older_than: timedelta, limit: int) -> list[tuple[UUID, Record]]:
    """Outcomes that were recorded a while ago and that nobody marked as published, oldest first."""
    rows = await connection.fetch(_SQL["leftovers"], older_than, limit)
    return [(row["event_id"], _record(row["topic"], row)) for row in rows]


async def recorded(connection: Connection, event_ids: Sequence[UUID]) -> list[Record]:
    """Recorded outcomes with these ids, published or not, in the order in which they were recorded."""
    rows = await connection.fetch(_SQL["recorded"], event_ids)
    return [_record(row["topic"], row) for row in rows]


async def park(
    connection: Connection,
    *,
    delivery: UUID,
    request_id: UUID | None,
    record: Record,
    partition: int,
    offset: int,
    content_hash: bytes,
    appended_at: datetime,
    after: timedelta,
    why: str,
) -> None:
    """This one claimed record waits; its offset may move on."""
    await connection.execute(
        _SQL["park"],
        delivery,
        record.topic,
        request_id,
        after,
        why,
        content_hash,
        record.key,
        record.value,
        _headers_text(record),
        appended_at,
        partition,
        offset,
    )


async def park_again(connection: Connection, due: Due, after: timedelta, why: str) -> None:
    """A parked record, or a timer, whose time has not come yet."""
    await connection.execute(_SQL["park_again"], due.id, due.at, after, why)


async def bury_parked(connection: Connection, ids: Sequence[UUID]) -> None:
    """Forget parked records that nobody can process; their ids are free for the true events of those ids."""
    if ids:
        await connection.execute(_SQL["bury_parked"], ids)


async def set_timer(
    connection: Connection, *, timer: UUID, request_id: UUID | None, at: datetime, content_hash: bytes, record: Record
) -> None:
    """Set or move a timer; `record.topic` is its name. It fires once at `at` by the database's clock, or soon after.

    Moved while it fires, or set again after it fired, it fires again at the new time: no move is lost, and a handler
    judges by its own tables whether the time has come.
    """
    await connection.execute(
        _SQL["set_timer"],
        timer,
        record.topic,
        request_id,
        at,
        content_hash,
        record.key,
        record.value,
        _headers_text(record),
    )


async def claim_due(connection: Connection, *, what: Sequence[str], lease: timedelta, limit: int) -> list[Due]:
    """Lease rows that are due; a lease that runs out is claimed again, so a frozen replica holds nothing."""
    rows = await connection.fetch(_SQL["claim_due"], lease, what, limit)
    return [Due(record=_record(row["what"], row), **{name: row[name] for name in _DUE_COLUMNS}) for row in rows]


async def renew_due(connection: Connection, rows: Sequence[Due], leased_until: datetime, lease: timedelta) -> datetime:
    """Keep rows of one claim for another while; returns until when. What was given up or taken since is not touched."""
    renewed = await connection.fetchval(_SQL["renew_due"], [row.id for row in rows], leased_until, lease)
    return renewed or leased_until


async def release_due(connection: Connection, rows: Sequence[Due], leased_until: datetime, after: timedelta) -> None:
    """Give rows of one claim back, to be claimed again after a while; a twin that has taken one since keeps it."""
    if rows:
        await connection.execute(_SQL["release_due"], [row.id for row in rows], leased_until, after)


async def finish_due(connection: Connection, rows: Sequence[Due]) -> None:
    """Delete due rows that were handled; call it when their outcomes are published."""
    if rows:
        await connection.execute(_SQL["finish_due"], [row.id for row in rows], [row.at for row in rows])


def _headers_text(record: Record) -> str:
    return _headers_bytes(record).decode()


def _headers_bytes(record: Record) -> bytes:
    # Latin-1 maps every byte to one character and back: a header's value may be any bytes.
    return to_json([[name, value.decode("latin-1")] for name, value in record.headers])


def _record(topic: str, row: asyncpg.Record) -> Record:
    headers = tuple((name, value.encode("latin-1")) for name, value in from_json(row["headers"]))
    return Record(topic, row["key"], row["value"], headers)
