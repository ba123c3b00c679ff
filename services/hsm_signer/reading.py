"""Read spans of topics again, outside any group's progress."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from libs.bus.reader import Raw, partitions_of, reader, up_to
from libs.contracts.topics import Topic
from libs.runtime.kafka_access import KafkaAccess

FETCH_WAIT_MS: Final = 50
"""Milliseconds that a fetch stands at the broker: whatever else is asked waits behind it."""

FETCH_BYTES: Final = 256 * 1024
"""Of one partition at once; a record that is larger comes alone."""


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


def between(
    consumer: AIOKafkaConsumer, spans: Mapping[TopicPartition, tuple[int, int]]
) -> AsyncIterator[Sequence[Raw]]:
    """Records from the first offset of each span up to, not including, the second, as `up_to` has them."""
    for place, (start, _) in spans.items():
        consumer.seek(place, start)
    return up_to(consumer, {place: end for place, (_, end) in spans.items()})
