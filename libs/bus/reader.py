"""Consumers that join no group: what is asked of topics, or read of them again, outside anybody's progress."""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaTimeoutError

from libs.bus import defences
from libs.contracts.topics import Topic
from libs.runtime.kafka_access import KafkaAccess

Raw: TypeAlias = "ConsumerRecord[bytes, bytes]"

POLL_MS: Final = 50
"""For one poll to wait."""

SILENT_POLLS: Final = 1_000
"""Polls in a row without a record, after which what should be there counts as unreadable: 50 s."""


def partitions_of(topics: Iterable[Topic]) -> list[TopicPartition]:
    """Every partition of these topics, as they are declared."""
    return [TopicPartition(topic.name, number) for topic in topics for number in range(topic.partitions)]


@asynccontextmanager
async def reader(
    kafka: KafkaAccess, partitions: Collection[TopicPartition], *, group: str | None = None, **options: Any
) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of these partitions, all of them paused; resume what is to be read. Raises KafkaError.

    `group` is whose offsets are asked and committed; it is not joined. `options` are aiokafka's. What is assigned is
    known at once, where aiokafka learns of anything else one topic after another, 0.1 s each; and what is paused has no
    fetch that stands at the broker before every question.
    """
    defences.install()
    consumer = AIOKafkaConsumer(**kafka.options(), group_id=group, enable_auto_commit=False, **options)
    try:
        await consumer.start()
        consumer.assign(list(partitions))
        consumer.pause(*partitions)
        yield consumer
    finally:
        await consumer.stop()


async def up_to(
    consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int], *, silent_polls: int = SILENT_POLLS
) -> AsyncIterator[list[Raw]]:
    """What lies on these partitions from the consumer's positions to before these offsets, a batch of one at a time.

    Of one partition in its order; what came later is left out. They are paused again after it. Raises KafkaError:
    KafkaTimeoutError when nothing comes any more.
    """
    behind = [place for place, end in ends.items() if await consumer.position(place) < end]
    consumer.resume(*behind)
    silent = 0
    try:
        while behind:
            batches = await consumer.getmany(*behind, timeout_ms=POLL_MS)
            silent = 0 if batches else silent + 1
            if silent > silent_polls:
                raise KafkaTimeoutError("what the broker says that it has cannot be read")
            for place, batch in batches.items():
                yield [record for record in batch if record.offset < ends[place]]
            behind = [place for place in behind if await consumer.position(place) < ends[place]]
    finally:
        consumer.pause(*ends)
