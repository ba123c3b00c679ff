"""Records as a broker returns them."""

from typing import Any

from aiokafka import ConsumerRecord

from libs.contracts.cloudevents import Record, encode
from libs.contracts.topics import Topic
from libs.runtime.clock import utc_now
from tests.support.bus import REQUEST, Step, declared

TOPIC = declared("gpki.test.v1")
OUTSIDE = declared("gpki.outside.v1", outsiders=True)
STAMP = 1_795_420_800_123


def step(document: str = "d", number: int = 0) -> Step:
    return Step(request_id=REQUEST, document=document, number=number)


def encoded(topic: Topic = TOPIC, event: Step | None = None) -> Record:
    return encode(topic, event or step(), source="test", time=utc_now())


def raw(record: Record, *, offset: int = 0, **changes: Any) -> "ConsumerRecord[bytes, bytes]":
    """The broker's record; `changes` are fields of aiokafka's."""
    fields: dict[str, Any] = {
        "topic": record.topic,
        "partition": 0,
        "offset": offset,
        "timestamp": STAMP,
        "timestamp_type": 1,
        "key": record.key,
        "value": record.value,
        "checksum": None,
        "serialized_key_size": 0,
        "serialized_value_size": 0,
        "headers": record.headers,
    }
    return ConsumerRecord(**(fields | changes))
