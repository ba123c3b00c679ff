"""One transaction of a stage: what it writes itself, and what became of each delivery that it claimed."""

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping
from datetime import datetime, timedelta
from functools import cache
from hashlib import sha256
from typing import Generic, TypeVar, assert_never
from uuid import UUID

from libs.bus.dead_letter import dead_letter
from libs.bus.delivery import Coordinates, Delivery
from libs.bus.outcomes import Done, Emit, Outcome, Park, Poison, Rejected
from libs.bus.signing import Sign
from libs.bus.suspension import LONGEST_WAIT
from libs.contracts import topics
from libs.contracts.base import Event
from libs.contracts.cloudevents import encode, encode_with_id, event_id, size
from libs.contracts.progress import Progressed, ReachedStage
from libs.contracts.signing import Stage
from libs.contracts.topics import Topic
from libs.contracts.waiting import Waiting
from libs.runtime import metrics
from libs.runtime.clock import Clock
from libs.storage import ledger
from libs.storage.ledger import Outcome as RecordedOutcome
from libs.storage.pool import Connection

E = TypeVar("E", bound=Event)

TIMER_RETRY = timedelta(seconds=60)
"""A timer that cannot be processed is tried again: it has no topic to die on, and what it ends would stay open."""

_FRAMING = 512
"""Bytes that the broker counts beside the record itself."""


class EventTooLarge(ValueError):
    """An event that its topic would refuse for ever: the delivery that it follows from is poison, not a wait."""


class Recording(Generic[E]):
    """One transaction: the stage's own writes on `connection`, and the outcome of each delivery that it claimed.

    `deliveries` are those that this transaction is the first to handle; a twin has handled the others meanwhile, and
    a stage must write nothing for them.
    """

    def __init__(
        self, connection: Connection, deliveries: tuple[Delivery[E], ...], *, service: str, clock: Clock, sign: Sign
    ) -> None:
        self.connection = connection
        self.deliveries = deliveries
        self._service = service
        self._clock = clock
        self._sign = sign
        self._open = {delivery.id for delivery in deliveries}
        self._settled: dict[UUID, tuple[Delivery[E], Outcome]] = {}
        self.outcomes: list[RecordedOutcome] = []

    def settle(self, delivery: Delivery[E], outcome: Outcome) -> None:
        """Decide what becomes of a claimed delivery; a claimed one that is not settled is read again later."""
        if delivery.id not in self._open:
            raise RuntimeError("a delivery is settled once, by the recording that claimed it")
        self._open.discard(delivery.id)
        self._settled[delivery.id] = (delivery, outcome)

    def emit(self, delivery: Delivery[E], emits: Iterable[Emit]) -> None:
        """Record events of a delivery that is not finished: a slice of a long one.

        Raises EventTooLarge, and Unavailable when nobody can know our key yet.
        """
        for emit in emits:
            identifier, record = encode_with_id(
                emit.topic, emit.event, source=self._service, time=self._clock(), trace=delivery.envelope.traceparent
            )
            if size(record) > emit.topic.max_bytes - _FRAMING:
                raise EventTooLarge(emit.topic.name)
            signed = self._sign(emit.topic, record)
            self.outcomes.append(RecordedOutcome(identifier, delivery.cause, signed))

    def say_waiting(self, topic: Topic, stage: Stage, whys: Container[str]) -> None:
        """Say, once per request and cause, what is parked because of one of these for the first time; settle it before.

        Recorded and published in the transaction that parks.
        """
        parked: dict[tuple[UUID, str], list[tuple[Delivery[E], Park]]] = defaultdict(list)
        for delivery, outcome in self._settled.values():
            if isinstance(outcome, Park) and outcome.why in whys and delivery.request_id is not None:
                is_new = delivery.parked is None or delivery.parked.why != outcome.why
                if is_new:
                    parked[delivery.request_id, outcome.why].append((delivery, outcome))
        for (request_id, why), together in parked.items():
            first, park = together[0]
            named = tuple(delivery.event.key for delivery, _ in together) if first.topic.key == "document" else None
            event = Waiting(
                request_id=request_id, documents=named, stage=stage, why=why, next_look=self._clock() + park.after
            )
            self.emit(first, (Emit(topic, event),))

    def say_progress(self, topic: Topic, stage: ReachedStage) -> None:
        """Say, once per request, which documents went on from here; settle them before."""
        reached: dict[UUID, list[Delivery[E]]] = defaultdict(list)
        for delivery, outcome in self._settled.values():
            if isinstance(outcome, Done) and outcome.emits and delivery.request_id is not None:
                reached[delivery.request_id].append(delivery)
        for request_id, together in reached.items():
            documents = tuple(delivery.event.key for delivery in together)
            event = Progressed(request_id=request_id, stage=stage, documents=documents)
            self.emit(together[0], (Emit(topic, event),))

    def say_away(self, topic: Topic, stage: Stage, why: str, deliveries: Iterable[Delivery[E]]) -> None:
        """Say, once per request, what waits for a dependency that is away: the loop comes again when it answers."""
        next_look = self._clock() + timedelta(seconds=LONGEST_WAIT)
        for delivery in deliveries:
            if delivery.request_id is not None:
                event = Waiting(
                    request_id=delivery.request_id, documents=None, stage=stage, why=why, next_look=next_look
                )
                self.emit(delivery, (Emit(topic, event),))

    async def set_timer(self, topic: Topic, event: Event, *, request_id: UUID, at: datetime) -> None:
        """Have `event` delivered to the timer's handler at `at` (database clock); set again, it moves."""
        record = encode(topic, event, source=self._service, time=self._clock())
        await ledger.set_timer(
            self.connection,
            timer=event_id(topic, event),
            request_id=request_id,
            at=at,
            content_hash=sha256(record.value).digest(),
            record=record,
        )

    async def write(self) -> set[UUID]:
        """Write outcomes and due rows; returns the ids of events recorded now. Called by `Work.recording` only."""
        reread = [delivery for delivery in self.deliveries if delivery.id in self._open]
        for delivery, outcome in self._settled.values():
            match outcome:
                case Done(emits):
                    self.emit(delivery, emits)
                case Rejected(event, emits):
                    self.emit(delivery, (Emit(topics.REJECTED, event), *emits))
                case Park(after, why, emits):
                    self.emit(delivery, emits)
                    if await self._park(delivery, after, why):
                        reread.append(delivery)
                case Poison(why):
                    if await self._bury(delivery, why):
                        reread.append(delivery)
                case _:
                    assert_never(outcome)
        if reread:
            waited = [delivery.id for delivery in reread if delivery.parked and not delivery.is_timer]
            fresh = [delivery.id for delivery in reread if not delivery.parked or delivery.is_timer]
            await ledger.unclaim(self.connection, fresh, waited)
        return await ledger.record(self.connection, self.outcomes)

    def count(self) -> None:
        """Count what was recorded, once it is."""
        now = self._clock()
        kinds: Counter[tuple[str, str]] = Counter()
        latency = cache(lambda topic: metrics.LATENCY_SECONDS.labels(self._service, topic))
        for delivery, outcome in self._settled.values():
            topic = delivery.topic.name
            kinds[topic, type(outcome).__name__.lower()] += 1
            latency(topic).observe((now - delivery.appended_at).total_seconds())
            if isinstance(outcome, Rejected):
                metrics.REJECTED.labels(self._service, outcome.event.reason).inc()
            if isinstance(outcome, Poison):
                metrics.DEAD_LETTERS.labels(self._service, topic).inc()
                metrics.alarm(self._service, "poison", topic=topic, why=outcome.why)
        for (topic, kind), count in kinds.items():
            metrics.HANDLED.labels(self._service, topic, kind).inc(count)

    @property
    def settled(self) -> Mapping[Coordinates, Outcome]:
        """What was decided, by record."""
        return {delivery.coordinates: outcome for delivery, outcome in self._settled.values()}

    async def _park(self, delivery: Delivery[E], after: timedelta, why: str) -> bool:
        """Let it wait; returns whether its mark must be taken back, which a row of its own would hold otherwise."""
        if delivery.parked is not None:
            await ledger.park_again(self.connection, delivery.parked, after, why)
            return True
        await ledger.park(
            self.connection,
            delivery=delivery.id,
            request_id=delivery.request_id,
            record=delivery.record,
            partition=delivery.coordinates.partition,
            offset=delivery.coordinates.offset,
            content_hash=delivery.content_hash,
            appended_at=delivery.appended_at,
            after=after,
            why=why,
        )
        return False

    async def _bury(self, delivery: Delivery[E], why: str) -> bool:
        """Make the dead letter. The id stays free for the true event of that id: only a forged one was refused."""
        if delivery.parked is not None and delivery.is_timer:
            await ledger.park_again(self.connection, delivery.parked, TIMER_RETRY, why)
            return True
        self.outcomes.append(dead_letter(delivery, why, service=self._service))
        if delivery.parked is not None:
            await ledger.bury_parked(self.connection, [delivery.id])
            return False
        return True
