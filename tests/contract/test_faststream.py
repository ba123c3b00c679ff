"""What FastStream 0.7.8 does to a batch, and why libs/bus/subscriber.py is as it is."""

import asyncio
import json
from functools import partial
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage
from faststream.security import SASLScram256

from libs.bus.reach import Reach
from libs.bus.subscriber import POLL_MS, Batch, Poll, subscribe
from libs.bus.suspension import Suspension
from libs.runtime.health import Health
from tests.contract.broker import Broker, never_asked
from tests.support.bus import SESSION_MS, declared
from tests.support.waiting import eventually

BAD: dict[str, dict[str, Any]] = {
    "a header that is not UTF-8": {"headers": [("content-type", b"application/json"), ("x", b"\xff\xfe")]},
    "a body that is not JSON": {"headers": [("content-type", b"application/json")], "value": b"{not json"},
}


def host_of(broker: Broker) -> KafkaBroker:
    kafka = broker.stack.kafka
    security = SASLScram256(kafka.principal, kafka.password.get_secret_value())
    return KafkaBroker(kafka.bootstrap, security=security, allow_auto_create_topics=False, logger=None)


async def nine_with_a_bad_one(broker: Broker, bad: dict[str, Any]) -> str:
    topic = await broker.topic()
    producer = await broker.producer()
    for number in range(9):
        good = {"value": json.dumps({"n": number}).encode(), "headers": [("content-type", b"application/json")]}
        await producer.send_and_wait(topic, **(good | (bad if number == 4 else {})))
    return topic


@pytest.mark.parametrize("bad", BAD)
async def test_its_own_parser_loses_the_whole_batch_of_one_undecodable_record(broker: Broker, bad: str) -> None:
    """The fault: when this fails after an upgrade, our parser and decoder can go."""
    topic = await nine_with_a_bad_one(broker, BAD[bad])
    host = host_of(broker)
    seen: list[int] = []
    subscriber = host.subscriber(
        topic, batch=True, group_id=topic, auto_offset_reset="earliest", ack_policy=AckPolicy.MANUAL
    )

    @subscriber
    async def handle(message: KafkaMessage) -> None:
        seen.extend(record.offset for record in message.raw_message)
        last = message.raw_message[-1]
        consumer: Any = message.consumer
        await consumer.commit({TopicPartition(last.topic, last.partition): last.offset + 1})

    async with host:
        await host.start()

        async def passed() -> bool:
            assert subscriber.consumer is not None
            return bool(await subscriber.consumer.position(TopicPartition(topic, 0)) == 9)

        await eventually(passed, "the batch was read")
        assert seen == []
        await broker.send(topic, [b'{"n": 9}'])
        await eventually(lambda: seen, "the next record")
        await eventually(lambda: broker.committed(topic), "committed")
    assert seen == [9]
    assert await broker.committed(topic) == {TopicPartition(topic, 0): 10}  # and nine records are gone


def _has(seen: list[int], count: int) -> bool:
    return len(seen) == count


def ours(broker: Broker, topic: str, handle: Any) -> tuple[KafkaBroker, Any]:
    host = host_of(broker)
    subscriber = subscribe(
        host,
        [declared(topic)],
        group=topic,
        max_records=100,
        suspension=Suspension("test", "test", {}, Health("test")),
        reach=Reach("test", topic, never_asked),
        handle=handle,
        give_up=never_asked,
        settle_idle=never_asked,
        service="test",
        session_ms=SESSION_MS,
    )
    return host, subscriber


@pytest.mark.parametrize("bad", BAD)
async def test_with_our_parser_every_record_of_the_batch_arrives_as_it_was_sent(broker: Broker, bad: str) -> None:
    topic = await nine_with_a_bad_one(broker, BAD[bad])
    seen: list[int] = []

    async def handle(batch: Batch, _consumer: AIOKafkaConsumer) -> None:
        seen.extend(record.offset for record in batch)

    host, _ = ours(broker, topic, handle)
    async with host:
        await host.start()
        await eventually(lambda: len(seen) == 9, "all nine")
    assert seen == list(range(9))


async def test_manual_commits_nothing_by_itself(broker: Broker) -> None:
    topic = await broker.topic()
    await broker.send(topic, [b"x"] * 5)
    seen: list[int] = []

    async def handle(batch: Batch, _consumer: AIOKafkaConsumer) -> None:
        seen.extend(record.offset for record in batch)

    for times in (1, 2):  # the second time everything comes again
        host, _subscriber = ours(broker, topic, handle)
        async with host:
            await host.start()
            await eventually(partial(_has, seen, 5 * times), "read")
        assert await broker.committed(topic) == {TopicPartition(topic, 0): 0}, "where it began"
    assert seen == list(range(5)) * 2


async def test_a_handler_that_raises_neither_commits_nor_stops_the_subscriber(broker: Broker) -> None:
    topic = await broker.topic()
    await broker.send(topic, [b"x"])
    calls = 0

    async def handle(batch: Batch, consumer: AIOKafkaConsumer) -> None:
        nonlocal calls
        calls += 1
        consumer.seek(TopicPartition(topic, 0), batch[0].offset)
        raise ZeroDivisionError

    host, _ = ours(broker, topic, handle)
    async with host:
        await host.start()
        await eventually(lambda: calls > 2, "called again and again")
    assert await broker.committed(topic) == {TopicPartition(topic, 0): 0}, "where it began"


async def test_the_poll_is_ours_and_nothing_sleeps_after_an_empty_one(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FastStream's own get_msg sleeps `batch_timeout_ms` when nothing came: 10 ms of every hop."""
    topic = await broker.topic()
    slept: list[float] = []
    polls: list[tuple[AIOKafkaConsumer, dict[str, Any]]] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("faststream.kafka.subscriber.usecase.anyio.sleep", sleep)
    getmany = AIOKafkaConsumer.getmany

    async def watched(self: AIOKafkaConsumer, *partitions: TopicPartition, **options: Any) -> Any:
        polls.append((self, options))
        return await getmany(self, *partitions, **options)

    monkeypatch.setattr(AIOKafkaConsumer, "getmany", watched)
    arrived = asyncio.Event()

    async def handle(_batch: Batch, _consumer: AIOKafkaConsumer) -> None:
        arrived.set()

    host, subscriber = ours(broker, topic, handle)
    async with host:
        await host.start()
        assert isinstance(subscriber.get_msg, Poll)
        # Other consumers of this process (a session's client) poll as they like.
        await eventually(lambda: len([one for one, _ in polls if one is subscriber.consumer]) >= 3, "idle polls")
        mine = subscriber.consumer
        await broker.send(topic, [b"x"])
        await asyncio.wait_for(arrived.wait(), 10)
    assert slept == []
    assert all(options == {"timeout_ms": POLL_MS, "max_records": 100} for one, options in polls if one is mine)


async def test_a_fetch_that_raises_loses_nothing_of_other_partitions(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiokafka moves positions as it collects; what it had collected when it raised is not given to anybody."""
    topic = await broker.topic(partitions=2)
    for partition in (0, 1):
        await broker.send(topic, [b"x"] * 3, partition=partition)
    getmany = AIOKafkaConsumer.getmany
    raised: list[int] = []

    async def failing(self: AIOKafkaConsumer, *partitions: TopicPartition, **options: Any) -> Any:
        got = await getmany(self, *partitions, **options)
        if got and len(raised) < 2:
            raised.append(sum(map(len, got.values())))
            raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "as a hostile record would")
        return got

    monkeypatch.setattr(AIOKafkaConsumer, "getmany", failing)
    seen: list[tuple[int, int]] = []

    async def handle(batch: Batch, _consumer: AIOKafkaConsumer) -> None:
        seen.extend((record.partition, record.offset) for record in batch)

    host, _ = ours(broker, topic, handle)
    async with host:
        await host.start()
        await eventually(lambda: len(set(seen)) == 6, "all six")
    assert raised
