"""What a client does that no broker tells where its topics are."""

import asyncio
from collections.abc import Collection

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.cluster import ClusterMetadata
from aiokafka.structs import BrokerMetadata

from libs.bus import connecting
from tests.contract.broker import Broker
from tests.support.waiting import eventually


@pytest.mark.stack
async def test_who_was_told_of_one_broker_alone_and_lost_it_asks_those_it_was_given(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault: it asks that one for ever. A broker that has just started tells of itself alone."""
    connecting.install()
    client = AIOKafkaClient(**broker.stack.kafka.options())
    await client.bootstrap()
    there = client.cluster.brokers()
    try:
        monkeypatch.setattr(client.cluster, "_brokers", {99: BrokerMetadata(99, "127.0.0.1", 1, None)})
        with monkeypatch.context() as bare:
            bare.setattr(AIOKafkaClient, "_metadata_update", connecting._metadata_update)
            assert not await client._metadata_update(client.cluster, None)
        await eventually(client.force_metadata_update, "what the brokers tell")
        assert client.cluster.brokers() == there
    finally:
        await client.close()


@pytest.mark.stack
@pytest.mark.parametrize("up", ["bare", "defended"])
async def test_what_no_broker_told_is_asked_again(broker: Broker, monkeypatch: pytest.MonkeyPatch, up: str) -> None:
    """The fault: not before five minutes are over, and a group that is joined meanwhile gives its members nothing."""
    connecting.install()
    topic, real, answers = await broker.topic(), connecting._metadata_update, asyncio.Event()

    async def told(client: AIOKafkaClient, cluster: ClusterMetadata, topics: Collection[str] | None) -> bool:
        return (answers.is_set() or topic not in (topics or ())) and bool(await real(client, cluster, topics))

    owner = AIOKafkaClient if up == "bare" else connecting
    monkeypatch.setattr(owner, "_metadata_update", told)
    consumer = await broker.consumer(group=topic)
    consumer.subscribe([topic])
    await eventually(lambda: consumer._subscription.subscription.assignment is not None, "the group's answer")
    assert consumer.assignment() == set()
    answers.set()
    if up == "bare":
        assert consumer._client._md_update_fut is None, "nobody asks"
        await consumer._client.force_metadata_update()
    await eventually(consumer.assignment, "assigned", seconds=10)


async def test_whatever_an_update_fails_with_it_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """aiokafka's task would end of it, and whoever waits for it stand for ever."""
    connecting.install()

    async def fails(*_: object) -> bool:
        raise KeyError("nobody expects it")

    asked = asyncio.Event()
    client = AIOKafkaClient(bootstrap_servers="there:1")
    monkeypatch.setattr(connecting, "_metadata_update", fails)
    monkeypatch.setattr(connecting, "ASK_AGAIN", 0.0)
    monkeypatch.setattr(client, "force_metadata_update", asked.set)
    assert not await client._metadata_update(client.cluster, ["topic"])
    async with asyncio.timeout(10):
        await asked.wait()
