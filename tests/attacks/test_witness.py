"""Attacks on the log's witness: another log than `posted` told, signed by the log's own key; and leaves without number.

Without its checks the witness countersigns the one, and is held up by the other for good.
"""

from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from libs.contracts import topics
from libs.contracts.log import MAX_GROWTH, LogCheckpoint
from libs.contracts.signing import Posted
from libs.crypto.merkle import Frontier, leaf_hash, tree_root
from services.monitor import witness, witness_reading
from services.monitor.told_log import ToldLog
from services.monitor.witness_reading import Reading
from tests.integration.monitor.conftest import Watch, watch
from tests.integration.monitor.test_witness import LEAVES, OTHER, alarms, all_of, countersigned, said, seen, tiles, told
from tests.support.tap import Tap
from tests.support.waiting import eventually

__all__ = ["seen", "watch"]

pytestmark = pytest.mark.stack


@pytest.mark.parametrize("switched", ["nothing", "root", "proof", "both"])
async def test_a_fork_of_the_log_is_countersigned_only_without_root_and_proof(
    watch: Watch, seen: Tap, monkeypatch: pytest.MonkeyPatch, switched: str
) -> None:
    """I-43: who has posting's HSM and its tables; between two sizes of the true log a third is put of another."""
    forked, true = tree_root(OTHER[:10]), Frontier.root
    if switched in {"root", "both"}:
        monkeypatch.setattr(Frontier, "root", lambda self: forked if self.size == 10 else true(self))
    if switched in {"proof", "both"}:
        monkeypatch.setattr(witness, "is_consistent", lambda *_: True)
    await watch.send(topics.POSTED, told(0, 15))
    await watch.send(topics.LOG_CHECKPOINT, [said(5, 0), said(10, 5, leaves=OTHER), said(15, 10)])
    async with watch.running():
        await countersigned(seen, 10 if switched == "both" else 15)
    assert {one.root for one in all_of(seen) if one.size == 10} == ({forked} if switched == "both" else set())


ROOM = 30
"""Leaves of a partition that wait, here."""

PLACES = {"of the next positions": range(40), "of one position": [5] * 40, "of one behind the next": [25] * 40}


@pytest.mark.parametrize("defence", ["on", "off"])
@pytest.mark.parametrize("which", PLACES)
async def test_leaves_without_number_hold_the_witness_up_only_where_the_log_s_tiles_refute_none(
    watch: Watch, seen: Tap, monkeypatch: pytest.MonkeyPatch, which: str, defence: str
) -> None:
    """I-43: who has posting's account, and not its HSM, tells more than may wait, before the true leaves come."""
    refuted: list[int] = []

    def disprove(self: ToldLog, leaves: Any) -> Any:
        refuted.append(len(leaves))
        return [] if defence == "off" else genuine(self, leaves)

    genuine = ToldLog.disprove
    monkeypatch.setattr(ToldLog, "disprove", disprove)
    monkeypatch.setattr(witness_reading, "AHEAD", ROOM)
    monkeypatch.setattr(witness, "RETRY", 0.1)
    (one,) = told(0, 1)

    def leaf(position: int, content: bytes) -> Posted:  # of one document: in one partition, in this order
        return one.model_copy(update={"log_position": position, "leaf_hash": content})

    false = [leaf(position, leaf_hash(b"false %d" % number)) for number, position in enumerate(PLACES[which])]
    with capture_logs() as logs:
        async with watch.running(checkpoint_late_after=timedelta(milliseconds=300)):
            await watch.send(topics.POSTED, false)
            await eventually(lambda: alarms(logs, "checkpoint-late"), "no more is read of it", seconds=60)
            signed = [said(20, 0), said(40, 20)]  # before: what is older and beyond a checkpoint is no leaf of the log
            await watch.send(topics.POSTED, [leaf(position, true) for position, true in enumerate(LEAVES)])
            await watch.send(topics.LOG_TILE, [*tiles(20, 0), *tiles(40, 20)])
            await watch.send(topics.LOG_CHECKPOINT, signed)
            if defence == "on":
                await countersigned(seen, 40)
            else:
                await eventually(lambda: is_stuck(logs, refuted), "its tiles help no more", seconds=60)
    why = alarms(logs, "checkpoint-inconsistent")
    if defence == "on":
        assert [one.root for one in all_of(seen)] == [tree_root(LEAVES[:20]), tree_root(LEAVES)]
        told_of = {f"`posted` told a leaf of position {place} that is not the log's" for place in PLACES[which]}
        assert told_of <= set(why)
    else:
        assert all_of(seen) == []


@pytest.mark.parametrize("defence", ["on", "off"])
async def test_checkpoints_without_number_wait_at_the_broker(
    watch: Watch, seen: Tap, monkeypatch: pytest.MonkeyPatch, defence: str
) -> None:
    """I-43: behind a genuine one that waits for its leaves. Without the bound all of them are in our memory."""
    queued: list[int] = []

    async def poll(self: Reading) -> list[tuple[int, str]]:
        found = await genuine(self)
        queued.append(len(self.unjudged()))
        return found

    genuine = Reading.poll
    monkeypatch.setattr(Reading, "poll", poll)
    monkeypatch.setattr(witness_reading, "QUEUED", 3 if defence == "on" else 10**6)
    await watch.send(topics.POSTED, told(0, 4))
    await watch.send(topics.LOG_CHECKPOINT, [said(5, 0)])
    with capture_logs() as logs:
        async with watch.running():
            await eventually(lambda: queued and queued[-1] == 1, "one waits", seconds=60)
            await watch.send(topics.LOG_CHECKPOINT, [nobodys(number) for number in range(10)])
            await eventually(lambda: queued[-1] > 3, "there are more than may wait", seconds=60)
            first, polls = queued[-1], len(queued)
            await watch.send(topics.LOG_CHECKPOINT, [nobodys(number) for number in range(10, 50)])
            if defence == "on":
                await eventually(lambda: len(queued) > polls + 6, "it goes on reading", seconds=60)
                assert max(queued) == first
            else:
                await eventually(lambda: queued[-1] == 51, "all of them are here", seconds=60)
            await watch.send(topics.POSTED, told(4, 5))
            await countersigned(seen, 5)
            refused = "not signed by the log's key"
            await eventually(
                lambda: sum(refused in why for why in alarms(logs, "checkpoint-inconsistent")) == 50,
                "each is refused",
                seconds=60,
            )


def nobodys(number: int) -> LogCheckpoint:
    """A checkpoint that the log did not sign."""
    note = said(5, 0).note.replace("\n5\n", f"\n{1_000 + number}\n")
    return LogCheckpoint(note=note, previous=0, consistency=())


def is_stuck(logs: list[Any], refuted: list[int]) -> bool:
    """Passed over for another root than was told, or still without what is told behind, though its tiles were read."""
    passed_over = any("size 40: the root" in why for why in alarms(logs, "checkpoint-inconsistent"))
    return passed_over or len([leaves for leaves in refuted if leaves]) > 2


def test_one_checkpoint_needs_fewer_leaves_than_may_wait() -> None:
    """I-43: all of one partition, by the ids that a caller chose, they would wait for themselves."""
    assert witness_reading.AHEAD > MAX_GROWTH
