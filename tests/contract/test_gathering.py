"""How batches grow where documents follow each other, and what of aiokafka's fetching would stop them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaConsumer

from libs.bus import gathering, subscriber
from libs.bus.gathering import Gathering, Outstanding
from libs.bus.log_start import LogStartGuard
from libs.bus.publisher import Publisher
from libs.bus.reach import Reach
from libs.bus.subscriber import PREFETCH_AFTER, Batch, Poll
from libs.bus.suspension import Suspension
from libs.contracts.cloudevents import Record
from libs.runtime.health import Health
from tests.contract.broker import Broker, never_asked
from tests.support.documents import shapes

NEVER = 60.0
"""Seconds to gather: longer than any test waits."""

STREAM = Gathering(NEVER).after

LONG_POLL_MS = 30_000
SHORT_MS = 5_000


@pytest.fixture(autouse=True)
def a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes next may be 2 s late, and what is known to come is waited for as long as a test."""
    monkeypatch.setattr(subscriber, "TOP_UP_MS", 2_000)
    monkeypatch.setattr(gathering, "SILENCE", NEVER)


async def next_record_of_a_drained_partition(broker: Broker, prefetch_after: float | None) -> int:
    """How many of one record come within SHORT_MS, when another partition's record lay unpolled for a while."""
    topic = await broker.topic(partitions=2)
    for partition in (0, 1):
        await broker.send(topic, [b"first"], partition=partition)
    producer = await broker.producer()
    consumer = await broker.consumer(topic, group=topic, fetch_max_wait_ms=LONG_POLL_MS)
    if prefetch_after is not None:
        consumer._fetcher._prefetch_backoff = prefetch_after  # as Poll does
    (drained,) = await consumer.getmany(timeout_ms=10_000, max_records=1)
    await asyncio.sleep(0.4)  # as long as a handler works: beyond aiokafka's 0.1 s
    (other,) = await consumer.getmany(timeout_ms=10_000, max_records=1)
    assert drained != other
    await producer.send_and_wait(topic, b"second", partition=other.partition)
    return sum(map(len, (await consumer.getmany(timeout_ms=SHORT_MS)).values()))


async def test_aiokafka_leaves_a_partition_unasked_while_it_waits_for_the_others(broker: Broker) -> None:
    """The fault: when this fails after an upgrade, PREFETCH_AFTER can go."""
    assert await next_record_of_a_drained_partition(broker, None) == 0


async def test_with_our_setting_a_drained_partition_is_asked_at_once(broker: Broker) -> None:
    assert await next_record_of_a_drained_partition(broker, PREFETCH_AFTER) == 1


@asynccontextmanager
async def polled(
    broker: Broker, gather: Gathering | None, outstanding: Outstanding | None = None
) -> AsyncIterator[tuple[Poll, AIOKafkaConsumer, str]]:
    """Our poll over a consumer of one fresh topic."""
    topic = await broker.topic()
    suspension = Suspension("test", "test", {}, Health("test"))
    reach = Reach("test", topic, never_asked)
    guard = LogStartGuard({}, suspension, "test", never_asked)

    async def nothing_to_settle() -> None: ...

    poll = Poll(suspension, guard, reach, 250, settle=nothing_to_settle, gather=gather, outstanding=outstanding)
    yield poll, await broker.consumer(topic, group=topic), topic


async def at_once(broker: Broker, topic: str, count: int) -> None:
    """Publish in one batch, so that one fetch has all."""
    publisher = Publisher(broker.stack.kafka, client_id="test")
    await publisher.publish([Record(topic, None, b"x", ())] * count)
    await publisher.stop()


async def taken(poll: Poll, consumer: AIOKafkaConsumer) -> Batch:
    """The next batch that is not empty."""
    async with asyncio.timeout(NEVER / 2):
        while not (batch := await poll(consumer)):
            pass
    return batch


async def test_in_a_stream_of_documents_the_next_batch_has_what_came_meanwhile(broker: Broker) -> None:
    async with polled(broker, Gathering(8.0)) as (poll, consumer, topic):  # a busy broker took 2 s for two of them
        await at_once(broker, topic, STREAM.start)
        came = len(await taken(poll, consumer))
        producer = await broker.producer()
        next_batch = asyncio.create_task(taken(poll, consumer))
        for _ in range(STREAM.start):
            await producer.send_and_wait(topic, b"x")
            await asyncio.sleep(0.2)  # for two that come together, two answers of the broker might be enough
        assert came == STREAM.start
        assert len(await next_batch) == STREAM.start, "one by one, they came as one batch"


async def test_a_document_by_itself_and_a_full_batch_hold_nothing_up(broker: Broker) -> None:
    async with polled(broker, Gathering(NEVER)) as (poll, consumer, topic):
        for count in (1, STREAM.start - 1, STREAM.stop, 1):
            await at_once(broker, topic, count)
            batch = await taken(poll, consumer)
            assert len(batch) == count


async def test_where_nothing_gathers_the_next_poll_is_at_once(broker: Broker) -> None:
    async with polled(broker, None) as (poll, consumer, topic):
        for _ in range(3):
            await at_once(broker, topic, STREAM.start)
            assert await taken(poll, consumer)


async def test_after_a_long_batch_the_next_has_all_that_came_while_it_was_handled(broker: Broker) -> None:
    async with polled(broker, Gathering(NEVER)) as (poll, consumer, topic):
        await at_once(broker, topic, STREAM.stop)
        assert len(await taken(poll, consumer)) == STREAM.stop
        for _ in range(2):  # two answers of the broker: what was fetched ahead is one, what came after it another
            await at_once(broker, topic, STREAM.start)
            await asyncio.sleep(0.2)  # as long as a handler works
        assert len(await taken(poll, consumer)) == 2 * STREAM.start


async def test_the_last_documents_of_a_request_are_taken_as_soon_as_they_are_there(broker: Broker) -> None:
    outstanding = Outstanding()
    outstanding.came(shapes(3 * STREAM.start)[: STREAM.start])
    async with polled(broker, Gathering(NEVER), outstanding) as (poll, consumer, topic):
        await at_once(broker, topic, STREAM.start)
        assert len(await taken(poll, consumer)) == STREAM.start
        for _ in range(2):
            await at_once(broker, topic, STREAM.start)
        assert len(await taken(poll, consumer)) == 2 * STREAM.start
