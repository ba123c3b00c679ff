"""Clients of the real broker, as bare as the libraries give them."""

from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.producer import message_accumulator
from aiokafka.producer import producer as producer_module
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from libs.bus.topics import administration, create_topics
from libs.contracts.topics import MAX_DOCUMENT_RECORD_BYTES
from tests.support.bus import SESSION_MS, declared, delete_topics
from tests.support.stack import Stack
from tests.support.waiting import eventually


class Broker:
    """The stack's broker, and clients that end with the test."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._resources = AsyncExitStack()
        self._topics: list[str] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._resources.aclose()
        await delete_topics(self.stack, self._topics)

    async def topic(self, partitions: int = 1, max_bytes: int = MAX_DOCUMENT_RECORD_BYTES) -> str:
        """A fresh topic, declared as ours are."""
        name = self.stack.unique_topic()
        await create_topics(self.stack.kafka, topics=[declared(name, partitions=partitions, max_bytes=max_bytes)])
        self._topics += [name, f"{name}.dlq"]
        return name

    async def producer(self, **options: Any) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(**self.stack.kafka.options(), **options)
        await producer.start()
        self._resources.push_async_callback(producer.stop)
        return producer

    async def send(self, topic: str, values: Sequence[bytes], **options: Any) -> None:
        """Append values in order; `options` are aiokafka's own."""
        producer = await self.producer()
        for value in values:
            await producer.send_and_wait(topic, value, **options)

    async def consumer(self, *topics: str, group: str | None = None, **options: Any) -> AIOKafkaConsumer:
        """A consumer as the loop has it; with a group once it has joined."""
        consumer = AIOKafkaConsumer(
            *topics,
            **self.stack.kafka.options(),
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            **({"session_timeout_ms": SESSION_MS, "heartbeat_interval_ms": 300, **options}),
        )
        await consumer.start()
        self._resources.push_async_callback(consumer.stop)
        return consumer

    async def committed(self, group: str) -> dict[TopicPartition, int]:
        """Every offset that the group has committed."""
        async with administration(self.stack.kafka) as admin:
            return {tp: o.offset for tp, o in (await admin.list_consumer_group_offsets(group)).items()}


async def drain(consumer: AIOKafkaConsumer, count: int) -> list["ConsumerRecord[bytes, bytes]"]:
    """The next `count` records."""
    records: list[ConsumerRecord[bytes, bytes]] = []

    async def enough() -> bool:
        for batch in (await consumer.getmany(timeout_ms=200)).values():
            records.extend(batch)
        return len(records) >= count

    await eventually(enough, f"{count} records")
    return records


class Name(str):
    """A header's name that is these bytes on the wire."""

    __slots__ = ("raw",)
    raw: bytes

    def __new__(cls, raw: bytes) -> Self:
        made = super().__new__(cls, raw.decode("latin-1"))
        made.raw = raw
        return made

    def encode(self, *_: object) -> bytes:
        return self.raw


@contextmanager
def any_header_name() -> Iterator[None]:
    """Let what is sent inside, by producers made inside, have a `Name`: aiokafka's fast builder knows only UTF-8."""
    fast = message_accumulator.DefaultRecordBatchBuilder
    modules = (producer_module, message_accumulator)
    for module in modules:
        module.DefaultRecordBatchBuilder = _DefaultRecordBatchBuilderPy
    try:
        yield
    finally:
        for module in modules:
            module.DefaultRecordBatchBuilder = fast


async def never_asked() -> None:
    """A probe for a consumer that reaches its group."""
    raise AssertionError("the consumer failed")
