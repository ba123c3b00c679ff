"""CloudEvents 1.0 in Kafka's binary content mode: `ce_*` headers, the event's JSON as the value."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from uuid import UUID

from libs.contracts.base import Event
from libs.contracts.ids import event_id_of
from libs.contracts.topics import Topic

Headers = tuple[tuple[str, bytes], ...]

_SPECVERSION = ("ce_specversion", b"1.0")
_CONTENT_TYPE = ("content-type", b"application/json")
_TRACEPARENT = re.compile(r"^00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$")


_KNOWN = frozenset(
    {"ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "ce_subject", "content-type", "traceparent"}
)
"""What an error may name: any other name is the sender's own text."""


_CONTEXT = frozenset({"content-type", "traceparent"})


class EnvelopeError(ValueError):
    """The record's headers are not those of a CloudEvent of this topic; the message names the header."""


@dataclass(frozen=True)
class Envelope:
    """The context attributes that we use. `traceparent` is W3C Trace Context, empty when the producer gave none."""

    id: str
    type: str
    source: str
    traceparent: str = ""


@dataclass(frozen=True)
class Record:
    """A record as it goes to, or came from, the broker."""

    topic: str
    key: bytes | None
    value: bytes
    headers: Headers


def size(record: Record) -> int:
    """The bytes that a record takes on the wire, at most; without the broker's framing of a batch."""
    key = len(record.key) if record.key else 0
    total = len(record.value) + key + 32
    for name, value in record.headers:
        total += 4 * len(name) + len(value) + 10
    return total


def event_id(topic: Topic, event: Event) -> UUID:
    """The deterministic id of an event."""
    return event_id_of(event_type(topic.name), *event.uniqueness)


def encode(topic: Topic, event: Event, *, source: str, time: datetime, trace: str = "") -> Record:
    """The record of an event.

    Args:
        topic: its name is the `ce_type`, except that the bulk lane carries the same type as the interactive one.
        event: the data; it gives the key and the id.
        source: the producing service.
        time: when it was produced.
        trace: the `traceparent` of what caused it, or empty; the trace goes on under this event's own span.

    """
    return encode_with_id(topic, event, source=source, time=time, trace=trace)[1]


def encode_with_id(topic: Topic, event: Event, *, source: str, time: datetime, trace: str = "") -> tuple[UUID, Record]:
    """`event_id` and `encode` in one: the id is made once."""
    identifier, key = event_id(topic, event), event.key.encode()
    digits = identifier.hex
    match = _TRACEPARENT.match(trace) if trace else None
    headers = (
        _SPECVERSION,
        ("ce_id", str(identifier).encode()),
        *_constant_headers(topic.name, source),
        ("ce_time", time.isoformat().encode()),
        ("ce_subject", key),
        _CONTENT_TYPE,
        ("traceparent", f"00-{match[1] if match else digits}-{digits[:16]}-01".encode()),
    )
    return identifier, Record(topic.name, key, event.model_dump_json().encode(), headers)


@lru_cache(maxsize=256)
def _constant_headers(topic: str, source: str) -> Headers:
    """What every record of a service on a topic says; both are names of ours, so there are few."""
    return ("ce_source", f"/gpki/{source}".encode()), ("ce_type", event_type(topic).encode())


@lru_cache(maxsize=256)
def event_type(topic: str) -> str:
    """The `ce_type` of a topic's events."""
    return topic.replace("-bulk.", ".")


def envelope_of(topic: str, headers: Iterable[tuple[str, bytes | None]]) -> Envelope:
    """Read the context attributes. Raises EnvelopeError; never echoes a value."""
    values: dict[str, str] = {}
    for name, value in headers:
        if name[:3] != "ce_" and name not in _CONTEXT:
            continue
        if name in values:
            raise EnvelopeError(f"header {name if name in _KNOWN else 'ce_…'} stands twice")
        try:
            values[name] = str(value or b"", "utf-8")
        except UnicodeDecodeError:
            raise EnvelopeError(f"header {name if name in _KNOWN else 'ce_…'} is not UTF-8") from None
    if values.get("ce_specversion") != "1.0":
        raise EnvelopeError("header ce_specversion is not 1.0")
    if values.get("ce_type") != event_type(topic):
        raise EnvelopeError("header ce_type is not the type of this topic")
    if not 1 <= len(values.get("ce_id", "")) <= 200:
        raise EnvelopeError("header ce_id is missing or too long")
    if not values.get("ce_source"):
        raise EnvelopeError("header ce_source is missing")
    return Envelope(values["ce_id"], values["ce_type"], values["ce_source"], values.get("traceparent", ""))
