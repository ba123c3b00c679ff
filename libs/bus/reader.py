"""Consumers that join no group: what is asked of topics, or read of them again, outside anybody's progress."""

from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from libs.bus import records, stopping
from libs.contracts.topics import Topic
from libs.runtime.kafka_access import KafkaAccess


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
    records.install()
    stopping.install()
    consumer = AIOKafkaConsumer(**kafka.options(), group_id=group, enable_auto_commit=False, **options)
    try:
        await consumer.start()
        consumer.assign(list(partitions))
        consumer.pause(*partitions)
        yield consumer
    finally:
        await consumer.stop()
