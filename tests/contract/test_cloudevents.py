"""The CloudEvents project's own SDK reads our records as the events that they are."""

from datetime import UTC, datetime

from cloudevents.core.bindings.kafka import KafkaMessage, from_binary, to_binary
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from libs.contracts import topics
from libs.contracts.cloudevents import encode, envelope_of, event_id
from tests.contract.broker import Broker, drain
from tests.support.bus import open_room
from tests.support.stack import Stack

NOW = datetime(2026, 11, 23, 8, 0, 0, 123456, tzinfo=UTC)


async def test_the_official_sdk_reads_what_the_broker_returns_and_finds_every_attribute(
    broker: Broker, stack: Stack
) -> None:
    async with open_room(stack) as room:
        topic = await room.topic()
        event = room.event("d-1", 7)
        record = encode(topic, event, source="posting", time=NOW)
        await room.send(topic, [record])
        (got,) = await drain(await broker.consumer(topic.name), 1)
    names = [name for name, _ in got.headers]
    assert len(names) == len(set(names))
    judged = from_binary(KafkaMessage(dict(got.headers), got.key, got.value), JSONFormat())
    assert judged.get_specversion() == "1.0"
    assert judged.get_id() == str(event_id(topic, event))
    assert judged.get_source() == "/gpki/posting"
    assert judged.get_type() == topic.name
    assert judged.get_subject() == "d-1"
    assert judged.get_time() == NOW
    assert judged.get_datacontenttype() == "application/json"
    assert judged.get_data() == event.model_dump(mode="json")


def test_a_record_of_the_official_sdk_is_one_of_ours() -> None:
    """A foreign producer needs nothing but the SDK."""
    attributes = {
        "id": "b7f4c1f2",
        "source": "/igfmas",
        "type": topics.REQUESTED.name,
        "time": NOW,
        "specversion": "1.0",
        "datacontenttype": "application/json",
    }
    message = to_binary(CloudEvent(attributes=attributes, data={"a": 1}), JSONFormat())
    envelope = envelope_of(topics.REQUESTED.name, tuple(message.headers.items()))
    assert (envelope.id, envelope.source) == ("b7f4c1f2", "/igfmas")
