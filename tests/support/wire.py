"""The broker's side of one service under test: events in, and what came out."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from aiokafka import AIOKafkaProducer

from libs.contracts.base import Event
from libs.contracts.cloudevents import Record, encode
from libs.contracts.topics import MAX_RECORD_BYTES, Topic
from libs.runtime.clock import utc_now
from tests.support.producers import Hands
from tests.support.stack import Stack
from tests.support.tap import Tap, open_tap

E = TypeVar("E", bound=Event)


@dataclass
class Wire:
    """Sends events as their producers would, and keeps every record of the watched topics, repeats included."""

    producer: AIOKafkaProducer
    tap: Tap
    hands: Hands

    async def send(self, topic: Topic, events: Iterable[Event]) -> None:
        """Append in this order, as far as one partition goes."""
        await self.append(
            self.hands.event(topic, event) if topic.producers else encode(topic, event, source="test", time=utc_now())
            for event in events
        )

    async def append(self, records: Iterable[Record]) -> None:
        """Append records as they stand, in this order."""
        sends = [
            await self.producer.send(record.topic, value=record.value, key=record.key, headers=list(record.headers))
            for record in records
        ]
        await asyncio.gather(*sends)

    def events(self, topic: Topic, model: type[E], request_id: object) -> list[E]:
        """What was read of a request; an event that came twice stands twice."""
        return [event for event in self.tap.events(topic, model) if getattr(event, "request_id", None) == request_id]

    async def buried(self, topic: Topic, events: Iterable[E]) -> None:
        """Wait until these are dead letters of a topic."""
        expected = list(events)

        def all_buried() -> bool:
            letters = self.tap.events(topic.dead_letter, type(expected[0]))
            return all(event in letters for event in expected)

        await self.tap.until(all_buried, "the dead letters")


@asynccontextmanager
async def open_wire(stack: Stack, hands: Hands, *watched: Topic) -> AsyncIterator[Wire]:
    """Connect, tell the producers' keys, and watch these topics from now on."""
    producer = AIOKafkaProducer(**stack.kafka.options(), linger_ms=2, max_request_size=MAX_RECORD_BYTES)
    await producer.start()
    try:
        async with open_tap(stack, watched, from_now=True) as tap:
            wire = Wire(producer, tap, hands)
            await wire.append(hands.keys())
            yield wire
    finally:
        await producer.stop()
