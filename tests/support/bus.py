"""A service of a test on the real stack: its own schema, topics and group, and an observer of what it publishes."""

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import asyncpg
from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.errors import KafkaError

from deploy.native.secret_files import ensure_secret
from libs.bus.bus import Bus
from libs.bus.signing import EventSigner
from libs.bus.topics import administration, controller_known, create_topics
from libs.contracts.base import Event
from libs.contracts.cloudevents import Record, encode
from libs.contracts.topics import MAX_DEAD_LETTER_BYTES, MAX_DOCUMENT_RECORD_BYTES, Topic
from libs.crypto.requests import new_signing_key
from libs.runtime.clock import utc_now
from libs.runtime.health import Health
from libs.storage.migrations import LEDGER_MIGRATIONS, migrate
from libs.storage.pool import Pool, open_pool
from tests.support.stack import Stack
from tests.support.tap import Tap, open_tap
from tests.support.waiting import eventually

ROLE = "posting"
"""Whose role tests borrow; each test has a schema of its own."""

REQUEST = uuid.UUID("0d1f6f0e-5b5c-4c8e-9a7e-6f2a1f0c1b2d")

SESSION_MS = 6_000
"""The broker's least: a dead member's partitions are its twin's after this."""


class Step(Event):
    """A small event; `number` is content under the same event id."""

    request_id: uuid.UUID
    document: str
    number: int = 0

    @property
    def key(self) -> str:
        return self.document

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.request_id, self.document)


def declared(name: str, **settings: Any) -> Topic:
    """The declaration of a test's topic."""
    return Topic(name, **{"event": Step, "key": "document", "max_bytes": MAX_DOCUMENT_RECORD_BYTES, **settings})


@dataclass
class Room:
    """One schema and the topics of one test. `bus()` makes replicas of the same service."""

    stack: Stack
    schema: str
    pool: Pool
    producer: AIOKafkaProducer
    resources: AsyncExitStack
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    topics: list[str] = field(default_factory=list)

    async def topic(self, **settings: Any) -> Topic:
        """A topic of its own, created with its dead letter."""
        topic = declared(self.stack.unique_topic(), **settings)
        await create_topics(self.stack.kafka, topics=[topic])
        self.owns(topic)
        return topic

    def owns(self, *own: Topic) -> None:
        """Have these deleted at the end: whatever connects to a broker is told of every topic that it has."""
        self.topics += [name for topic in own for name in (topic.name, topic.dead_letter)]

    def bus(self, **options: Any) -> Bus:
        """A replica of the service; give `pool=` for one with connections of its own."""
        defaults: dict[str, Any] = {
            "kafka": self.stack.kafka,
            "pool": self.pool,
            "health": Health(self.schema),
            "session_ms": SESSION_MS,
            "sign": EventSigner(new_signing_key(), known=lambda _: True),
        }
        return Bus(service=self.schema, **(defaults | options))

    def event(self, document: str | None = None, number: int = 0) -> Step:
        """An event of a document of its own, or of the one named."""
        return Step(request_id=REQUEST, document=document or f"d{next(self.numbers)}", number=number)

    async def send(self, topic: Topic, events: Iterable[Event | Record], *, partition: int | None = None) -> None:
        """Append events, or records as they stand, in this order."""
        records = [e if isinstance(e, Record) else encode(topic, e, source="test", time=utc_now()) for e in events]
        sent = [
            await self.producer.send(topic.name, value=r.value, key=r.key, headers=list(r.headers), partition=partition)
            for r in records
        ]
        await asyncio.gather(*sent)

    async def tap(self, *watched: Topic) -> Tap:
        """Observe topics and their dead letters from their beginning."""
        return await self.resources.enter_async_context(open_tap(self.stack, watched))

    async def more_connections(self) -> Pool:
        """A pool of its own, as another process would have."""
        pool = await open_room_pool(self.stack, self.schema)
        self.resources.push_async_callback(pool.close)
        return pool

    async def committed(self, topic: Topic, group: str | None = None) -> dict[int, int]:
        """The group's committed offsets by partition, of those of which it has handled anything."""
        return {number: offset for number, offset in (await self.begun(topic, group)).items() if offset}

    async def begun(self, topic: Topic, group: str | None = None) -> dict[int, int]:
        """The same, and where it only has begun."""
        async with administration(self.stack.kafka) as admin:
            offsets = await admin.list_consumer_group_offsets(group or self.schema)
        return {tp.partition: o.offset for tp, o in offsets.items() if tp.topic == topic.name}

    async def members(self, group: str | None = None) -> int:
        """How many members the group has, as the broker sees it."""
        async with administration(self.stack.kafka) as admin:
            (response,) = await admin.describe_consumer_groups([group or self.schema])
        return len(response.groups[0][5])

    async def count(self, query: str, *arguments: object) -> int:
        """One number from the room's schema."""
        return int(await self.pool.fetchval(query, *arguments))

    async def empty(self, table: str, *arguments: object) -> bool:
        """Whether a table of the room's schema (and a condition) holds no row."""
        return await self.count(f"SELECT count(*) FROM {table}", *arguments) == 0

    async def all_committed(self, topic: Topic, count: int, group: str | None = None, *, seconds: float = 30) -> None:
        """Wait until `count` records of a topic are committed."""

        async def enough() -> bool:
            try:
                return sum((await self.committed(topic, group)).values()) >= count
            except KafkaError:  # a broker that was killed says who coordinates the group only after a while
                return False

        await eventually(enough, f"{count} records committed", seconds=seconds, every=0.2)

    async def superuser(self) -> "asyncpg.Connection[asyncpg.Record]":
        """A connection that may do anything; the caller closes it."""
        return await asyncpg.connect(self.stack.postgres_dsn("postgres"))


async def open_room_pool(stack: Stack, schema: str) -> Pool:
    """Connections of the borrowed role to one test's schema."""
    return await open_pool(
        host="127.0.0.1",
        port=stack.layout.ports["postgres"],
        database="gpki",
        user=ROLE,
        password=ensure_secret(stack.layout.secrets(ROLE), "postgres_password"),
        schema=schema,
    )


@asynccontextmanager
async def open_room(stack: Stack, *migrations: Path) -> AsyncIterator[Room]:
    """Make schema, ledger, what is in these folders and a producer; drop the schema at the end."""
    schema = f"t_{uuid.uuid4().hex[:10]}"
    superuser = await asyncpg.connect(stack.postgres_dsn("postgres"))
    await superuser.execute(f"create schema {schema} authorization {ROLE}")
    try:
        async with AsyncExitStack() as resources:
            pool = await open_room_pool(stack, schema)
            resources.push_async_callback(pool.close)
            await migrate(pool, [LEDGER_MIGRATIONS, *migrations])
            producer = AIOKafkaProducer(**stack.kafka.options(), linger_ms=2, max_request_size=MAX_DEAD_LETTER_BYTES)
            await producer.start()
            resources.push_async_callback(producer.stop)
            room = Room(stack, schema, pool, producer, resources)
            yield room
        await delete_topics(stack, room.topics)
    finally:
        await superuser.execute(f"drop schema {schema} cascade")
        await superuser.close()


async def delete_topics(stack: Stack, names: Sequence[str]) -> None:
    """Leave no topic behind: a broker that is killed later reads the log of every one again before it is ready."""
    async with administration(stack.kafka) as admin:
        await controller_known(admin)
        await admin.delete_topics(list(names))


def reports(health: Health, check: str) -> bool:
    """Whether a check was reported at all, good or bad."""
    return check in cast("dict[str, object]", health.report()["checks"])


def waits_for(health: Health, dependency: str) -> bool:
    """Whether a consumer, or the due worker, of the service waits for this dependency."""
    checks = cast("dict[str, dict[str, object]]", health.report()["checks"])
    return any(name.endswith(f":{dependency}") and not check["ok"] for name, check in checks.items())


def documents(records: Sequence["ConsumerRecord[bytes, bytes]"]) -> list[str]:
    """The document ids (keys) of records."""
    return [(record.key or b"").decode() for record in records]
