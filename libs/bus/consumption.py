"""One consumer group's member: batches in, contiguous handled prefixes committed, never past what is not handled."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeAlias

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from libs.bus.dead_letter import DeadLetterLimit
from libs.bus.delivery import Coordinates, Delivery, Undecodable, coordinates_of, decode, nobody
from libs.bus.gathering import Outstanding
from libs.bus.outcomes import Poison, Unavailable
from libs.bus.producers import UNKNOWN_KEY, Producers
from libs.bus.published import Published
from libs.bus.reach import Reach
from libs.bus.reader import Raw
from libs.bus.slices import DATABASE, SLICE, Arrived, Slicer, slices
from libs.bus.suspension import Suspension
from libs.bus.work import Progress
from libs.contracts.topics import Topic
from libs.runtime import metrics
from libs.storage.errors import is_unavailable

HANDLER_BOUND = 60.0
"""Seconds that one batch is worked before the rest is read again; far below max_poll_interval."""

SETTLE_EVERY = 0.5
"""Seconds from the begin of a batch after which the next that ends is marked and committed, with all between: mark and
commit cost database and broker what a batch of documents costs. What a crash leaves so comes again, is known, and is
published again."""

COMMIT_TIMEOUT = 10.0
"""Seconds for a commit: aiokafka would try for ever. Without it, what is handled comes again, and is known."""

UNSETTLED = "unsettled"
"""What a consumer waits for when its handler had time and left a delivery unsettled: a short while, growing."""

_DECODE_IN_THREAD = 256 * 1024
"""Bytes of a batch above which it is decoded off the event loop."""

Offsets: TypeAlias = "dict[TopicPartition, int]"

log = structlog.get_logger()


class Consumption:
    """Handles the batches of one subscriber, one at a time. Nothing it does raises into FastStream."""

    def __init__(
        self,
        *,
        service: str,
        topics: Mapping[str, Topic],
        slicer: Callable[[Callable[[], bool]], Slicer],
        suspension: Suspension,
        reach: Reach,
        published: Published,
        slice_size: int = SLICE,
        producers: Producers | None = None,
        outstanding: Outstanding | None = None,
    ) -> None:
        self._service = service
        self._producers = producers
        self._outstanding = outstanding
        self._topics = topics
        self._suspension = suspension
        self._reach = reach
        self._published = published
        self._slice_size = slice_size
        self._slicer = slicer(self._expired)
        self._until = 0.0
        self._stopping = False
        self._limit = DeadLetterLimit()
        self._settle_at = 0.0
        self._settling = asyncio.Lock()
        self._handled: Offsets = {}
        self._consumer: AIOKafkaConsumer | None = None
        self.idle = asyncio.Event()
        self.idle.set()

    def stop(self) -> None:
        """Finish the slice at hand, then take no more."""
        self._stopping = True
        self._suspension.hold("stopping")

    async def handle(self, records: list[Raw], consumer: AIOKafkaConsumer) -> None:
        """Handle a batch and empty it; settle, if it is time. Raises nothing but cancellation."""
        self.idle.clear()
        self._consumer = consumer
        self._until = time.monotonic() + HANDLER_BOUND
        if not self._handled:
            self._settle_at = time.monotonic() + SETTLE_EVERY
        progress = Progress()
        try:
            if not self._suspension.active:
                await self._work(await self._arrived(records), progress)
        except Unavailable as unavailable:
            self._suspension.suspend(unavailable.dependency)
        except Exception:
            log.exception("the loop failed")
            metrics.alarm(self._service, "loop-failed")
            self._suspension.suspend("loop")
        finally:
            if self._reach.taken_after == self._reach.given_up:
                self._keep(records, progress, consumer)
            if self._stopping or time.monotonic() >= self._settle_at:
                await self.settle()
            records.clear()
            self.idle.set()

    async def _arrived(self, records: Sequence[Raw]) -> list[Arrived]:
        arrived = await self._decode(records)
        if self._producers and any(isinstance(one, Undecodable) and one.why == UNKNOWN_KEY for one in arrived):
            await self._producers.look()
            arrived = await self._decode(records)
        if self._outstanding:
            self._outstanding.came(one.event for one in arrived if isinstance(one, Delivery))
        return arrived

    async def _decode(self, records: Sequence[Raw]) -> list[Arrived]:
        judge = self._producers.judge if self._producers else nobody

        def decode_all() -> list[Arrived]:
            return [decode(self._topics[record.topic], record, judge) for record in records]

        if sum(len(record.value or b"") for record in records) > _DECODE_IN_THREAD:
            return await asyncio.to_thread(decode_all)
        return decode_all()

    async def _work(self, arrived: Sequence[Arrived], progress: Progress) -> None:
        for part in slices(arrived, self._slice_size):
            if self._expired() or self._suspension.active:
                return
            await self._slicer.run(part, progress)
            self._count_dead_letters(part, progress)
            if not self._expired() and any(each.coordinates not in progress.handled for each in part):
                self._suspension.suspend(UNSETTLED)

    def _expired(self) -> bool:
        return self._stopping or time.monotonic() > self._until

    def _keep(self, records: Sequence[Raw], progress: Progress, consumer: AIOKafkaConsumer) -> None:
        prefix, rest = frontier([coordinates_of(record) for record in records], progress.handled)
        for partition, offset in rest.items():
            with contextlib.suppress(IllegalStateError):
                consumer.seek(partition, offset)
        if not self._reach.lost_place:  # what comes again is committed then, with what lies before it
            self._handled |= prefix

    async def give_up(self) -> None:
        """Settle, before partitions are given up; what is under way then is not committed any more."""
        try:
            await self.settle()
        finally:
            self._reach.given_up += 1
            self._handled = {}

    async def settle(self) -> None:
        """Mark what is published, then commit what is handled; or have the next poll go back to what is committed.

        Committed before it was marked, an outcome would wait for a replay that never comes. Safe beside a batch.
        """
        async with self._settling:  # who gives partitions up waits for what is under way
            handled, self._handled = self._handled, {}
            if await self._marked():
                await self._commit(handled)

    async def settle_idle(self) -> None:
        """Settle, when a poll brought nothing: but who waits and has nothing to commit asks nothing of the database."""
        if self._handled or not self._suspension.active:
            await self.settle()

    async def _marked(self) -> bool:
        try:
            await self._published.mark()
        except Exception as error:  # noqa: BLE001 (classified: nothing may stop the offsets from being put right)
            self._reach.lost_place = True
            self._suspension.suspend(DATABASE if is_unavailable(error) else "loop")
            log.warning("published outcomes not marked", error=type(error).__name__)
            return False
        return True

    async def _commit(self, handled: Offsets) -> None:
        consumer = self._consumer
        if consumer is None:
            return
        offsets = {partition: offset for partition, offset in handled.items() if partition in consumer.assignment()}
        if not offsets:
            return
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT):
                await consumer.commit(offsets)
        except (IllegalStateError, CommitFailedError):
            log.info("commit refused after a rebalance", partitions=len(offsets))
        except (KafkaError, TimeoutError) as error:
            log.warning("commit failed", error=type(error).__name__)
            await self._reach.failed("commit")
            return
        self._reach.succeeded("commit")

    def _count_dead_letters(self, part: Sequence[Arrived], progress: Progress) -> None:
        for arrived in part:
            if isinstance(arrived, Undecodable) and arrived.forged:
                continue  # whoever can write the topic could stop us otherwise
            if not (arrived.topic.outsiders or arrived.topic.callers_shape) and arrived.coordinates in progress.handled:
                self._limit.count(dead=isinstance(progress.handled[arrived.coordinates], Poison))
        if self._limit.reached:
            metrics.alarm(self._service, "dead-letter-limit")
            self._suspension.halt("dead-letter-limit")


def frontier(read: Sequence[Coordinates], handled: Collection[Coordinates]) -> tuple[Offsets, Offsets]:
    """Per partition: the offset to commit (the contiguous handled prefix), and the offset to seek back to.

    A partition whose first record is not handled has nothing to commit; one that is handled whole has nothing to seek.
    """
    prefix: Offsets = {}
    rest: Offsets = {}
    for coordinates in read:
        partition = TopicPartition(coordinates.topic, coordinates.partition)
        if partition in rest:
            continue
        if coordinates in handled:
            prefix[partition] = coordinates.offset + 1
        else:
            rest[partition] = coordinates.offset
    return prefix, rest
