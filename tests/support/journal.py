"""What is on the topics of a stack: every record, as it was written."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import TypeAlias

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from libs.contracts import topics
from libs.contracts.topics import MAX_DEAD_LETTER_BYTES, Topic
from tests.support.stack import Stack
from tests.support.waiting import eventually

Raw: TypeAlias = "ConsumerRecord[bytes, bytes]"

NOBODY = ".nobody-is-in-it"
"""The end of the name of a group that an attack leaves to each service."""

Ends = dict[TopicPartition, int]


def _partitions_of(topic: Topic | str) -> list[TopicPartition]:
    """Every partition of a topic, or of a dead letter, which has one."""
    name = topic if isinstance(topic, str) else topic.name
    count = topics.TOPICS[name].partitions if name in topics.TOPICS else 1
    return [TopicPartition(name, number) for number in range(count)]


@asynccontextmanager
async def observer(stack: Stack) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of no group."""
    consumer = AIOKafkaConsumer(
        **stack.kafka.options(), enable_auto_commit=False, max_partition_fetch_bytes=MAX_DEAD_LETTER_BYTES
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def history(stack: Stack, *read: Topic | str, since: Ends | None = None) -> list[Raw]:
    """What is on these topics now, or came `since`, repeats included; one partition at a time is in order."""
    async with observer(stack) as consumer:
        partitions = [partition for topic in read for partition in _partitions_of(topic)]
        assign_paused(consumer, partitions)
        begin = await consumer.beginning_offsets(partitions)
        if since is not None:  # what was deleted meanwhile is not there to be read
            begin = {partition: max(offset, since[partition]) for partition, offset in begin.items()}
        ends = await consumer.end_offsets(partitions)
        for partition in partitions:
            consumer.seek(partition, begin[partition])
        consumer.resume(*partitions)
        found: list[Raw] = []
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                found += batch
        return found


async def ends_of(stack: Stack, *read: Topic | str) -> Ends:
    """Where these topics end now."""
    async with observer(stack) as consumer:
        partitions = [partition for topic in read for partition in _partitions_of(topic)]
        assign_paused(consumer, partitions)
        found: Ends = await consumer.end_offsets(partitions)
        return found


def assign_paused(consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]) -> None:
    """Make partitions known, to ask about them.

    aiokafka learns of those that it does not know one topic after another, 0.1 s each; and a fetch of those that it may
    fetch stands at the broker before every question.
    """
    consumer.assign(list(partitions))
    consumer.pause(*partitions)


def header(record: Raw, name: str) -> str:
    """The value of a header that stands once."""
    (value,) = [value for key, value in record.headers if key == name]
    return bytes(value).decode()


async def of_request(stack: Stack, topic: Topic, request_id: object) -> list[Raw]:
    """The records of a topic that is keyed by request."""
    return [record for record in await history(stack, topic) if record.key == str(request_id).encode()]


async def dead_letters(stack: Stack, topic: Topic, key: object, *, count: int) -> list[Raw]:
    """The dead letters of a topic under this key, once there are so many."""

    async def found() -> list[Raw] | None:
        letters = [letter for letter in await history(stack, topic.dead_letter) if letter.key == str(key).encode()]
        return letters if len(letters) >= count else None

    letters: list[Raw] = await eventually(found, f"{count} dead letters of {topic.name} for {key}", every=0.2)
    return letters
