"""aiokafka's stop of a consumer whose last fetch has failed, and of one that is still starting."""

import asyncio
import gc
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.conn import AIOKafkaConnection
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from libs.bus import stopping
from tests.contract.broker import Broker
from tests.support.waiting import every_task_ends


async def topic_with_a_leader(broker: Broker) -> str:
    """A consumer that finds no leader yet rests before it fetches, and not after."""
    topic = await broker.topic()
    await broker.send(topic, [b"x"])
    return topic


async def resting_after_a_failed_fetch(broker: Broker, topic: str) -> AIOKafkaConsumer:
    consumer = AIOKafkaConsumer(**broker.stack.kafka.options(), retry_backoff_ms=60_000)
    await consumer.start()
    failed = asyncio.Event()

    async def failing(*_: Any, **__: Any) -> None:
        failed.set()
        raise KafkaConnectionError

    consumer.assign([TopicPartition(topic, 0)])
    await consumer.seek_to_end()
    await consumer.position(TopicPartition(topic, 0))  # so that what fails is a fetch, and not the question before it
    consumer._client.send = failing
    await failed.wait()
    await asyncio.sleep(0)  # from the failure to the rest that follows it
    return consumer


async def test_aiokafkas_own_stop_cancels_its_caller(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault, open upstream (aiokafka issue 647)."""
    topic = await topic_with_a_leader(broker)
    monkeypatch.setattr(Fetcher, "close", stopping._close)
    consumer = await resting_after_a_failed_fetch(broker, topic)
    with pytest.raises(asyncio.CancelledError):
        await consumer.stop()
    await consumer._client.close()


async def test_a_stop_after_a_failed_fetch_cancels_nobody_and_leaves_nothing_open(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Fetcher, "close", Fetcher.close)
    stopping.install()
    topic = await topic_with_a_leader(broker)
    async with every_task_ends():
        consumer = await resting_after_a_failed_fetch(broker, topic)
        await consumer.stop()


async def cancelled_while_it_asks_for_metadata(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> asyncio.Transport:
    """Start a consumer, cancel that, stop it; returns what the start was connected by."""
    send = AIOKafkaConnection.send
    transports: list[asyncio.Transport] = []

    def sending(connection: AIOKafkaConnection, request: Any, **options: Any) -> Any:
        if isinstance(request, MetadataRequest):
            transports.append(connection._writer.transport)
            starting.cancel()
        return send(connection, request, **options)

    with monkeypatch.context() as patch:
        patch.setattr(AIOKafkaConnection, "send", sending)
        consumer = AIOKafkaConsumer(**broker.stack.kafka.options())
        starting = asyncio.create_task(consumer.start())
        await asyncio.wait({starting})
    assert starting.cancelled()
    await consumer.stop()
    (transport,) = transports
    return transport


@pytest.mark.filterwarnings("default")  # raised where nobody can catch it
async def test_aiokafkas_own_cancelled_start_forgets_its_connection(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    """The fault."""
    monkeypatch.setattr(AIOKafkaConnection, "__del__", stopping._forgotten)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)
    try:
        await cancelled_while_it_asks_for_metadata(broker, monkeypatch)
        gc.collect()
    finally:
        loop.set_exception_handler(None)
    assert "Unclosed AIOKafkaConnection" in "".join(str(one.message) for one in recwarn)


async def test_a_cancelled_start_leaves_nothing_open(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    stopping.install()
    transport = await cancelled_while_it_asks_for_metadata(broker, monkeypatch)
    gc.collect()
    assert transport.is_closing()
