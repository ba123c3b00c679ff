"""A witness that was away for longer than `posted` is kept stands still; it goes on upon what continues its word."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from aiokafka.admin import RecordsToDelete
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from structlog.testing import capture_logs

from libs.bus.topics import administration
from libs.contracts import topics
from libs.contracts.log import LOG_KEY_FILE, CheckpointCountersigned, CheckpointProof, LogCheckpoint
from libs.contracts.signing import Posted
from libs.crypto import notes
from libs.crypto.merkle import leaf_hash, tree_root
from libs.crypto.requests import read_signing_key
from libs.crypto.tiles import TiledLog, complete_above, levels_of
from libs.runtime.clock import utc_now
from services.monitor import beginning
from services.monitor.begin import begin
from services.monitor.beginning import BeginningRefused
from services.monitor.witness_keys import Keys
from tests.integration.monitor.conftest import WITNESS_KEY, Watch, posted, request
from tests.support.journal import ends_of
from tests.support.stack import Stack
from tests.support.tap import Tap, open_tap
from tests.support.waiting import eventually

pytestmark = pytest.mark.stack

PRIVATE = read_signing_key(WITNESS_KEY.encode())
WITNESS = notes.witness_key("gpki-monitor", PRIVATE)
SIZE = 20_000
"""Beyond the positions that other tests told on the same topics."""

LEAVES = [leaf_hash(number.to_bytes(4)) for number in range(SIZE + 10)]
FORKED = [*LEAVES[:2], leaf_hash(b"another"), *LEAVES[3:]]
AWAY = "UPDATE witness SET posted_offsets = '{-1,-1,-1,-1}'"
"""As when all that was told since was deleted."""


def tree(size: int, leaves: Sequence[bytes] = LEAVES) -> TiledLog:
    nodes = {0: dict(enumerate(leaves[:size]))}
    for level, count in levels_of(size):
        if level:
            nodes[level] = complete_above(nodes[level - 1], 0, count)
    return TiledLog(size, nodes)


@dataclass
class Log:
    """A log of its own, with its own key: of others' the topics are full."""

    watch: Watch
    tap: Tap
    private: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    name: str = field(default_factory=lambda: f"log-{uuid4().hex}")

    @property
    def key(self) -> notes.NoteKey:
        return notes.log_key(self.name, self.private.public_key())

    def note(self, size: int, root: bytes) -> str:
        said = notes.Checkpoint(self.name, size, root, utc_now())
        return notes.sign(said, self.key, lambda data: self.private.sign(data, ec.ECDSA(hashes.SHA256())))

    def proof(self, size: int = SIZE, since: int = 5, leaves: Sequence[bytes] = LEAVES) -> CheckpointProof:
        """What `gpki checkpoint` makes."""
        made = tree(size, leaves)
        return CheckpointProof(
            note=self.note(size, made.root()),
            previous=since,
            consistency=tuple(made.consistency_path(since)),
            peaks=tuple(made.peaks()),
        )

    async def says(self, size: int, previous: int) -> None:
        """posting signs a checkpoint."""
        path = tree(size).consistency_path(previous)
        event = LogCheckpoint(note=self.note(size, tree(size).root()), previous=previous, consistency=tuple(path))
        await self.watch.send(topics.LOG_CHECKPOINT, [event])

    async def tells(self, first: int, last: int) -> None:
        """posting tells of these positions."""
        await self.watch.send(topics.POSTED, told(first, last))

    async def countersigned(self, size: int) -> notes.Checkpoint:
        """Wait for the countersigned checkpoint of this size."""

        async def there() -> notes.Checkpoint | None:
            await self.tap.read()
            return next((one for one in self.all_countersigned() if one.size == size), None)

        found: notes.Checkpoint = await eventually(there, f"size {size} is countersigned", seconds=60)
        return found

    def all_countersigned(self) -> list[notes.Checkpoint]:
        records = self.tap.of(topics.LOG_COUNTERSIGNED, self.name)
        every = [CheckpointCountersigned.model_validate_json(one.value or b"").note for one in records]
        found = [note for note in every if notes.read(note).size]  # the empty one is what the test began with
        assert all(notes.signed_at(note, key) is not None for note in found for key in (self.key, WITNESS))
        return [notes.read(note) for note in found]

    async def begin(self, shown: CheckpointProof) -> notes.Checkpoint:
        return await begin(
            kafka=self.watch.stack.kafka,
            pool=self.watch.database,
            clock=utc_now,
            keys=Keys(self.key, WITNESS, PRIVATE),
            proof=shown,
            reason="disk was full",
            by="puan-aminah",
        )

    async def rows(self) -> list[Any]:
        found = []
        for table in ("witness", "countersigned", "witness_beginning"):
            found += [tuple(row) for row in await self.watch.database.fetch(f"SELECT * FROM {table} ORDER BY 1, 2")]
        return found


def told(first: int, last: int) -> list[Posted]:
    return [
        event.model_copy(update={"log_position": first + number, "leaf_hash": LEAVES[first + number]})
        for number, event in enumerate(posted(request(last - first)))
    ]


def alarms(logs: list[Any], name: str) -> list[str]:
    return [log["why"] for log in logs if log.get("alarm") == name]


@pytest_asyncio.fixture(loop_scope="session")
async def log(watch: Watch, stack: Stack) -> AsyncIterator[Log]:
    """Of which the first five positions are countersigned; nothing on `posted` is of another test's log."""
    ends = await ends_of(stack, topics.POSTED)
    async with administration(stack.kafka) as admin:
        await admin.delete_records({place: RecordsToDelete(before_offset=end) for place, end in ends.items() if end})
    async with open_tap(stack, (topics.LOG_COUNTERSIGNED,), from_now=True) as tap:
        one = Log(watch, tap)
        (watch.pki_dir / LOG_KEY_FILE).write_text(f"{one.key.text}\n", encoding="utf-8")
        await watch.database.execute("UPDATE witness SET origin = $1, note = $2", one.name, one.note(0, tree_root([])))
        async with watch.running():
            await one.tells(0, 5)
            await one.says(5, 0)
            await one.countersigned(5)
        yield one


async def test_a_witness_that_was_away_goes_on_from_a_checkpoint_that_continues_its_own(log: Log, watch: Watch) -> None:
    """I-56: while it runs and stands still; told at once, kept for ever, and what came before is no alarm."""
    await watch.database.execute(AWAY)
    with capture_logs() as logs:
        async with watch.running():
            await eventually(lambda: alarms(logs, "witness-gap"), "an alarm", seconds=60)
            await log.begin(log.proof())
            assert (await log.countersigned(SIZE)).root == tree_root(LEAVES[:SIZE])
            (why,) = await eventually(lambda: alarms(logs, "witness-begun"), "it is told", seconds=60)
            assert why == f"from size 5 to {SIZE} the log's word alone, by puan-aminah: disk was full"
            await log.tells(SIZE, SIZE + 3)
            await log.says(9, 5)  # of the time that it was away: published again
            await log.says(SIZE + 3, SIZE)
            assert (await log.countersigned(SIZE + 3)).root == tree_root(LEAVES[: SIZE + 3])
    assert alarms(logs, "checkpoint-inconsistent") == []
    assert len(alarms(logs, "witness-gap")) == 1
    row = await watch.database.fetchrow("SELECT * FROM witness_beginning")
    assert row is not None
    assert (row["previous"], row["previous_root"]) == (5, tree_root(LEAVES[:5]))
    assert (row["size"], row["root"]) == (SIZE, tree_root(LEAVES[:SIZE]))


async def test_what_is_published_again_fills_the_gap_and_nobody_has_to_decide(log: Log, watch: Watch) -> None:
    """I-43: as `gpki republish gap monitor` does."""
    await watch.database.execute(AWAY)
    with capture_logs() as logs:
        async with watch.running():
            await eventually(lambda: alarms(logs, "witness-gap"), "an alarm", seconds=60)
            await log.says(9, 5)
            await log.tells(5, 9)
            assert (await log.countersigned(9)).root == tree_root(LEAVES[:9])
    assert await watch.database.fetchval("SELECT count(*) FROM witness_beginning") == 0


async def test_what_it_is_told_after_it_began_anew_is_held_against_the_log_as_ever(log: Log, watch: Watch) -> None:
    """I-43, I-56: what is not told is not countersigned."""
    await watch.database.execute(AWAY)
    await log.begin(log.proof())
    with capture_logs() as logs:
        async with watch.running():
            await log.tells(SIZE, SIZE + 2)
            made = tree(SIZE + 2, [*LEAVES[: SIZE + 1], leaf_hash(b"another")])
            event = LogCheckpoint(note=log.note(SIZE + 2, made.root()), previous=SIZE, consistency=())
            await watch.send(topics.LOG_CHECKPOINT, [event])
            await eventually(lambda: alarms(logs, "checkpoint-inconsistent"), "an alarm", seconds=60)
    assert {one.size for one in log.all_countersigned()} <= {5, SIZE}


async def test_a_fork_is_never_healed(log: Log, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """I-56: nothing is changed by it; where the proof is not asked for it would be."""
    await watch.database.execute(AWAY)
    before = await log.rows()
    with pytest.raises(BeginningRefused, match="FORK"):
        await log.begin(log.proof(leaves=FORKED))
    assert await log.rows() == before

    monkeypatch.setattr(beginning, "is_consistent", lambda *_: True)
    assert (await log.begin(log.proof(leaves=FORKED))).root == tree_root(FORKED[:SIZE])


async def test_where_nothing_is_missing_nobody_has_it_begin_anew(log: Log) -> None:
    """I-56: it would spare the log to be held against what was told."""
    before = await log.rows()
    with pytest.raises(BeginningRefused, match="nothing is missing"):
        await log.begin(log.proof())
    assert await log.rows() == before


async def test_what_a_restored_database_has_forgotten_is_read_from_the_topic(log: Log, watch: Watch) -> None:
    """I-56: else a fork behind the backup would be healed by it."""
    await watch.database.execute(AWAY)
    backup = await watch.database.fetchrow("SELECT size, peaks, note, posted_offsets FROM witness")
    assert backup is not None
    await log.begin(log.proof(size=SIZE - 1))
    async with watch.running():  # publishes it
        await log.countersigned(SIZE - 1)
    await watch.database.execute("UPDATE witness SET size = $1, peaks = $2, note = $3, posted_offsets = $4", *backup)
    fork = [*LEAVES[:10], leaf_hash(b"another"), *LEAVES[11:]]
    with pytest.raises(BeginningRefused, match=f"countersigned was size {SIZE - 1}"):
        await log.begin(log.proof(leaves=fork))
    with pytest.raises(BeginningRefused, match="FORK"):
        await log.begin(log.proof(leaves=fork, since=SIZE - 1))
    assert (await log.begin(log.proof(since=SIZE - 1))).size == SIZE


async def test_lines_that_were_added_to_the_log_s_note_are_left_out(log: Log, watch: Watch) -> None:
    """Two lines of one name prove nothing to who reads the receipt."""
    await watch.database.execute(AWAY)
    shown = log.proof()
    twice = notes.countersign(shown.note, WITNESS, PRIVATE, utc_now())
    await log.begin(shown.model_copy(update={"note": twice}))
    note = await watch.database.fetchval("SELECT note FROM witness")
    assert note.startswith(shown.note)
    assert notes.signed_at(note, WITNESS) is not None


async def test_the_first_word_of_a_witness_is_never_a_beginning(watch: Watch, stack: Stack) -> None:
    """I-56: a log that nothing was countersigned of, and of which nothing is on the topic."""
    async with open_tap(stack, (topics.LOG_COUNTERSIGNED,), from_now=True) as tap:
        log = Log(watch, tap)
        await watch.database.execute("UPDATE witness SET origin = $1, posted_offsets = '{-1,-1,-1,-1}'", log.name)
        before = await log.rows()
        with pytest.raises(BeginningRefused, match="nothing was countersigned"):
            await log.begin(log.proof())
        assert await log.rows() == before
