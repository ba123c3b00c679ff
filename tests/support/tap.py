"""An observer of topics: every record that is written to them, repeats included."""

import inspect
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from pydantic import ValidationError

from libs.bus.reader import partitions_of
from libs.contracts.base import Event
from libs.contracts.topics import Topic
from tests.support.journal import assign_paused, header
from tests.support.stack import Stack
from tests.support.waiting import eventually

E = TypeVar("E", bound=Event)


@dataclass
class Tap:
    """In the order read; one partition at a time is in order.

    Ends are asked for on a connection of their own: on the consumer's they would stand behind the fetch that waits at
    the broker.
    """

    consumer: AIOKafkaConsumer
    asker: AIOKafkaConsumer
    records: list["ConsumerRecord[bytes, bytes]"] = field(default_factory=list)

    def of(self, topic: Topic | str, key: object = None) -> list["ConsumerRecord[bytes, bytes]"]:
        """What came on a topic; of one that others write to as well, and not only events, what is under this key."""
        name = topic if isinstance(topic, str) else topic.name
        keys = None if key is None else str(key).encode()
        return [record for record in self.records if record.topic == name and keys in {None, record.key}]

    def events(self, topic: Topic | str, kind: type[E]) -> list[E]:
        """What came on a topic and is one. Not all is: rubbish of other tests lies on the stack's own topics."""
        found = []
        for record in self.of(topic):
            with suppress(ValidationError):
                found.append(kind.model_validate_json(record.value or b""))
        return found

    def ids(self, topic: Topic | str) -> list[str]:
        """The event ids on a topic, repeats included."""
        return [header(record, "ce_id") for record in self.of(topic)]

    async def read(self) -> None:
        """Read what is there now, to the end of every partition."""
        ends = await self.asker.end_offsets(list(self.consumer.assignment()))
        while any([await self.consumer.position(partition) < end for partition, end in ends.items()]):
            await self._take()

    async def until(self, condition: Callable[[], Any], what: str, *, seconds: float = 30) -> Any:
        """Read until the condition (or what it awaits) is true, and then to the end of what is there; returns it."""

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
            self.records += records


@asynccontextmanager
async def open_tap(stack: Stack, watched: Iterable[Topic], *, from_now: bool = False) -> AsyncIterator[Tap]:
    """Observe topics and their dead letters from their beginning, or from now on."""
    consumer, asker = (AIOKafkaConsumer(**stack.kafka.options(), enable_auto_commit=False) for _ in range(2))
    try:
        await consumer.start()
        await asker.start()
        partitions = [
            *partitions_of(watched),
            *(TopicPartition(topic.dead_letter, 0) for topic in watched),
        ]
        assign_paused(asker, partitions)
        begin = await (asker.end_offsets if from_now else asker.beginning_offsets)(partitions)
        consumer.assign(partitions)
        for partition, offset in begin.items():
            consumer.seek(partition, offset)
        yield Tap(consumer, asker)
    finally:
        await consumer.stop()
        await asker.stop()
