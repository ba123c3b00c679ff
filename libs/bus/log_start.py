"""What retention has taken before it was read: Kafka would skip the gap in silence."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import CommitFailedError, IllegalStateError

from libs.bus.suspension import Suspension
from libs.contracts.signing import AuthorisationSubmitted
from libs.contracts.topics import Topic
from libs.runtime import metrics

ASK_TIMEOUT = 5.0
"""Seconds for a question about offsets: aiokafka would ask for ever."""


async def places(
    consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]
) -> dict[TopicPartition, tuple[int | None, int]]:
    """Per partition, what is committed and where its log starts. Raises KafkaError or TimeoutError.

    One question for all starts: it stands behind a fetch that waits FETCH_WAIT_MS at the broker, and one for each
    partition would take longer than ASK_TIMEOUT, every time.
    """
    async with asyncio.timeout(ASK_TIMEOUT):
        starts = await consumer.beginning_offsets(list(partitions))
        committed = await asyncio.gather(*(consumer.committed(partition) for partition in partitions))
    return {partition: (offset, starts[partition]) for partition, offset in zip(partitions, committed, strict=True)}


class LogStartGuard(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka is untyped
    """Stops the consumer when retention has passed it: Kafka would skip the gap in silence.

    Looks when partitions are assigned, when they are resumed, and when records do not follow those before, in each case
    before any record of them is handled. Where nothing is committed yet, the start of the log is: a later gap shows.
    """

    def __init__(
        self,
        topics: Mapping[str, Topic],
        suspension: Suspension,
        service: str,
        hand_over: Callable[[], Awaitable[None]],
    ) -> None:
        """`hand_over` is called before partitions are given up: a consumer has one listener, which is this."""
        self._topics = topics
        self._suspension = suspension
        self._service = service
        self._hand_over = hand_over
        self._unchecked: set[TopicPartition] = set()
        self._next: dict[TopicPartition, int] = {}

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Hand over, so that their next owner begins where this one has ended."""
        await self._hand_over()
        for partition in revoked:
            self._next.pop(partition, None)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Asked here, a failure would be swallowed by aiokafka; the poll asks, and does not go on without an answer."""
        self.look_at(assigned)

    def look_at(self, partitions: set[TopicPartition] | frozenset[TopicPartition]) -> None:
        """Check these before their next record is handled."""
        self._unchecked |= partitions

    def saw(self, batches: Mapping[TopicPartition, Sequence[ConsumerRecord[bytes, bytes]]]) -> None:
        """What does not follow what was read before is looked at: aiokafka goes on to what is left, saying nothing."""
        for partition, batch in batches.items():
            follows = batch[0].offset <= self._next.get(partition, batch[0].offset)
            if not follows and self._topics[partition.topic].retention is not None:  # a compacted log has holes
                self._unchecked.add(partition)
            self._next[partition] = batch[-1].offset + 1

    async def check(self, consumer: AIOKafkaConsumer) -> None:
        """Compare committed offsets with the start of the log. Raises KafkaError or TimeoutError: not checked yet."""
        partitions = self._unchecked & consumer.assignment()
        if not partitions:
            return
        begun: dict[TopicPartition, int] = {}
        for partition, (committed, start) in (await places(consumer, partitions)).items():
            if committed is None:
                begun[partition] = start
            elif committed < start:
                self._passed(partition, committed, start)
        if begun:
            try:
                async with asyncio.timeout(ASK_TIMEOUT):
                    await consumer.commit(begun)
            except (CommitFailedError, IllegalStateError):  # a rebalance came between; the next poll asks again
                partitions -= begun.keys()
        self._unchecked -= partitions

    def _passed(self, partition: TopicPartition, committed: int, start: int) -> None:
        metrics.alarm(
            self._service,
            "log-start-passed",
            topic=partition.topic,
            partition=partition.partition,
            committed=committed,
            log_start=start,
        )
        # What was authorised and is gone is ended by its expiry row; any other gap is loss until it is published again.
        if self._topics[partition.topic].event is not AuthorisationSubmitted:
            self._suspension.halt("log-start-passed")
