"""How far every consumer group is behind on each topic, as the broker has it: a metric, and nothing else."""

import asyncio
from collections import Counter
from typing import Final

from aiokafka import TopicPartition

from libs.bus.reader import reader
from libs.bus.topics import administration
from libs.contracts.topics import TOPICS
from libs.runtime import metrics
from libs.runtime.kafka_access import KafkaAccess

LOOK: Final = 10.0
"""Seconds for one look, whole; then the broker is not asked until the next."""

MAX_GROUPS: Final = 200
"""Groups that are looked at, by name: anybody may make one, and each is a line of the metrics per topic."""


class Lag:
    """One look at a time. Groups that have gone are told of no longer."""

    def __init__(self, kafka: KafkaAccess) -> None:
        self._kafka = kafka

    async def look(self) -> None:
        """Ask, and set the metric. Raises KafkaError, and TimeoutError; then the metric is as it was."""
        async with asyncio.timeout(LOOK):
            committed = await self._committed()
            asked = list({place for places in committed.values() for place in places})
            async with reader(self._kafka, asked) as consumer:
                ends = await consumer.end_offsets(asked)
        metrics.LAG.clear()
        for group, places in committed.items():
            behind: Counter[str] = Counter()
            for place, offset in places.items():
                behind[place.topic] += max(ends[place] - offset, 0)
            for topic, records in behind.items():
                metrics.LAG.labels(group, topic).set(records)

    async def _committed(self) -> dict[str, dict[TopicPartition, int]]:
        """Group → what it has committed of our topics; where it begins, the loop commits at once."""
        async with administration(self._kafka, timeout_ms=int(LOOK * 1000)) as admin:
            names = sorted(name for name, _ in await admin.list_consumer_groups())[:MAX_GROUPS]
            found = {}
            for name in names:
                offsets = await admin.list_consumer_group_offsets(name)
                found[name] = {
                    place: offset.offset
                    for place, offset in offsets.items()
                    if place.topic in TOPICS and offset.offset >= 0
                }
            return found
