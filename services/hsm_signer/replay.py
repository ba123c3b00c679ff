"""What Kafka tells of the time since a backup, and of the day before it: read whole, or the backup is not restored."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from aiokafka import AIOKafkaConsumer, TopicPartition

from libs.bus.delivery import Delivery, Judge, Undecodable, decode
from libs.bus.reader import partitions_of
from libs.contracts import topics
from libs.contracts.base import Event
from libs.contracts.custody import COUNTED, OF_THE_DAY, SAID
from libs.contracts.pin import PinAnswered
from libs.contracts.progress import Progressed
from libs.contracts.reasons import Reason
from libs.contracts.signing import AuthorisationFailed, Completed, MediumResolved
from libs.contracts.state import Key
from libs.contracts.topics import Topic
from libs.runtime.kafka_access import KafkaAccess
from services.hsm_signer import limits
from services.hsm_signer.backup_file import Backup
from services.hsm_signer.reading import between, topic_reader


class CannotTell(Exception):
    """Kafka does not have all that happened since the backup; says of what it does not."""


@dataclass
class Told:
    """What happened. Of the last seconds before the backup it is not known what was in it: that counts as since."""

    requests: dict[UUID, MediumResolved] = field(default_factory=dict)
    completed: set[UUID] = field(default_factory=set)
    signed: dict[UUID, set[str]] = field(default_factory=lambda: defaultdict(set))
    wrong_pins: Counter[UUID] = field(default_factory=Counter)
    locked: set[UUID] = field(default_factory=set)
    changed: set[UUID] = field(default_factory=set)
    wrong_codes: list[tuple[UUID, str, UUID, datetime]] = field(default_factory=list)
    unlocks: list[tuple[UUID, UUID]] = field(default_factory=list)
    sealing_keys: dict[str, Key] = field(default_factory=dict)
    of_nobody: int = 0
    """Wrong PINs of which it is not told whose they were."""
    ends: dict[TopicPartition, int] = field(default_factory=dict)


async def replay(kafka: KafkaAccess, judge: Judge, backup: Backup, *, group: str, extra: Sequence[Topic] = ()) -> Told:
    """Read it. `extra` is what only its ends are wanted of. Raises CannotTell, KafkaError."""
    known = {TopicPartition(place.topic, place.partition): place.next_offset for place in backup.history}
    read = (*OF_THE_DAY, *COUNTED, topics.KEYS)
    told = Told()
    async with topic_reader(kafka, group, {*read, *SAID, *extra}) as consumer:
        everything = partitions_of({*read, *SAID, *extra})
        told.ends = await consumer.end_offsets(everything)
        begins = await consumer.beginning_offsets(everything)
        for place in partitions_of(COUNTED):
            if place not in known or not begins[place] <= known[place] <= told.ends[place]:
                raise CannotTell(f"{place.topic} {place.partition} does not have all since the backup")
        starts = await _starts(consumer, backup.made_at - limits.DAY, begins, told.ends)
        by_name = {topic.name: topic for topic in read}
        # Whose request it was is asked of what comes next: requests first.
        for together in (OF_THE_DAY, (*COUNTED, topics.KEYS)):
            spans = {place: (starts[place], told.ends[place]) for place in partitions_of(together)}
            async for batch in between(consumer, spans):
                for raw in batch:
                    found = decode(by_name[raw.topic], raw, judge)
                    if not isinstance(found, Undecodable):
                        since = raw.offset >= known.get(TopicPartition(raw.topic, raw.partition), 0)
                        _take(told, found, since=since)
    return told


async def _starts(
    consumer: AIOKafkaConsumer,
    since: datetime,
    begins: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
) -> dict[TopicPartition, int]:
    """Where the day before the backup begins, of sealing keys their first."""
    timed = partitions_of((*OF_THE_DAY, *COUNTED))
    found = await consumer.offsets_for_times(dict.fromkeys(timed, round(since.timestamp() * 1000)))
    starts = {place: ends[place] if (first := found[place]) is None else first.offset for place in timed}
    return starts | {place: begins[place] for place in partitions_of([topics.KEYS])}


def _take(told: Told, delivery: Delivery[Event], *, since: bool) -> None:
    match delivery.event:
        case MediumResolved() as event if event.medium == "roaming-otp":
            told.requests[event.request_id] = event
        case Completed(request_id=request):
            told.completed.add(request)
        case Progressed(request_id=request, stage="signed", documents=documents):
            told.signed[request].update(documents)
        case AuthorisationFailed() as event:
            _take_failure(told, event, delivery.appended_at, since=since)
        case PinAnswered() as event:
            _take_answer(told, event, since=since)
        case Key(purpose="sealing") as key:
            before = told.sealing_keys.get(key.key_id)
            if before is None or before.version < key.version:
                told.sealing_keys[key.key_id] = key
        case _:
            pass


def _take_failure(told: Told, event: AuthorisationFailed, at: datetime, *, since: bool) -> None:
    request = told.requests.get(event.request_id)
    if event.reason is Reason.OTP_INCORRECT and request is not None:
        told.wrong_codes.append((event.request_id, event.attempt, request.credential_id, at))
    if not since or event.reason not in {Reason.PIN_INCORRECT, Reason.PIN_LOCKED}:
        return
    if request is None:
        told.of_nobody += 1
    elif event.reason is Reason.PIN_LOCKED:
        told.locked.add(request.credential_id)
    else:
        told.wrong_pins[request.credential_id] += 1


def _take_answer(told: Told, event: PinAnswered, *, since: bool) -> None:
    if event.result == "unlocked":
        told.unlocks.append((event.answers, event.credential_id))
    if not since:
        return
    if event.result == "changed":
        told.changed.add(event.credential_id)
    elif event.reason is Reason.PIN_INCORRECT:
        told.wrong_pins[event.credential_id] += 1
    elif event.reason is Reason.PIN_LOCKED:
        told.locked.add(event.credential_id)
