"""What is posted together lies together, and each record comes apart again as it was logged."""

from uuid import uuid4

import pytest

from libs.storage.migrations import migrate
from services.posting.app import MIGRATIONS
from tests.support.bus import open_room
from tests.support.stack import Stack

pytestmark = pytest.mark.stack

CONTENT = MIGRATIONS / "0004_record_content.sql"
EVERY_BYTE = bytes(range(256))
BY_ROW = """
INSERT INTO record (
    record_id, request_id, place, system, document_id, action, user_id, sha256, amount, currency, value, posted_at
)
VALUES ($1, $1, 0, 'iGFMAS', 'B-1', 'sah', '900101015555', '', '1.00', 'MYR', $2, now())
"""


async def test_what_was_posted_row_by_row_before_is_read_as_it_was(
    stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    record_id = uuid4()
    before = tmp_path_factory.mktemp("before") / "posting" / "sql" / "migrations"
    before.mkdir(parents=True)
    for file in MIGRATIONS.glob("*.sql"):
        if file.name < CONTENT.name:
            (before / file.name).write_bytes(file.read_bytes())
    async with open_room(stack, before) as room:
        await room.pool.execute(BY_ROW, record_id, EVERY_BYTE)
        await migrate(room.pool, [MIGRATIONS])
        assert await room.pool.fetchval("SELECT value FROM posted_record WHERE record_id = $1", record_id) == EVERY_BYTE


async def test_a_record_whose_content_is_gone_is_read_as_an_empty_one(stack: Stack) -> None:
    """I-37: of which no leaf was made, so that an audit names it."""
    async with open_room(stack, MIGRATIONS) as room:
        await room.pool.execute(
            BY_ROW.replace("value, posted_at", "posted_at, content_id, starts, size").replace(
                "$2, now()", "now(), $2, 0, 9"
            ),
            uuid4(),
            uuid4(),
        )
        assert await room.pool.fetchval("SELECT value FROM posted_record") == b""
