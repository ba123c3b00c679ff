"""Read spans of topics again, outside any group's progress."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, TypeAlias

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaTimeoutError

from libs.bus.reader import partitions_of, reader
from libs.contracts.topics import Topic
from libs.runtime.kafka_access import KafkaAccess

Raw: TypeAlias = "ConsumerRecord[bytes, bytes]"

FETCH_WAIT_MS: Final = 50
"""Milliseconds that a fetch stands at the broker: whatever else is asked waits behind it."""

FETCH_BYTES: Final = 256 * 1024
"""Of one partition at once; a record that is larger comes alone."""

SILENT_POLLS: Final = 200
"""Polls in a row without a record, after which a span counts as unreadable."""

POLL_MS: Final = 250
"""For one poll to wait."""


def topic_reader(
    kafka: KafkaAccess, group: str, topics: Iterable[Topic]
) -> AbstractAsyncContextManager[AIOKafkaConsumer]:
    """A `reader` of everything of these topics."""
    return reader(
        kafka,
        partitions_of(topics),
        group=group,
        fetch_max_wait_ms=FETCH_WAIT_MS,
        max_partition_fetch_bytes=FETCH_BYTES,
    )


async def between(
    consumer: AIOKafkaConsumer, spans: Mapping[TopicPartition, tuple[int, int]]
) -> AsyncIterator[Sequence[Raw]]:
    """Records from the first offset of each span up to, not including, the second; in order within a partition.

    Raises KafkaError: KafkaTimeoutError when nothing comes any more.
    """
    behind = [place for place, (start, end) in spans.items() if start < end]
    for place in behind:
        consumer.seek(place, spans[place][0])
    consumer.resume(*behind)
    silent = 0
    try:
        while behind:
            batches = await consumer.getmany(*behind, timeout_ms=POLL_MS)
            silent = 0 if batches else silent + 1
            if silent > SILENT_POLLS:
                raise KafkaTimeoutError("a span of a topic cannot be read")
            for place, batch in batches.items():
                yield [record for record in batch if record.offset < spans[place][1]]
            behind = [place for place in behind if await consumer.position(place) < spans[place][1]]
    finally:
        consumer.pause(*spans)
