"""Whether a group has read what came in time: what ends a request must not overtake the answer that it waits for."""

import asyncio
from collections.abc import Collection
from datetime import datetime

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from libs.bus.outcomes import Unavailable
from libs.bus.publisher import BROKER, partition_of
from libs.bus.reader import reader
from libs.contracts.topics import Topic
from libs.runtime.kafka_access import KafkaAccess

BOUND = 5.0
"""Seconds for the whole question: aiokafka would ask for ever."""


async def unread(kafka: KafkaAccess, group: str, topic: Topic, keys: Collection[bytes], before: datetime) -> set[bytes]:
    """Those of these keys in whose partition `group` has yet to handle a record that the broker took before this time.

    The record need not be of the key. What was deleted unread counts as read. Raises Unavailable.
    """
    places = {key: TopicPartition(topic.name, partition_of(key, topic.partitions)) for key in keys}
    partitions = set(places.values())
    try:
        async with asyncio.timeout(BOUND), reader(kafka, partitions, group=group) as consumer:
            starts = await consumer.beginning_offsets(list(partitions))
            ends = await consumer.end_offsets(list(partitions))
            later = await consumer.offsets_for_times(dict.fromkeys(partitions, round(before.timestamp() * 1000)))
            at = {partition: await consumer.committed(partition) or 0 for partition in partitions}
    except (KafkaError, TimeoutError) as error:
        raise Unavailable(BROKER) from error
    until = {
        partition: ends[partition] if (one := later[partition]) is None else one.offset for partition in partitions
    }
    behind = {partition for partition in partitions if max(at[partition], starts[partition]) < until[partition]}
    return {key for key, partition in places.items() if partition in behind}
