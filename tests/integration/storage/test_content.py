"""The bytes of what is recorded together lie together, and come apart again."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import uuid4

import pytest

from libs.contracts.cloudevents import Record
from libs.storage import ledger
from libs.storage.ledger import Outcome
from libs.storage.migrations import LEDGER_MIGRATIONS
from libs.storage.pool import Connection
from tests.support.bus import Room

pytestmark = pytest.mark.stack

EVERY_BYTE = bytes(range(256))
RECORDS = (
    Record("topic", b"key", EVERY_BYTE * 40, (("ce_id", b"1"), ("odd", EVERY_BYTE))),
    Record("topic", None, b"", ()),
    Record("topic", EVERY_BYTE, "nilai £ ringgit".encode(), (("ce_id", b"2"),)),
)


def outcomes(records: Sequence[Record]) -> list[Outcome]:
    return [Outcome(uuid4(), uuid4(), record) for record in records]


async def test_what_is_recorded_together_is_read_apart_byte_for_byte(room: Room) -> None:
    """I-2: what is published again is what was recorded."""
    together, alone = outcomes(RECORDS), outcomes(RECORDS[:1])
    async with room.pool.acquire() as connection:
        assert await ledger.record(connection, together) == {one.event_id for one in together}
        await ledger.record(connection, alone)
        expected = {one.event_id: one.record for one in (*together, *alone)}
        causes = [one.cause for one in together]
        assert dict(await ledger.unpublished(connection, causes, [alone[0].event_id])) == expected
        assert dict(await ledger.leftovers(connection, older_than=timedelta(), limit=10)) == expected
        assert await ledger.recorded(connection, [together[2].event_id]) == [RECORDS[2]]
    assert await room.count("SELECT count(*) FROM content") == 2


async def test_what_is_recorded_again_leaves_the_first_bytes_and_no_others(room: Room) -> None:
    first = outcomes(RECORDS)
    other = [Outcome(one.event_id, one.cause, Record("topic", b"key", b"other", ())) for one in first]
    async with room.pool.acquire() as connection:
        await ledger.record(connection, first)
        assert await ledger.record(connection, other) == set()
        assert await room.count("SELECT count(*) FROM content") == 1
        more = outcomes(RECORDS[:1])
        assert await ledger.record(connection, [*other, *more]) == {more[0].event_id}
        found = await ledger.recorded(connection, [first[0].event_id, more[0].event_id])
        assert found == [RECORDS[0], RECORDS[0]]


async def test_what_was_recorded_row_by_row_before_is_read_as_it_was(room: Room) -> None:
    migrations = sorted(LEDGER_MIGRATIONS.glob("*.sql"))
    content = migrations.index(LEDGER_MIGRATIONS / "0006_content.sql")
    before, since = migrations[:content], migrations[content:]
    event_id = uuid4()
    async with room.pool.acquire() as connection, connection.transaction():
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
        await connection.execute(f"DROP TABLE {', '.join(row['tablename'] for row in tables)} CASCADE")
        for file in before:
            await connection.execute(file.read_text(encoding="utf-8"))
        await insert_by_row(connection, event_id)
        for file in since:
            await connection.execute(file.read_text(encoding="utf-8"))
        found = await ledger.unpublished(connection, (), [event_id])
    assert found == [(event_id, Record("topic", b"key", EVERY_BYTE, (("ce_id", b"\xff"),)))]


async def insert_by_row(connection: Connection, event_id: object) -> None:
    await connection.execute(
        "INSERT INTO outcome (event_id, cause, topic, key, value, headers)"
        """ VALUES ($1, $1, 'topic', $2, $3, '[["ce_id", "ÿ"]]')""",
        event_id,
        b"key",
        EVERY_BYTE,
    )
    await connection.execute("INSERT INTO unpublished VALUES ($1, $1)", event_id)
