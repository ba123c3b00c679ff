"""Whatever somebody writes to a topic, the follower goes on."""

from types import SimpleNamespace

import pytest
from pydantic import SecretStr

from libs.contracts import topics
from libs.contracts.topics import Topic
from libs.runtime.clock import utc_now
from libs.runtime.kafka_access import KafkaAccess
from services.igfmas.chain import Chain
from services.igfmas.observation import Observation


@pytest.mark.parametrize("key", [None, b"poison", b"\xff\xfe"], ids=str)
@pytest.mark.parametrize(
    "topic", [topics.REQUESTED, topics.MEDIUM_RESOLVED, topics.SIGNED, topics.USER], ids=lambda topic: topic.name
)
async def test_a_record_that_is_no_event_of_its_topic_is_passed_over(topic: Topic, key: bytes | None) -> None:
    nobody = KafkaAccess("127.0.0.1:1", "nobody", SecretStr("x"))
    chain = Chain(nobody, nobody, Observation(), utc_now)
    try:
        for value in (b"\xff\xfe no event", b"{}", b""):
            chain._take(SimpleNamespace(topic=topic.name, key=key, value=value, timestamp=1))
    finally:
        await chain._close()
    assert (chain.observation.requests, chain.observation.strangers, chain.users) == ({}, [], {})
