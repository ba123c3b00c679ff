"""What the witness has read since it countersigned last: leaves that `posted` told, checkpoints, and its places."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from pydantic import TypeAdapter, ValidationError

from libs.bus.reader import partitions_of
from libs.contracts import topics
from libs.contracts.base import Base64
from libs.contracts.log import MAX_GROWTH, LogCheckpoint
from libs.crypto.notes import Checkpoint
from services.monitor.told_log import Told, ToldLog
from services.monitor.witness_store import State

AHEAD: Final = 30_000
"""Leaves of one partition that may wait for a checkpoint; then no more are read of it until one comes. More than one
checkpoint takes in (MAX_GROWTH), which may all be of one partition: it would wait for itself.
"""

QUEUED: Final = 1_000
"""Checkpoints that may wait to be judged; then no more are read until one was. posting signs one every few seconds."""

POLL_MS: Final = 500

POSTED: Final = tuple(partitions_of([topics.POSTED]))
CHECKPOINTS: Final = TopicPartition(topics.LOG_CHECKPOINT.name, 0)
COUNTERSIGNED: Final = TopicPartition(topics.LOG_COUNTERSIGNED.name, 0)


def missed(state: State | None, starts: Mapping[TopicPartition, int]) -> bool:
    """Whether something is gone that the witness has not put in order, where the topics begin now."""
    wanted = (0,) * len(POSTED) if state is None else state.posted_offsets
    return any(offset < starts[place] for place, offset in zip(POSTED, wanted, strict=True))


@dataclass(slots=True)
class _Posted:
    log_position: int
    leaf_hash: Base64


_posted: Callable[[bytes], _Posted] = TypeAdapter(_Posted).validate_json


class Reading:
    """What was read since the state, and where of each topic the reading is."""

    def __init__(self, consumer: AIOKafkaConsumer, state: State | None) -> None:
        self._consumer = consumer
        self.state = state
        self.told = ToldLog() if state is None else ToldLog(state.size, state.peaks)
        self.signed: dict[tuple[int, bytes], datetime] = {}
        """What the log has signed since: (size, root) → its time."""
        self.newest: tuple[int, datetime] | None = None
        """The largest size that took in all that was there, and when."""
        self._checkpoints: deque[tuple[int, LogCheckpoint | None]] = deque()
        self._passed_over: tuple[int, LogCheckpoint | None] | None = None
        self._at: dict[TopicPartition, int] = {}

    async def begin(self) -> bool:
        """From where the state says, or from the topics' beginning; whether something between was `missed`."""
        self._consumer.assign([*POSTED, CHECKPOINTS])
        starts = await self._consumer.beginning_offsets([*POSTED, CHECKPOINTS])
        wanted = dict.fromkeys(starts, 0)
        if self.state is not None:
            wanted = dict(zip(POSTED, self.state.posted_offsets, strict=True))
            wanted[CHECKPOINTS] = self.state.checkpoint_offset
        for partition, offset in wanted.items():
            self._at[partition] = max(offset, starts[partition])
            self._consumer.seek(partition, self._at[partition])
        return missed(self.state, starts)

    async def poll(self) -> list[tuple[int, str]]:
        """Read on; returns positions of which two leaves were told, and by what."""
        held = self._held()
        open_ones = [partition for partition in self._at if partition not in held]
        found: list[tuple[int, str]] = []
        if not open_ones:  # to aiokafka none is all
            return found
        for partition, polled in (await self._consumer.getmany(*open_ones, timeout_ms=POLL_MS)).items():
            for record in polled:
                self._at[partition] = record.offset + 1
                if partition == CHECKPOINTS:
                    self._checkpoints.append((record.offset, _checkpoint(record)))
                    continue
                try:
                    event = _posted(record.value or b"")
                except ValidationError:
                    continue  # those who act on it bury it
                at = datetime.fromtimestamp(record.timestamp / 1000, UTC)
                told = Told(event.leaf_hash, partition.partition, record.offset, at)
                if not self.told.take(event.log_position, told):
                    found.append((event.log_position, f"partition {partition.partition}, offset {record.offset}"))
        if found and self._passed_over is not None:  # it may be the true leaf that came after a false one
            self._checkpoints.appendleft(self._passed_over)
            self._passed_over = None
        return found

    def next(self) -> tuple[LogCheckpoint | None] | None:
        """The checkpoint to judge now, if there is one; what is no event of its topic is None in its place."""
        return (self._checkpoints[0][1],) if self._checkpoints else None

    def done(self) -> bool:
        """It is judged."""
        self._checkpoints.popleft()
        return True

    def pass_over(self) -> bool:
        """It says otherwise than was told, as far as is known now; judged again when something else is told."""
        self._passed_over = self._checkpoints.popleft()
        return True

    def unjudged(self) -> Sequence[LogCheckpoint]:
        """The checkpoints that were read and are not judged, the last one last."""
        return [event for _, event in self._checkpoints if event is not None]

    def is_held(self) -> bool:
        """Whether there is a partition of which no more is read until what was told of it is in order, or refused."""
        return bool(self._full())

    def note(self, said: Checkpoint) -> None:
        """The log has signed this."""
        self.signed[said.size, said.root] = said.at
        if said.size - self.told.size < MAX_GROWTH and (self.newest is None or said.size > self.newest[0]):
            self.newest = said.size, said.at

    def moved(self, size: int, root: bytes, note: str) -> State:
        """The state to record, once the tree has this size."""
        self.signed.clear()
        self._passed_over = None
        places = {partition.partition: self._at[partition] for partition in POSTED}
        offsets = tuple(offset for _, offset in self.told.read_again(places))
        at = self._checkpoints[0][0] if self._checkpoints else self._at[CHECKPOINTS]
        return State(size, root, tuple(self.told.peaks), note, offsets, at)

    async def is_at_end(self) -> bool:
        """Whether all that is on the topics was read, but what waits for a checkpoint."""
        places = [partition for partition in self._at if partition not in self._held()]
        ends = await self._consumer.end_offsets(places)
        return all(self._at[partition] >= end for partition, end in ends.items())

    def _held(self) -> set[TopicPartition]:
        return self._full() | ({CHECKPOINTS} if len(self._checkpoints) > QUEUED else set())

    def _full(self) -> set[TopicPartition]:
        return {TopicPartition(topics.POSTED.name, n) for n, count in self.told.waiting().items() if count > AHEAD}


def _checkpoint(record: "ConsumerRecord[bytes, bytes]") -> LogCheckpoint | None:
    try:
        return LogCheckpoint.model_validate_json(record.value or b"")
    except ValidationError:
        return None
