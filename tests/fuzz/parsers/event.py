"""Events: a topic's name on the first line, then a record's value, with the key that fits; or `headers`, then those."""

import json
from collections.abc import Iterable
from datetime import datetime
from random import Random
from uuid import UUID

from aiokafka import ConsumerRecord
from pydantic import ValidationError

from libs.bus.delivery import Delivery, Undecodable, decode
from libs.contracts import topics
from libs.contracts.cancelling import CancelRequested
from libs.contracts.cloudevents import Headers, Record, encode, event_type
from libs.contracts.topics import TOPICS, Topic
from libs.crypto.jcs import StrictJsonError, loads_strict
from tests.fuzz.mutating import mutate_bytes, mutate_json
from tests.fuzz.target import Target
from tests.support.pki import EPOCH

_HEADERS = "headers"
_STAMP = round(EPOCH.timestamp() * 1000)
_LONGEST_WHY = 1000
_CANCEL = CancelRequested(request_id=UUID(int=1), cancellation=UUID(int=2), caller="igfmas", user="800101145566")


def accepts(data: bytes) -> bool:
    """Whether it is an event; what is none is told in a line, and what is one is the same when it is written again."""
    name, _, rest = data.partition(b"\n")
    if name.decode("utf-8", "replace") == _HEADERS:
        topic = topics.CANCEL_REQUESTED
        record = Record(topic.name, _CANCEL.key.encode(), _CANCEL.model_dump_json().encode(), _headers(rest))
    else:
        topic = TOPICS.get(name.decode("utf-8", "replace"), topics.REQUESTED)
        record = Record(topic.name, _key(topic, rest), rest, _good_headers(topic))
    decoded = decode(topic, _raw(record), _whoever)
    if isinstance(decoded, Undecodable):
        assert decoded.why
        assert len(decoded.why) < _LONGEST_WHY
        return False
    assert isinstance(decoded, Delivery)
    assert topic.event.model_validate_json(decoded.event.model_dump_json()) == decoded.event
    return True


def _whoever(_topic: Topic, _record: Record, _at: datetime) -> str | None:
    """What its producer signed is under test: what nobody signed is not read."""
    return None


def _key(topic: Topic, value: bytes) -> bytes | None:
    """That of the event, if this is one: what is under test comes after it."""
    try:
        return topic.event.model_validate_json(json.dumps(loads_strict(value))).key.encode()
    except (StrictJsonError, ValidationError, ValueError):
        return None


def _good_headers(topic: Topic) -> Headers:
    headers = dict(encode(topics.CANCEL_REQUESTED, _CANCEL, source="test", time=EPOCH).headers)
    return tuple((headers | {"ce_type": event_type(topic.name).encode()}).items())


def _headers(data: bytes) -> Headers:
    """Lines of `name: value`, as aiokafka gives them: a name is text, whatever the bytes were."""
    pairs = (line.partition(b": ") for line in data.split(b"\n"))
    return tuple((name.decode("utf-8", "backslashreplace"), value) for name, _, value in pairs)


def _raw(record: Record) -> "ConsumerRecord[bytes, bytes]":
    return ConsumerRecord(
        record.topic, 0, 7, _STAMP, 1, record.key, record.value, None, 0, len(record.value), record.headers
    )


def _mutate(data: bytes, random: Random) -> bytes:
    name, _, rest = data.partition(b"\n")
    if random.random() < 0.03:
        name = random.choice(list(TOPICS)).encode()
    return name + b"\n" + (mutate_bytes if name == _HEADERS.encode() else mutate_json)(rest, random)


def seeds() -> Iterable[bytes]:
    """One event of each topic, and the headers of one."""
    from tests.fuzz.parsers.samples import sample  # noqa: PLC0415 (hypothesis: not in the instrumented process)

    for name, topic in sorted(TOPICS.items()):
        yield name.encode() + b"\n" + json.dumps(sample(topic)).encode()
    lines = (name.encode() + b": " + value for name, value in _good_headers(topics.CANCEL_REQUESTED))
    yield b"\n".join((_HEADERS.encode(), *lines))


TARGET = Target("event", accepts, seeds, _mutate, max_size=16 * 1024)
