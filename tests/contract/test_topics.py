"""aiokafka's admin raises no per-topic error: each code is read, and what stands on the broker is what is declared."""

from datetime import timedelta

import pytest
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import InvalidReplicationFactorError, for_code

from libs.bus.topics import TopicError, administration, create_topics, declared_shapes, topic_configs
from libs.contracts.topics import MAX_DEAD_LETTER_BYTES, TOPICS
from tests.contract.broker import Broker
from tests.support.bus import declared
from tests.support.waiting import eventually

OF_THE_TOPIC = 1
"""Kafka's ConfigSource of what was set on a topic itself."""


async def test_the_admin_only_returns_the_error_code_of_a_topic(broker: Broker) -> None:
    """The fault: replication 3 on one broker creates nothing and raises nothing."""
    async with administration(broker.stack.kafka) as admin:
        response = await admin.create_topics([NewTopic(broker.stack.unique_topic(), 1, 3)])
    assert for_code(response.topic_errors[0][1]) is InvalidReplicationFactorError


async def test_a_topic_that_cannot_be_created_is_an_error_that_names_it(broker: Broker) -> None:
    topic = declared(broker.stack.unique_topic())
    with pytest.raises(TopicError, match=topic.name):
        await create_topics(broker.stack.kafka, topics=[topic], replication=3)


async def test_every_declared_topic_and_its_dead_letter_are_created_once(broker: Broker) -> None:
    first = await create_topics(broker.stack.kafka)
    again = await create_topics(broker.stack.kafka)
    assert again == []
    async with administration(broker.stack.kafka) as admin:
        there = set(await admin.list_topics())
    every = {*TOPICS, *(topic.dead_letter for topic in TOPICS.values())}
    assert every <= there
    assert set(first) <= every, "tests that came before may have made some"


@pytest.mark.parametrize(
    "changed",
    [{"partitions": 3}, {"max_bytes": 1024}, {"retention": timedelta(hours=1)}, {"retention": None}],
    ids=lambda changed: next(iter(changed)),
)
async def test_a_topic_that_stands_with_other_settings_is_an_error(broker: Broker, changed: dict[str, int]) -> None:
    name = broker.stack.unique_topic()
    await create_topics(broker.stack.kafka, topics=[declared(name)])
    with pytest.raises(TopicError, match=name):
        await create_topics(broker.stack.kafka, topics=[declared(name, **changed)])


async def test_a_topic_is_made_with_what_it_asks_of_its_replicas_and_another_value_is_an_error(broker: Broker) -> None:
    topic = declared(broker.stack.unique_topic())
    await create_topics(broker.stack.kafka, topics=[topic])
    async with administration(broker.stack.kafka) as admin:

        async def made() -> bool:  # a broker answers from what its controller has told it
            described = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name)])
            ((_, _, _, _, entries, *_),) = described[0].resources
            own = [(value, source) for name, value, _, source, *_ in entries if name == "min.insync.replicas"]
            return own == [("1", OF_THE_TOPIC)]

        await eventually(made, "it is the topic's own, whatever its broker's default becomes")
        changed = {**declared_shapes([topic], 1)[topic.dead_letter].settings, "min.insync.replicas": "3"}
        (answer,) = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic.dead_letter, changed)])
        assert [(code, message) for code, message, *_ in answer.resources] == [(0, None)]

        async def altered() -> bool:
            found = await topic_configs(admin, [topic.dead_letter])
            return found[topic.dead_letter]["min.insync.replicas"] == "3"

        await eventually(altered, "it is another value")
    with pytest.raises(TopicError, match=f"{topic.dead_letter}: min.insync.replicas is 3, declared is 1"):
        await create_topics(broker.stack.kafka, topics=[topic])


async def test_a_dead_letter_of_the_largest_record_fits_its_topic(broker: Broker) -> None:
    topic = declared(broker.stack.unique_topic())
    await create_topics(broker.stack.kafka, topics=[topic])
    producer = await broker.producer(max_request_size=MAX_DEAD_LETTER_BYTES)
    await producer.send_and_wait(topic.dead_letter, bytes(MAX_DEAD_LETTER_BYTES - 1024))
