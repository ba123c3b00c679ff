"""The log's checkpoints on the real stack: one chain, signed in a real HSM; and posting does without when it must."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from libs.contracts import topics
from libs.contracts.log import LogCheckpoint, LogTile
from libs.crypto import notes
from libs.crypto.merkle import is_consistent, leaf_hash, tree_root
from libs.hsm.errors import HsmUnavailable
from services.posting.log_key import LogKey
from tests.integration.posting.conftest import Posting, Replica
from tests.support.documents import fresh_ids, signed
from tests.support.stack import Stack
from tests.support.tap import Tap, open_tap
from tests.support.waiting import eventually

pytestmark = pytest.mark.stack


@pytest_asyncio.fixture(loop_scope="session")
async def log_tap(posting: Posting, stack: Stack) -> AsyncIterator[Tap]:
    async with open_tap(stack, (topics.LOG_CHECKPOINT, topics.LOG_TILE), from_now=True) as tap:
        yield tap


def checkpoints(tap: Tap) -> list[LogCheckpoint]:
    return [LogCheckpoint.model_validate_json(record.value or b"") for record in tap.of(topics.LOG_CHECKPOINT)]


async def post(posting: Posting, count: int) -> Any:
    documents = signed(await posting.officer(), fresh_ids(count))
    await posting.verify(documents)
    await posting.completed(documents[0].request_id)
    return documents[0].request_id


async def size(posting: Posting) -> int:
    return int(await posting.database.fetchval("SELECT count(*) FROM signing_log"))


async def signed_to_the_end(posting: Posting, tap: Tap) -> LogCheckpoint:
    """The checkpoint over all that is posted."""
    end = await size(posting)

    async def there() -> LogCheckpoint | None:
        await tap.read()
        return next((one for one in checkpoints(tap) if notes.read(one.note).size == end), None)

    found: LogCheckpoint = await eventually(there, "a checkpoint of all of it", seconds=60)
    return found


async def test_checkpoints_are_one_chain_over_the_log_signed_by_its_key(
    posting: Posting, replica: Replica, log_tap: Tap, log_key: LogKey
) -> None:
    """I-42: over two replicas, 400 documents, tiles of several levels; each proves the one before, and its leaves."""
    async with replica():
        for count in (3, 390, 7):
            await post(posting, count)
            await signed_to_the_end(posting, log_tap)
    rows = await posting.database.fetch("SELECT leaf_hash FROM signing_log ORDER BY position")
    leaves = [row["leaf_hash"] for row in rows]
    chain = [
        (row["previous"], row["size"]) for row in await posting.database.fetch("SELECT * FROM checkpoint ORDER BY size")
    ]
    assert [before for before, _ in chain] == [0, *[after for _, after in chain[:-1]]]
    for one in checkpoints(log_tap):
        said = notes.read(one.note)
        assert notes.signed_at(one.note, log_key.public) is not None
        assert said.root == tree_root(leaves[: said.size])
        before = one.previous, tree_root(leaves[: one.previous])
        assert is_consistent(before, (said.size, said.root), one.consistency)
    assert {one.previous for one in checkpoints(log_tap)} <= {before for before, _ in chain}
    tiles = [LogTile.model_validate_json(record.value or b"") for record in log_tap.of(topics.LOG_TILE)]
    assert all(list(tile.leaves) == leaves[tile.first : tile.first + len(tile.leaves)] for tile in tiles)
    nodes = await posting.database.fetch("SELECT * FROM log_node WHERE level = 1")
    assert {row["index"]: row["hash"] for row in nodes} == {
        index: tree_root(leaves[index * 256 : (index + 1) * 256]) for index in range(len(leaves) // 256)
    }


async def test_posting_goes_on_while_its_hsm_is_away_and_the_checkpoint_follows(
    posting: Posting, log_tap: Tap, log_key: LogKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = log_key.sign

    async def away(_checkpoint: notes.Checkpoint) -> str:
        raise HsmUnavailable("gone")

    with capture_logs() as logs, monkeypatch.context() as patch:
        patch.setattr(log_key, "sign", away)
        await post(posting, 5)
        await eventually(lambda: [log for log in logs if log.get("alarm") == "checkpoint-not-signed"], "an alarm")
        assert len([log for log in logs if log.get("alarm") == "checkpoint-not-signed"]) == 1, "told once"
        last = await posting.database.fetchval("SELECT coalesce(max(size), 0) FROM checkpoint")
        assert last < await size(posting)
    assert log_key.sign == true
    await signed_to_the_end(posting, log_tap)


async def as_superuser(stack: Stack, change: str, *arguments: object) -> None:
    """What is append-only to the service's own role."""
    superuser = await asyncpg.connect(stack.postgres_dsn("postgres"))
    try:
        await superuser.execute(change, *arguments)
    finally:
        await superuser.close()


@pytest.mark.parametrize("what", ["leaf", "checkpoint"])
async def test_a_log_that_is_not_the_one_that_was_signed_is_not_signed_again(
    posting: Posting, log_tap: Tap, stack: Stack, what: str
) -> None:
    """I-42: an edge that was changed in the database stops the signing, says so once, and is over when it is mended."""
    await post(posting, 2)
    await signed_to_the_end(posting, log_tap)
    last = await posting.database.fetchval("SELECT max(size) FROM checkpoint")
    change, undo = {
        "leaf": (
            "UPDATE posting.signing_log SET leaf_hash = $2 WHERE position = $1 - 1",
            await posting.database.fetchval("SELECT leaf_hash FROM signing_log WHERE position = $1 - 1", last),
        ),
        "checkpoint": (
            "UPDATE posting.checkpoint SET root = $2 WHERE size = $1",
            await posting.database.fetchval("SELECT root FROM checkpoint WHERE size = $1", last),
        ),
    }[what]
    with capture_logs() as logs:
        await as_superuser(stack, change, last, leaf_hash(b"another"))
        try:
            await post(posting, 1)
            await eventually(lambda: [log for log in logs if log.get("alarm") == "signing-log-changed"], "an alarm")
            assert await posting.database.fetchval("SELECT max(size) FROM checkpoint") == last
        finally:
            await as_superuser(stack, change, last, undo)
    await signed_to_the_end(posting, log_tap)
