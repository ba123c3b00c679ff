"""The broker's side of one service under test: events in, and what came out."""

import asyncio
import inspect
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from libs.contracts.base import Event
from libs.contracts.cloudevents import encode
from libs.contracts.topics import MAX_RECORD_BYTES, Topic
from libs.runtime.clock import utc_now
from tests.support.stack import Stack
from tests.support.waiting import eventually

E = TypeVar("E", bound=Event)


@dataclass
class Wire:
    """Sends events as their producers would, and keeps every record of the watched topics, repeats included."""

    producer: AIOKafkaProducer
    consumer: AIOKafkaConsumer
    records: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))

    async def send(self, topic: Topic, events: Iterable[Event]) -> None:
        """Append in this order, as far as one partition goes."""
        records = [encode(topic, event, source="test", time=utc_now()) for event in events]
        sends = [
            await self.producer.send(record.topic, value=record.value, key=record.key, headers=list(record.headers))
            for record in records
        ]
        await asyncio.gather(*sends)

    def events(self, topic: Topic, model: type[E], request_id: object) -> list[E]:
        """What was read of a request; an event that came twice stands twice."""
        found = (model.model_validate_json(value) for value in self.records[topic.name])
        return [event for event in found if getattr(event, "request_id", None) == request_id]

    async def read(self) -> None:
        """Read to the end of what is there now."""
        partitions = list(self.consumer.assignment())
        ends = await self.consumer.end_offsets(partitions)
        while any([await self.consumer.position(partition) < end for partition, end in ends.items()]):
            await self._take()

    async def until(self, condition: Callable[[], Any], what: str, *, seconds: float = 30) -> Any:
        """Read until the condition is true, and then to the end of what is there; returns its value."""

        async def check() -> Any:
            value = condition()
            return await value if inspect.isawaitable(value) else value

        async def take_and_check() -> Any:
            await self._take()
            return await check()

        await eventually(take_and_check, what, seconds=seconds, every=0)
        await self.read()
        return await check()

    async def _take(self) -> None:
        for records in (await self.consumer.getmany(timeout_ms=100)).values():
            for record in records:
                self.records[record.topic].append(record.value)


@asynccontextmanager
async def open_wire(stack: Stack, *watched: Topic) -> AsyncIterator[Wire]:
    """Connect, and watch these topics from now on."""
    producer = AIOKafkaProducer(bootstrap_servers=stack.kafka, linger_ms=2, max_request_size=MAX_RECORD_BYTES)
    consumer = AIOKafkaConsumer(bootstrap_servers=stack.kafka, enable_auto_commit=False)
    await producer.start()
    await consumer.start()
    try:
        partitions = [TopicPartition(topic.name, p) for topic in watched for p in range(topic.partitions)]
        dead_letters = [TopicPartition(topic.dead_letter, 0) for topic in watched]
        consumer.assign([*partitions, *dead_letters])
        await consumer.seek_to_end()
        yield Wire(producer, consumer)
    finally:
        await consumer.stop()
        await producer.stop()
