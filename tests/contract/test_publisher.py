"""The idempotent producer, and the one that replaces it when its broker is gone."""

import asyncio
from dataclasses import replace

import pytest
from aiokafka.producer.sender import Sender

from libs.bus import publisher as publisher_module
from libs.bus.outcomes import Unavailable
from libs.bus.publisher import Publisher
from libs.contracts.cloudevents import Record
from tests.contract.broker import Broker, drain
from tests.support.waiting import every_task_ends


def records(topic: str, start: int, count: int) -> list[Record]:
    return [Record(topic, b"key", str(n).encode(), (("n", b"1"),)) for n in range(start, start + count)]


async def test_records_of_a_key_arrive_in_the_order_of_one_publish(broker: Broker) -> None:
    topic = await broker.topic(partitions=4)
    publisher = Publisher(broker.stack.kafka, client_id="test")
    await publisher.publish(records(topic, 0, 500))
    await publisher.stop()
    got = await drain(await broker.consumer(topic), 500)
    assert [int(record.value) for record in got] == list(range(500))


@pytest.mark.timeout(120)
async def test_a_publisher_survives_a_broker_that_was_killed_and_what_it_acknowledged_is_there(broker: Broker) -> None:
    topic = await broker.topic()
    publisher = Publisher(broker.stack.kafka, client_id="test")
    await publisher.publish(records(topic, 0, 10))
    restarting = asyncio.create_task(broker.stack.killed_and_back("kafka"))
    acknowledged, unavailable = 10, 0
    while acknowledged < 400 or not restarting.done():
        try:
            await publisher.publish(records(topic, acknowledged, 10))
            acknowledged += 10
        except Unavailable:
            unavailable += 1
    await restarting
    await publisher.probe()
    await publisher.stop()
    got = [int(record.value) for record in await drain(await broker.consumer(topic), acknowledged)]
    assert set(got) == set(range(acknowledged))
    assert len(got) - acknowledged <= 10 * unavailable  # an idempotent producer repeats nothing by itself


@pytest.mark.timeout(120)
async def test_while_the_broker_is_away_publishing_fails_in_bounded_time_and_leaves_no_producer_behind(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = await broker.topic()
    publisher = Publisher(broker.stack.kafka, client_id="test")
    async with every_task_ends():
        await publisher.publish(records(topic, 0, 1))
        monkeypatch.setattr(publisher_module, "PUBLISH_TIMEOUT", 1.0)
        broker.stack.kill("kafka", 19)  # SIGSTOP: it takes connections and answers nothing
        try:
            with pytest.raises(Unavailable):
                await asyncio.wait_for(publisher.publish(records(topic, 1, 5)), 10)
        finally:
            broker.stack.kill("kafka", 18)
        monkeypatch.undo()
    await publisher.publish(records(topic, 1, 5))
    await publisher.stop()
    got = await drain(await broker.consumer(topic), 6)
    assert {int(record.value) for record in got} == set(range(6))


async def test_a_broker_that_gives_no_producer_id_is_unavailable_and_asked_again(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiokafka asks for it until it has one."""
    topic = await broker.topic()
    publisher = Publisher(broker.stack.kafka, client_id="test")
    with monkeypatch.context() as patch:
        patch.setattr(publisher_module, "PUBLISH_TIMEOUT", 0.5)
        patch.setattr(Sender, "_maybe_wait_for_pid", lambda _: asyncio.Event().wait())
        with pytest.raises(Unavailable):
            await asyncio.wait_for(publisher.probe(), 5)
        with pytest.raises(Unavailable):
            await asyncio.wait_for(publisher.publish(records(topic, 0, 1)), 5)
    await publisher.publish(records(topic, 1, 1))
    await publisher.stop()
    (got,) = await drain(await broker.consumer(topic), 1)
    assert got.value == b"1"


async def test_no_broker_is_unavailable(broker: Broker) -> None:
    with pytest.raises(Unavailable):
        await Publisher(replace(broker.stack.kafka, bootstrap="127.0.0.1:1"), client_id="test").start()
