"""The bus of one service: its consumers, timers, publisher and ledger, started and stopped in order."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

import structlog
from aiokafka.errors import KafkaError
from faststream.kafka import KafkaBroker
from faststream.security import SASLScram256

from libs.bus.consumption import Consumption
from libs.bus.due import LEASE, DueWorker
from libs.bus.gathering import Gathering, Outstanding
from libs.bus.outcomes import Unavailable
from libs.bus.producers import Producers
from libs.bus.published import Published
from libs.bus.publisher import BROKER, Publisher
from libs.bus.reach import Reach
from libs.bus.signing import Sign, unsigned
from libs.bus.slices import DATABASE, DOCUMENT_SLICE, SLICE, Slicer
from libs.bus.state import caught_up
from libs.bus.subscriber import FETCH_MAX, SESSION_MS, subscribe
from libs.bus.suspension import Probe, Suspension
from libs.bus.work import Handler, Ledgers
from libs.contracts.topics import Topic
from libs.runtime.background import beside
from libs.runtime.clock import Clock, utc_now
from libs.runtime.health import Health
from libs.runtime.kafka_access import KafkaAccess
from libs.runtime.transport import client_context
from libs.storage.pool import Pool, end_stalled_sessions

STOP_BOUND = 15.0
"""Seconds that a graceful stop waits for the slice at hand."""

HOST_STOP_BOUND = 1.0
"""Seconds that FastStream waits once more, for nothing: the loop is idle by then, or late for good."""

UNANSWERED_MS = 10_000
"""Above the session, for which a broker may keep who joins a group waiting: until it counts as one that took a question
and will not answer, is left, and asked again. aiokafka's own bound is 40 s."""

LEAVE_BOUND = 5.0
"""Seconds to leave the groups. A consumer that does not reach its own would take as long as the process has left."""

STATE_GROUP = "state"

Handlers = Mapping[Topic, Handler[Any]]

log = structlog.get_logger()


@dataclass(frozen=True)
class Consumer:
    """One group and what it reads. `max_records` bounds a batch: few where one record carries a list of documents."""

    group: str
    handlers: Handlers
    max_records: int
    after_state: bool
    gather: Gathering | None = None
    fetch_max: int = FETCH_MAX


class Bus:
    """Wire with `state`, `consume` and `timer`, then enter. Every consumer of every service is this loop.

    `probes` answer for the dependencies that handlers name in `Unavailable`; broker and database are built in.
    """

    def __init__(
        self,
        *,
        service: str,
        kafka: KafkaAccess,
        pool: Pool,
        health: Health,
        probes: Mapping[str, Probe] | None = None,
        clock: Clock = utc_now,
        session_ms: int = SESSION_MS,
        lease: timedelta = LEASE,
        sign: Sign = unsigned,
        producers: Producers | None = None,
    ) -> None:
        """`producers` judge events of signed topics; who consumes one must have them. `sign` signs what is emitted."""
        self._service = service
        self._kafka = kafka
        self._health = health
        self._session_ms = session_ms
        self._lease = lease
        self.publisher = Publisher(kafka, client_id=service)
        self.clock = clock
        """By which everything is judged that is no append time."""
        self.sign = sign
        """Signs what is published beside the loop, too."""
        self.producers = producers
        """Who judges whose an event is; it connects when it is first asked, and is closed by who made it."""
        self._ledgers = Ledgers(service, pool, self.publisher, Published(pool), clock, sign)
        self._probes = {**(probes or {}), BROKER: self.publisher.probe, DATABASE: self._ask_database}
        self._consumers: list[Consumer] = []
        self._timers: dict[Topic, Handler[Any]] = {}
        self._suspensions: list[Suspension] = []
        self._stack = AsyncExitStack()
        self.knows_state = False
        """Whether the state topics were read to their end once."""

    def state(self, handlers: Handlers, *, max_records: int = 100) -> None:
        """Read state topics; every other consumer waits until their end was reached once."""
        self._consumers.append(Consumer(f"{self._service}.{STATE_GROUP}", handlers, max_records, after_state=False))

    def consume(
        self,
        handlers: Handlers,
        *,
        lane: str = "",
        max_records: int = 250,
        gather: Gathering | None = None,
        fetch_max: int = FETCH_MAX,
    ) -> None:
        """Read chain topics in the service's group, or in a lane of their own beside it.

        `gather` is for topics with a document per record, where nothing outside is acted on: batches grow, slices are
        longer (DOCUMENT_SLICE), and handlers may be given what was handled before.
        `fetch_max` bounds the bytes of one fetch: a stage on a document's way takes from all partitions at once
        (DOCUMENT_FETCH), since a Pukal slows down by a third where each needs a fetch of its own.
        """
        group = f"{self._service}.{lane}" if lane else self._service
        self._consumers.append(
            Consumer(group, handlers, max_records, after_state=True, gather=gather, fetch_max=fetch_max)
        )

    def timer(self, timer: Topic, handler: Handler[Any]) -> None:
        """Run `handler` when this timer is due; the topic exists in the database only."""
        self._timers[timer] = handler

    async def __aenter__(self) -> Self:
        """Connect and start consuming. Raises Unavailable when the broker does not answer."""
        try:
            await self._start()
        except BaseException as error:
            await self._stack.aclose()
            if isinstance(error, KafkaError):
                raise Unavailable(BROKER) from error
            raise
        return self

    async def _start(self) -> None:
        self._health.expect(STATE_GROUP)
        await self.publisher.start()
        self._stack.push_async_callback(self.publisher.stop)
        if self.producers is not None:
            await self.producers.look()  # nothing is consumed before every producer's key is known
            await self._stack.enter_async_context(beside(self.producers.keep()))
        context = client_context(self._kafka.transport_root)
        broker = KafkaBroker(
            self._kafka.bootstrap.split(","),  # FastStream takes a string for one host, commas and all
            security=SASLScram256(
                self._kafka.principal,
                self._kafka.password.get_secret_value(),
                ssl_context=context,
                use_ssl=context is not None,
            ),
            client_id=self._service,
            request_timeout_ms=self._session_ms + UNANSWERED_MS,
            allow_auto_create_topics=False,
            graceful_timeout=HOST_STOP_BOUND,
            logger=None,
            apply_types=False,  # FastDepends would find the message of each batch in a thread
        )
        consumptions, gated = self._wire(broker)
        due, due_suspension = self._due_worker()
        gated.append(due_suspension)
        self._stack.push_async_callback(_leave, broker)
        await broker.connect()
        # All at once: one after another, each would wait until the other members of its group have heard of it.
        started = await asyncio.gather(*(one.start() for one in broker.subscribers), return_exceptions=True)
        for error in filter(None, started):
            raise error
        due_task = asyncio.create_task(due.run())
        gate = asyncio.create_task(self._open(gated))

        async def stop() -> None:
            gate.cancel()
            due.stop()
            for consumption in consumptions:
                consumption.stop()
            idle = [asyncio.create_task(consumption.idle.wait()) for consumption in consumptions]
            _, late = await asyncio.wait([*idle, due_task], timeout=STOP_BOUND)
            for task in late:
                task.cancel()
            await asyncio.gather(gate, *idle, due_task, return_exceptions=True)
            await asyncio.gather(*(consumption.settle() for consumption in consumptions))
            for suspension in self._suspensions:
                await suspension.stop()

        self._stack.push_async_callback(stop)

    async def __aexit__(self, *_: object) -> None:
        """Finish the slice at hand, bounded; commit; disconnect."""
        await self._stack.aclose()

    def _wire(self, broker: KafkaBroker) -> tuple[list[Consumption], list[Suspension]]:
        consumptions: list[Consumption] = []
        gated: list[Suspension] = []
        for consumer in self._consumers:
            suspension = self._suspension(consumer.group)
            if consumer.after_state:
                gated.append(suspension)
                suspension.hold(STATE_GROUP)
            outstanding = Outstanding() if consumer.gather else None
            reach = Reach(self._service, consumer.group, self.publisher.probe)
            consumption = Consumption(
                service=self._service,
                topics={topic.name: topic for topic in consumer.handlers},
                slicer=self._slicer(consumer.handlers, repeats_cost_nothing=bool(consumer.gather)),
                suspension=suspension,
                reach=reach,
                published=self._ledgers.published,
                slice_size=DOCUMENT_SLICE if consumer.gather else SLICE,
                producers=self.producers,
                outstanding=outstanding,
            )
            subscribe(
                broker,
                list(consumer.handlers),
                group=consumer.group,
                max_records=consumer.max_records,
                suspension=suspension,
                reach=reach,
                handle=consumption.handle,
                give_up=consumption.give_up,
                settle_idle=consumption.settle_idle,
                service=self._service,
                session_ms=self._session_ms,
                gather=consumer.gather,
                outstanding=outstanding,
                fetch_max=consumer.fetch_max,
            )
            consumptions.append(consumption)
        return consumptions, gated

    def _due_worker(self) -> tuple[DueWorker, Suspension]:
        handlers = {topic: handler for consumer in self._consumers for topic, handler in consumer.handlers.items()}
        handlers |= self._timers
        suspension = self._suspension("due")
        suspension.hold(STATE_GROUP)
        worker = DueWorker(
            ledgers=self._ledgers,
            topics={topic.name: topic for topic in handlers},
            slicer=self._slicer(handlers),
            suspension=suspension,
            suspension_of=self._suspension,
            lease=self._lease,
            producers=self.producers,
        )
        return worker, suspension

    async def _open(self, gated: Sequence[Suspension]) -> None:
        states = [consumer for consumer in self._consumers if not consumer.after_state]
        for consumer in states:
            await caught_up(self._kafka, consumer.group, list(consumer.handlers))
        self.knows_state = True
        for suspension in gated:
            suspension.release(STATE_GROUP)
        self._health.set(STATE_GROUP, ok=True)
        log.info("consuming", groups=[consumer.group for consumer in self._consumers])

    def _suspension(self, name: str) -> Suspension:
        suspension = Suspension(name, self._service, self._probes, self._health)
        self._suspensions.append(suspension)
        return suspension

    def _slicer(
        self, handlers: Handlers, *, repeats_cost_nothing: bool = False
    ) -> Callable[[Callable[[], bool]], Slicer]:
        by_name = {topic.name: handler for topic, handler in handlers.items()}
        return lambda expired: Slicer(
            self._ledgers, by_name, expired=expired, repeats_cost_nothing=repeats_cost_nothing
        )

    async def _ask_database(self) -> None:
        async with self._ledgers.pool.acquire(timeout=5) as connection:
            # A lock that could not be had may be a frozen twin's, which nothing else would end.
            ended = await end_stalled_sessions(connection)
        if ended:
            log.warning("ended stalled sessions", sessions=ended)


async def _leave(broker: KafkaBroker) -> None:
    try:
        async with asyncio.timeout(LEAVE_BOUND):
            await broker.stop()
    except TimeoutError:
        log.warning("groups not left: their other members wait until the session is over")
