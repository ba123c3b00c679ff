"""The witness countersigns what `posted` told and nothing else, in one chain, in whatever order it came."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from structlog.testing import capture_logs

from libs.contracts import topics
from libs.contracts.log import CheckpointCountersigned, LogCheckpoint, LogTile
from libs.contracts.signing import Posted
from libs.crypto import notes
from libs.crypto.merkle import leaf_hash, tree_root
from libs.crypto.requests import read_signing_key
from libs.crypto.tiles import TiledLog
from libs.runtime.clock import utc_now
from services.monitor import witness
from tests.integration.monitor.conftest import LOG_KEY, WITNESS_KEY, Watch, checkpoint, posted, request
from tests.support.stack import Stack
from tests.support.tap import Tap, open_tap
from tests.support.waiting import eventually

pytestmark = pytest.mark.stack

WITNESS = notes.witness_key("gpki-monitor", read_signing_key(WITNESS_KEY.encode()))
OTHER_KEY = Ed25519PrivateKey.generate()
LEAVES = [leaf_hash(bytes([number])) for number in range(40)]


@pytest_asyncio.fixture(loop_scope="session")
async def seen(watch: Watch, stack: Stack) -> AsyncIterator[Tap]:
    assert watch.stack is stack
    async with open_tap(stack, (topics.LOG_COUNTERSIGNED,), from_now=True) as tap:
        yield tap


def told(first: int, last: int, leaves: Sequence[bytes] = LEAVES) -> list[Posted]:
    """What posting tells of these positions."""
    return [
        event.model_copy(update={"log_position": first + number, "leaf_hash": leaves[first + number]})
        for number, event in enumerate(posted(request(last - first)))
    ]


def said(size: int, previous: int, *, leaves: Sequence[bytes] = LEAVES, proof: bool = True) -> LogCheckpoint:
    """What posting signs."""
    tree = TiledLog(size, {0: dict(enumerate(leaves[:size]))})
    path = tree.consistency_path(previous) if proof else [leaf_hash(b"no proof")]
    return LogCheckpoint(note=checkpoint(size, tree.root(), utc_now()), previous=previous, consistency=tuple(path))


async def countersigned(tap: Tap, size: int) -> notes.Checkpoint:
    """Wait for the countersigned checkpoint of this size."""

    async def there() -> notes.Checkpoint | None:
        await tap.read()
        return next((one for one in all_of(tap) if one.size == size), None)

    found: notes.Checkpoint = await eventually(there, f"size {size} is countersigned", seconds=60)
    return found


def all_of(tap: Tap) -> list[notes.Checkpoint]:
    """What was countersigned, each once, and each by both; but the empty one, with which a test begins."""
    events = [CheckpointCountersigned.model_validate_json(one.value or b"") for one in tap.of(topics.LOG_COUNTERSIGNED)]
    own = [event.note for event in events if notes.read(event.note).origin == LOG_KEY.name]
    found = {notes.read(note).size: note for note in own if notes.read(note).size}
    for note in found.values():
        assert notes.signed_at(note, LOG_KEY) is not None
        assert notes.signed_at(note, WITNESS) is not None
    return [notes.read(note) for note in found.values()]


def alarms(logs: list[Any], name: str) -> list[str]:
    return [log["why"] for log in logs if log.get("alarm") == name]


async def test_what_was_told_is_countersigned_whatever_came_first_and_across_a_restart(watch: Watch, seen: Tap) -> None:
    """I-43: the checkpoint before its leaves, leaves ahead of it, repeats of both, and a monitor that begins again."""
    with capture_logs() as logs:
        async with watch.running():
            await watch.send(topics.LOG_CHECKPOINT, [said(5, 0)])
            await watch.send(topics.POSTED, [*reversed(told(3, 9)), *told(0, 3)])
            assert (await countersigned(seen, 5)).root == tree_root(LEAVES[:5])
        await watch.send(topics.POSTED, told(9, 20))
        await watch.send(topics.LOG_CHECKPOINT, [said(5, 0), said(12, 5), said(12, 5), said(20, 12)])
        async with watch.running():
            await countersigned(seen, 20)
    assert sorted(one.size for one in all_of(seen)) == [5, 12, 20]
    assert not [log for log in logs if "alarm" in log and log["alarm"].startswith("checkpoint")]


OTHER = [*LEAVES[:2], leaf_hash(b"another"), *LEAVES[3:]]


def altered(old: str, new: str) -> LogCheckpoint:
    good = said(10, 5)
    return good.model_copy(update={"note": good.note.replace(old, new)})


WRONG: dict[str, tuple[LogCheckpoint, str]] = {
    "another root": (said(10, 5, leaves=OTHER), "is not that of what was told"),
    "a fork of what was countersigned": (said(5, 0, leaves=OTHER), "another root of size 5"),
    "a proof that proves nothing": (said(10, 5, proof=False), "its proof does not hold"),
    "an older size than the last, never seen": (said(4, 0), "another root of size 4"),
    "another log's": (
        said(10, 5).model_copy(update={"note": said(10, 5).note.replace("test-log", "best-log")}),
        "not signed",
    ),
    "not signed": (said(10, 5).model_copy(update={"note": said(10, 5).note.replace("\n10\n", "\n11\n")}), "not signed"),
}


@pytest.mark.parametrize("what", WRONG)
async def test_a_checkpoint_that_is_not_what_was_told_is_an_alarm_and_the_next_one_goes_on(
    watch: Watch, seen: Tap, what: str
) -> None:
    """I-43."""
    wrong, why = WRONG[what]
    await watch.send(topics.POSTED, told(0, 15))
    await watch.send(topics.LOG_CHECKPOINT, [said(5, 0), wrong, wrong, said(15, 10)])
    with capture_logs() as logs:
        async with watch.running():
            await countersigned(seen, 15)
    assert sorted(one.size for one in all_of(seen)) == [5, 15]
    (told_once,) = alarms(logs, "checkpoint-inconsistent")
    assert why in told_once


async def test_two_leaves_of_one_position_are_an_alarm(watch: Watch, seen: Tap) -> None:
    """I-43: what one was told, and another was not."""
    await watch.send(topics.POSTED, told(0, 3))
    with capture_logs() as logs:
        async with watch.running():
            await watch.send(topics.POSTED, told(2, 3, leaves=OTHER))
            await eventually(lambda: alarms(logs, "checkpoint-inconsistent"), "an alarm", seconds=60)
    (why,) = alarms(logs, "checkpoint-inconsistent")
    assert "two leaves of position 2" in why
    assert all_of(seen) == []


FALSE = [leaf_hash(b"false")] * 40


def tiles(size: int, previous: int) -> list[LogTile]:
    """What posting tells beside a checkpoint: of less than 256 leaves, one."""
    assert previous < size <= len(LEAVES)
    return [LogTile(size=size, first=0, leaves=tuple(LEAVES[:size]), path=())]


@pytest.mark.parametrize("true_one", ["before", "after", "after its checkpoint"])
async def test_a_false_leaf_that_posting_s_account_told_is_refused_and_the_true_ones_are_countersigned(
    watch: Watch, seen: Tap, true_one: str
) -> None:
    """I-43: whatever came first, and nobody has to start the witness again."""
    first, then = (LEAVES, FALSE) if true_one == "before" else (FALSE, LEAVES)
    with capture_logs() as logs:
        async with watch.running():
            await watch.send(topics.POSTED, [*told(0, 3), *told(3, 5, leaves=first)])
            if true_one == "after its checkpoint":
                await watch.send(topics.LOG_TILE, tiles(5, 0))
                await watch.send(topics.LOG_CHECKPOINT, [said(5, 0)])
                await eventually(lambda: alarms(logs, "checkpoint-inconsistent"), "an alarm", seconds=60)
                await watch.send(topics.POSTED, told(3, 5))
            else:
                await watch.send(topics.POSTED, told(3, 5, leaves=then))
                await eventually(lambda: len(alarms(logs, "checkpoint-inconsistent")) == 2, "two alarms", seconds=60)
                await watch.send(topics.LOG_CHECKPOINT, [said(5, 0)])
                await watch.send(topics.LOG_TILE, tiles(5, 0))
            await countersigned(seen, 5)
            await watch.send(topics.POSTED, told(5, 7))
            await watch.send(topics.LOG_CHECKPOINT, [said(7, 5)])
            await countersigned(seen, 7)
    assert [one.root for one in all_of(seen)] == [tree_root(LEAVES[:5]), tree_root(LEAVES[:7])]
    why = alarms(logs, "checkpoint-inconsistent")
    for position in (3, 4):
        assert f"`posted` told two leaves of position {position}" in why
        assert f"`posted` told a leaf of position {position} that is not the log's" in why


async def test_without_the_log_s_tiles_a_false_leaf_stops_the_witness(
    watch: Watch, seen: Tap, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attack, undefended: the first that is told is believed."""
    monkeypatch.setattr(witness, "proven", lambda *_: {})
    monkeypatch.setattr(witness, "TILES_WAIT", timedelta(0))
    *others, true_one = told(0, 5)
    false_one = true_one.model_copy(update={"leaf_hash": FALSE[4]})  # of one document: in one partition, in this order
    with capture_logs() as logs:
        async with watch.running():
            await watch.send(topics.POSTED, [false_one, *others, true_one])
            await watch.send(topics.LOG_TILE, [*tiles(5, 0), *tiles(7, 5)])
            await watch.send(topics.LOG_CHECKPOINT, [said(5, 0), said(7, 5)])
            await watch.send(topics.POSTED, told(5, 7))
            refused = "size 7: the root"
            await eventually(
                lambda: any(refused in why for why in alarms(logs, "checkpoint-inconsistent")), refused, seconds=60
            )
    assert all_of(seen) == []


async def test_a_leaf_far_beyond_the_log_is_refused_and_what_is_late_is_told_all_the_same(
    watch: Watch, seen: Tap
) -> None:
    """I-43: it would wait for ever, and hide every true leaf that comes too late behind its own lateness."""
    with capture_logs() as logs:
        async with watch.running(checkpoint_late_after=timedelta(milliseconds=300)):
            await watch.send(topics.POSTED, [one.model_copy(update={"log_position": 10**12}) for one in told(0, 1)])
            await eventually(lambda: alarms(logs, "checkpoint-late"), "an alarm", seconds=60)
            await watch.send(topics.POSTED, told(0, 2))
            at = await watch.database.fetchval("SELECT now()")
            await eventually(lambda: utc_now() > at + timedelta(seconds=2), "a checkpoint of later")
            await watch.send(topics.LOG_CHECKPOINT, [said(2, 0)])
            await countersigned(seen, 2)
            refused = f"`posted` told a leaf of position {10**12} that a log of 2 does not have"
            await eventually(lambda: refused in alarms(logs, "checkpoint-inconsistent"), refused, seconds=60)
            await watch.send(topics.POSTED, told(2, 3))
            await eventually(lambda: len(alarms(logs, "checkpoint-late")) == 2, "another", seconds=60)


async def test_of_a_note_to_which_somebody_added_lines_the_log_s_own_is_countersigned(watch: Watch, seen: Tap) -> None:
    """I-43: with a second line in the witness's name, or beyond the bound, its receipts would prove nothing."""
    shown = said(5, 0)
    line = f"— somebody {'A' * 1000}\n"
    padded = shown.note + notes.countersign(shown.note, WITNESS, OTHER_KEY, utc_now()).removeprefix(shown.note)
    padded += line * ((notes.MAX_SIZE - len(padded.encode())) // len(line.encode()))
    await watch.send(topics.POSTED, told(0, 5))
    await watch.send(topics.LOG_CHECKPOINT, [shown.model_copy(update={"note": padded})])
    async with watch.running():
        await countersigned(seen, 5)  # by both


async def test_what_is_in_no_checkpoint_for_too_long_is_an_alarm_and_is_over_with_one(watch: Watch, seen: Tap) -> None:
    """I-43: told once, and again when it happens again; not while the witness itself is behind."""
    with capture_logs() as logs:
        async with watch.running(checkpoint_late_after=timedelta(milliseconds=300)):
            await watch.send(topics.POSTED, told(0, 3))
            await eventually(lambda: alarms(logs, "checkpoint-late"), "an alarm", seconds=60)
            await watch.send(topics.LOG_CHECKPOINT, [said(3, 0)])
            await countersigned(seen, 3)
            assert len(alarms(logs, "checkpoint-late")) == 1
            await watch.send(topics.POSTED, told(3, 4))
            await eventually(lambda: len(alarms(logs, "checkpoint-late")) == 2, "another", seconds=60)


async def test_a_witness_that_was_away_for_too_long_says_so(watch: Watch, seen: Tap) -> None:
    """What `posted` does not keep any more cannot be vouched for."""
    await watch.database.execute("UPDATE witness SET posted_offsets = '{-1,-1,-1,-1}'")
    with capture_logs() as logs:
        async with watch.running():
            await eventually(lambda: alarms(logs, "witness-gap"), "an alarm", seconds=60)
    assert all_of(seen) == []


async def test_of_two_replicas_one_moves_on_and_the_other_follows(watch: Watch, seen: Tap) -> None:
    """I-43: both read the same, each row is written upon the one before."""
    with capture_logs() as logs:
        async with watch.running(), watch.running():
            for size in range(1, 12):
                await watch.send(topics.POSTED, told(size - 1, size))
                await watch.send(topics.LOG_CHECKPOINT, [said(size, size - 1)])
            await countersigned(seen, 11)
    rows = await watch.database.fetch("SELECT size, root FROM countersigned ORDER BY size")
    assert [(row["size"], row["root"]) for row in rows] == [(n, tree_root(LEAVES[:n])) for n in range(1, 12)]
    assert alarms(logs, "checkpoint-inconsistent") == []
