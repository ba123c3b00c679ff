"""From a broker's record to a delivery: decoded, or known to be undecodable; this cannot raise."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Generic, NamedTuple, TypeVar
from uuid import UUID

from aiokafka import ConsumerRecord
from pydantic import ValidationError

from libs.contracts.base import UNKNOWN_NAME, Event
from libs.contracts.cloudevents import Envelope, EnvelopeError, Record, envelope_of
from libs.contracts.ids import event_id_of
from libs.contracts.topics import Topic
from libs.crypto.jcs import StrictJsonError, loads_strict
from libs.storage.ledger import Due

E_co = TypeVar("E_co", bound=Event, covariant=True)

Judge = Callable[[Topic, Record, datetime], str | None]
"""Why a record is not its producer's, None when it is; the time is when the broker took it. Raises nothing."""

_LOG_APPEND_TIME = 1
"""The record's timestamp is the broker's; any other is the producer's claim."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def nobody(topic: Topic, record: Record, appended_at: datetime) -> str | None:
    """The judge of who knows no producers: no record of theirs is believed."""
    del topic, record, appended_at
    return "producer signature: nobody here can judge it"


class Coordinates(NamedTuple):
    """Where a record lies: what a dead letter and a log line name.

    `stamp` is its append time in milliseconds: offsets come again when a topic was made anew, this does not.
    """

    topic: str
    partition: int
    offset: int
    stamp: int = 0

    @property
    def id(self) -> UUID:
        """An id for a record that has no better one."""
        return event_id_of("coordinates", self.topic, self.partition, self.offset, self.stamp)


@dataclass(frozen=True)
class Delivery(Generic[E_co]):
    """A decoded record.

    `id` and `content_hash` recognise a repeat. `appended_at` is the broker's time. `parked` holds the due row when
    this record waited, or is a timer.
    """

    id: UUID
    content_hash: bytes
    topic: Topic
    event: E_co
    envelope: Envelope
    record: Record
    appended_at: datetime
    coordinates: Coordinates
    parked: Due | None = None

    @property
    def request_id(self) -> UUID | None:
        """The request this belongs to, if its event names one."""
        return getattr(self.event, "request_id", None)

    @property
    def cause(self) -> UUID:
        """What its outcomes are recorded under: a timer has an id of its own each time it is set, its row stays."""
        return self.parked.id if self.parked else self.id

    @property
    def is_timer(self) -> bool:
        """Whether this never was a record on a topic."""
        return self.parked is not None and self.parked.is_timer


@dataclass(frozen=True)
class Undecodable:
    """A record that is no event of its topic; `why` names what is wrong, never a value."""

    coordinates: Coordinates
    topic: Topic
    record: Record
    appended_at: datetime
    why: str
    parked: Due | None = None
    forged: bool = False
    """Whether it is not shown to be its producer's. It says nothing of those who may write the topic."""

    @property
    def cause(self) -> UUID:
        """What its dead letter is recorded under."""
        return self.coordinates.id


def coordinates_of(raw: ConsumerRecord[bytes, bytes]) -> Coordinates:
    """Where a broker's record lies."""
    return Coordinates(raw.topic, raw.partition, raw.offset, raw.timestamp)


def record_of(raw: ConsumerRecord[bytes, bytes]) -> Record:
    """A broker's record as we keep it."""
    headers = tuple([h if h[1] is not None else (h[0], b"") for h in raw.headers])
    return Record(raw.topic, raw.key, raw.value or b"", headers)


def decode(topic: Topic, raw: ConsumerRecord[bytes, bytes], judge: Judge = nobody) -> Delivery[Event] | Undecodable:
    """Decode a broker's record of this topic that its producer signed; every failure is an answer."""
    record = record_of(raw)
    if raw.timestamp_type != _LOG_APPEND_TIME:
        # What is "in time" would be the producer's word.
        return Undecodable(coordinates_of(raw), topic, record, _EPOCH, "the timestamp is not the broker's")
    appended_at = datetime.fromtimestamp(raw.timestamp / 1000, UTC)
    if topic.producers and (why := judge(topic, record, appended_at)):
        return Undecodable(coordinates_of(raw), topic, record, appended_at, why, forged=True)
    return _guarded(topic, record, appended_at, coordinates_of(raw), None)


def delivery_id(topic: Topic, ce_id: str) -> UUID:
    """Under which id an inbox has what came with this `ce_id`, unless the event's content says its own (`identity`)."""
    return event_id_of(topic.name, ce_id)


def decode_parked(topic: Topic, due: Due, judge: Judge = nobody) -> Delivery[Event] | Undecodable:
    """Decode a record that waited, under the id and content hash of its first coming, or a timer.

    Its signature is checked again: what waited lay in a table.
    """
    if due.partition is None or due.offset is None:
        coordinates = Coordinates(topic.name, 0, due.id.int)
    else:
        stamp = round(due.appended_at.timestamp() * 1000)
        coordinates = Coordinates(topic.name, due.partition, due.offset, stamp)
    if topic.producers and (why := judge(topic, due.record, due.appended_at)):
        return Undecodable(coordinates, topic, due.record, due.appended_at, why, due, forged=True)
    return _guarded(topic, due.record, due.appended_at, coordinates, due)


def _guarded(
    topic: Topic, record: Record, appended_at: datetime, coordinates: Coordinates, due: Due | None
) -> Delivery[Event] | Undecodable:
    try:
        envelope = envelope_of(topic.name, record.headers)
        event = _event(topic, record.value)
        if record.key == event.key.encode():
            identity = _identity(topic, event, envelope, record) if due is None else _waited(due)
            return Delivery(identity[0], identity[1], topic, event, envelope, record, appended_at, coordinates, due)
        why = "the key is not this event's key"
    except EnvelopeError as error:
        why = str(error)
    except ValidationError as error:
        why = "; ".join(f"{_place(e)}: {e['type']}" for e in error.errors(include_input=False)[:5])
    except StrictJsonError as error:
        why = str(error)
    except Exception as error:  # noqa: BLE001 (hostile bytes meet every property of an event here: none may stop the loop)
        why = f"the content has no identity: {type(error).__name__}"
    return Undecodable(coordinates, topic, record, appended_at, why, due)


def _identity(topic: Topic, event: Event, envelope: Envelope, record: Record) -> tuple[UUID, bytes]:
    return event.identity() or (delivery_id(topic, envelope.id), sha256(record.value).digest())


def _waited(due: Due) -> tuple[UUID, bytes]:
    # A timer that is set again is another firing; one that is only claimed again is the same.
    return (event_id_of("timer", due.id, due.at.isoformat()) if due.is_timer else due.id), due.content_hash


def _event(topic: Topic, value: bytes) -> Event:
    if topic.outsiders:
        return topic.event.model_validate(loads_strict(value))
    return topic.event.model_validate_json(value)


def _place(error: object) -> str:
    # Names of ours only: a dictionary's key, and the name that is forbidden, are the sender's.
    location, kind = error["loc"], error["type"]  # type: ignore[index] # pydantic_core's ErrorDetails
    return ".".join(str(part) for part in (location[:-1] if kind in UNKNOWN_NAME else location)[:2])
