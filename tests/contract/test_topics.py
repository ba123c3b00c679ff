"""aiokafka's admin raises no per-topic error: each code is read, and what stands on the broker is what is declared."""

from datetime import timedelta

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import InvalidReplicationFactorError, for_code

from libs.bus.topics import TopicError, create_topics
from libs.contracts.topics import MAX_DEAD_LETTER_BYTES, TOPICS
from tests.contract.broker import Broker
from tests.support.bus import declared


async def test_the_admin_only_returns_the_error_code_of_a_topic(broker: Broker) -> None:
    """The fault: replication 3 on one broker creates nothing and raises nothing."""
    admin = AIOKafkaAdminClient(**broker.stack.kafka.options())
    await admin.start()
    response = await admin.create_topics([NewTopic(broker.stack.unique_topic(), 1, 3)])
    await admin.close()
    assert for_code(response.topic_errors[0][1]) is InvalidReplicationFactorError


async def test_a_topic_that_cannot_be_created_is_an_error_that_names_it(broker: Broker) -> None:
    topic = declared(broker.stack.unique_topic())
    with pytest.raises(TopicError, match=topic.name):
        await create_topics(broker.stack.kafka, topics=[topic], replication=3)


async def test_every_declared_topic_and_its_dead_letter_are_created_once(broker: Broker) -> None:
    first = await create_topics(broker.stack.kafka)
    again = await create_topics(broker.stack.kafka)
    assert again == []
    admin = AIOKafkaAdminClient(**broker.stack.kafka.options())
    await admin.start()
    there = set(await admin.list_topics())
    await admin.close()
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


async def test_a_dead_letter_of_the_largest_record_fits_its_topic(broker: Broker) -> None:
    topic = declared(broker.stack.unique_topic())
    await create_topics(broker.stack.kafka, topics=[topic])
    producer = await broker.producer(max_request_size=MAX_DEAD_LETTER_BYTES)
    await producer.send_and_wait(topic.dead_letter, bytes(MAX_DEAD_LETTER_BYTES - 1024))
