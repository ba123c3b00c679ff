"""What the services recorded, read from their ledgers and published once more: the same bytes, the same event ids."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg

from libs.bus.delivery import delivery_id
from libs.bus.publisher import Publisher
from libs.contracts.base import Event
from libs.contracts.topics import Topic
from libs.runtime.kafka_access import KafkaAccess
from libs.storage import ledger
from libs.storage.pool import Connection
from services.operations.database import LEDGERS, Database, connection, look_into
from services.operations.reading import placed

CHUNK: Final = 1_000
"""Outcomes that are looked at together."""

CHUNK_BYTES: Final = 16 * 1024 * 1024
"""Of what is held, and published, together."""

# Once per gap and by hand: no service asks this, and no index has to be kept for it.
_RECORDED: Final = """
SELECT event_id, key, recorded_at FROM outcome
WHERE topic = $1
    AND recorded_at >= coalesce($2::timestamptz, '-infinity') AND recorded_at <= coalesce($3::timestamptz, 'infinity')
ORDER BY recorded_at, event_id
"""

# monitor keeps no inbox. It prunes days whose file is written, which it is once all of the day is read: what it missed
# was recorded after the last one.
_PRUNED: Final = """
SELECT (max(day) + 1)::timestamp AT TIME ZONE 'Asia/Kuala_Lumpur' FROM daily_file WHERE pruned_at IS NOT NULL
"""

_HANDLED: Final = "SELECT id FROM inbox WHERE id = ANY ($1::uuid[])"


async def recorded(
    database: Database, topic: Topic, *, since: datetime | None, until: datetime | None
) -> dict[str, Sequence[UUID]]:
    """Every outcome for this topic that was recorded in this time, by service and in its order."""
    found: dict[str, Sequence[UUID]] = {}
    async with connection(database) as asked:
        for schema in LEDGERS:
            await look_into(asked, schema)
            ids = [row["event_id"] async for rows in _chunks(asked, topic, since, until) for row in rows]
            if ids:
                found[schema] = ids
    return found


async def unhandled(
    database: Database, service: str, topic: Topic, until: Mapping[int, datetime | None]
) -> dict[str, Sequence[UUID]]:
    """Outcomes for this topic that `service` has not handled, by who recorded them and in its order.

    `until`: partition → when the last of them was recorded at most, None for no bound; of other partitions none.
    """
    ends = list(until.values())
    last = None if None in ends else max(end for end in ends if end is not None)
    found: dict[str, Sequence[UUID]] = {}
    async with connection(database) as asked, connection(database) as consumer:
        await look_into(consumer, service)
        first = None if service in LEDGERS else await consumer.fetchval(_PRUNED)
        for schema in LEDGERS:
            await look_into(asked, schema)
            ids: list[UUID] = []
            async for rows in _chunks(asked, topic, first, last):
                there = [row["event_id"] for row in rows if _is_wanted(topic, row, until)]
                known = await _known(asked, topic, there)
                handled = await _handled(consumer, known.values()) if service in LEDGERS else set()
                ids += [one for one in there if known[one] not in handled]
            if ids:
                found[schema] = ids
    return found


async def _handled(consumer: Connection, ids: Collection[UUID]) -> set[UUID]:
    return {row["id"] for row in await consumer.fetch(_HANDLED, list(ids))}


async def publish(
    database: Database,
    kafka: KafkaAccess,
    topic: Topic,
    outcomes: Mapping[str, Sequence[UUID]],
    told: Callable[[int], None],
) -> None:
    """Publish these again; `told` is called with how many more the broker has acknowledged.

    Raises Unavailable when it does not: then some were published, and all of them may be again.
    """
    many = max(1, CHUNK_BYTES // topic.max_bytes)
    publisher = Publisher(kafka, client_id="operations")
    try:
        async with connection(database) as asked:
            for schema, ids in outcomes.items():
                await look_into(asked, schema)
                for start in range(0, len(ids), many):
                    records = await ledger.recorded(asked, ids[start : start + many])
                    await publisher.publish(records)
                    told(len(records))
    finally:
        await publisher.stop()


async def _chunks(
    asked: Connection, topic: Topic, since: datetime | None, until: datetime | None
) -> AsyncIterator[list[asyncpg.Record]]:
    """A service's outcomes for a topic; none when it keeps no ledger."""
    try:
        async with asked.transaction():
            cursor = await asked.cursor(_RECORDED, topic.name, since, until)
            while rows := await cursor.fetch(CHUNK):
                yield rows
    except asyncpg.UndefinedTableError:
        return


def _is_wanted(topic: Topic, row: asyncpg.Record, until: Mapping[int, datetime | None]) -> bool:
    partition = placed(topic, row["key"]).partition
    return partition in until and ((last := until[partition]) is None or row["recorded_at"] <= last)


async def _known(asked: Connection, topic: Topic, ids: Sequence[UUID]) -> dict[UUID, UUID]:
    """Under which id an inbox has each of these."""
    if topic.event.identity is Event.identity:
        return {one: delivery_id(topic, str(one)) for one in ids}
    found = {}
    for one in ids:
        (record,) = await ledger.recorded(asked, [one])
        identity = topic.event.model_validate_json(record.value).identity()
        assert identity is not None
        found[one] = identity[0]
    return found
