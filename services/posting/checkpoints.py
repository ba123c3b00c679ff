"""Checkpoints of the signing log: what it says of itself every few seconds while it grows, signed in the HSM.

Not on a document's way: an append stays one row. Here the tree is made over what was appended since, from a
tile of each level, and held against what was signed last.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import structlog

from libs.bus.outcomes import Emit, Park
from libs.bus.work import Work
from libs.contracts import topics
from libs.contracts.base import Event
from libs.contracts.log import MAX_GROWTH, LogCheckpoint
from libs.contracts.topics import Topic
from libs.crypto.notes import Checkpoint
from libs.hsm.errors import HsmError
from libs.runtime import metrics
from libs.runtime.clock import Clock
from services.posting import checkpoint_store as store
from services.posting.growth import Grown, Head, LogChangedError, grow
from services.posting.log_key import LogKey

AT_ONCE: Final = timedelta(milliseconds=1)

log = structlog.get_logger()


class CheckpointLook(Event):
    """Timer: look whether the log has grown. There is one, which never ends."""

    @property
    def key(self) -> str:
        return "log"

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return ()


CHECKPOINT_LOOK: Final = Topic("timer.posting.checkpoint", CheckpointLook, "key")


class Checkpoints:
    """posting's one timer. Of two replicas that look at once, one's checkpoint is kept, and alone told."""

    def __init__(self, *, service: str, key: LogKey, every: timedelta, clock: Clock) -> None:
        self._service = service
        self._key = key
        self._every = every
        self._clock = clock
        self._told = ""

    async def look(self, work: Work[CheckpointLook]) -> None:
        """Handler of the timer. Whatever fails, posting goes on: monitor alarms when no checkpoint comes."""
        made = None
        try:
            made = await self._make(work)
        except (HsmError, LogChangedError) as error:
            self._tell(error)
        async with work.recording(*work.deliveries) as recording:
            for delivery in recording.deliveries:
                after = self._every
                emits: tuple[Emit, ...] = ()
                if made is not None:
                    head, grown, note, more = made
                    after = AT_ONCE if more else after
                    if await store.add(recording.connection, head, grown, note):
                        emits = _emits(head, grown, note)
                recording.settle(delivery, Park(after, "next look", emits))

    async def _make(self, work: Work[CheckpointLook]) -> tuple[Head, Grown, str, bool] | None:
        async with work.reserving() as connection:  # one state of it for all questions
            await store.one_moment(connection)
            head, size = await store.last(connection), await store.size(connection)
            if size == head.size:
                return None
            if size < head.size:
                raise LogChangedError(f"it has {size} positions; {head.size} were signed")
            upto = min(size, head.size + MAX_GROWTH)
            found = await store.edge(connection, head.size, upto)
        grown = await asyncio.to_thread(grow, head, upto, found)
        note = await self._key.sign(Checkpoint(self._key.public.name, upto, grown.root, self._clock()))
        self._told = ""
        return head, grown, note, upto < size

    def _tell(self, error: Exception) -> None:
        why = f"{type(error).__name__}: {error}"
        log.warning("no checkpoint", why=why)
        if self._told != why:  # once, not at every look
            self._told = why
            if isinstance(error, LogChangedError):
                metrics.alarm(self._service, "signing-log-changed", why=str(error))
            else:
                metrics.alarm(self._service, "checkpoint-not-signed", why=why)


def _emits(head: Head, grown: Grown, note: str) -> tuple[Emit, ...]:
    checkpoint = LogCheckpoint(note=note, previous=head.size, consistency=grown.consistency)
    tiles: Sequence[Emit] = [Emit(topics.LOG_TILE, tile) for tile in grown.tiles]
    return (Emit(topics.LOG_CHECKPOINT, checkpoint), *tiles)
