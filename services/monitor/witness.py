"""The signing log's witness: reads `posted` and the checkpoints, and countersigns those that say the same.

What it countersigns never contradicts what it countersigned before, whatever posting's database says meanwhile: the
root is its own, made of what was told to everybody. Recorded before it is published; which of two replicas moves on
first is decided by one row. Its place in the topics is in that row too, so that it is in no group.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from hashlib import sha256
from typing import Final

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from libs.bus import defences
from libs.bus.outcomes import Unavailable
from libs.bus.publisher import BROKER, Publisher
from libs.bus.slices import DATABASE
from libs.bus.subscriber import FETCHER_ROUND_MS
from libs.contracts import topics
from libs.contracts.cloudevents import encode
from libs.contracts.log import CheckpointCountersigned, LogCheckpoint
from libs.crypto import notes
from libs.crypto.merkle import Frontier, is_consistent
from libs.crypto.notes import Checkpoint
from libs.runtime import metrics
from libs.runtime.clock import Clock
from libs.runtime.health import Health
from libs.runtime.kafka_access import KafkaAccess
from libs.storage.errors import is_unavailable
from libs.storage.pool import Pool
from services.monitor import witness_store as store
from services.monitor.disputes import proven, tiles_since
from services.monitor.told_log import Told, ToldLog
from services.monitor.witness_keys import Keys
from services.monitor.witness_reading import Reading
from services.monitor.witness_store import State

CHECK: Final = "witness"
"""The check in /readyz."""

GATHER: Final = 0.5
"""Seconds between polls: nobody waits for a countersignature but a receipt, and many records cost little more."""

FETCH_MIN: Final = 256 * 1024
"""Bytes that a fetch waits for, FETCH_WAIT_MS at most: it costs the same for one record."""

FETCH_WAIT_MS: Final = 1_000
FETCH_MAX: Final = 512 * 1024
RETRY: Final = 5.0
"""Seconds until what failed is tried again: a look that came again after 30 s only kept a new stack, whose broker was
still starting, from being ready for as long."""

REMEMBERED: Final = 10_000
"""Alarms that are known as raised; then all are forgotten, and what goes on is told once more."""

TILES_WAIT: Final = timedelta(minutes=1)
"""How long a disputed checkpoint waits for its tiles; then it is passed over, until something else is told."""

log = structlog.get_logger()


class Witness:
    """One replica's witness; it runs beside the monitor's reading."""

    def __init__(
        self, *, service: str, kafka: KafkaAccess, pool: Pool, health: Health, clock: Clock, keys: Keys, late: timedelta
    ) -> None:
        self._service = service
        self._kafka = kafka
        self._pool = pool
        self._health = health
        self._clock = clock
        self._keys = keys
        self._late = late
        self._told: set[tuple[str, str]] = set()
        self._made_room = -RETRY
        health.expect(CHECK)

    async def run(self) -> None:
        """Until cancelled. Raises nothing else."""
        defences.install()
        publisher = Publisher(self._kafka, client_id=f"{self._service}.witness")
        try:
            while True:
                try:
                    async with self._consumer() as consumer:
                        await self._follow(consumer, publisher)
                except Exception as error:  # noqa: BLE001 (classified: whatever it is, reading begins again)
                    self._failed(error)
                await asyncio.sleep(RETRY)
        finally:
            await publisher.stop()

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(
            **self._kafka.options(),
            client_id=f"{self._service}.witness",
            enable_auto_commit=False,
            auto_offset_reset="none",  # what retention has passed is an error, and then a gap that is told
            fetch_min_bytes=FETCH_MIN,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            consumer_timeout_ms=FETCHER_ROUND_MS,
            fetch_max_bytes=FETCH_MAX,
        )
        try:
            await consumer.start()
            yield consumer
        finally:
            await consumer.stop()

    async def _follow(self, consumer: AIOKafkaConsumer, publisher: Publisher) -> None:
        async with self._pool.acquire() as connection:
            state = await store.state(connection, self._keys.log.name)
        if state is not None:  # it may have been recorded and not published
            await self._publish(publisher, state.note)
            await self._tell_beginning(state)
        reading = Reading(consumer, state)
        missed = await reading.begin()
        if missed:  # it reads on: what is published again fills the gap
            why = f"`posted` does not keep what was told since size {reading.told.size} was countersigned"
            self._alarm("witness-gap", why)
        self._health.set(CHECK, ok=True)
        while True:
            for position, by in await reading.poll():
                self._alarm("checkpoint-inconsistent", f"`posted` told two leaves of position {position}", by=by)
            while (found := reading.next()) is not None and await self._judge(reading, found[0], publisher):
                pass
            await self._look_at_age(reading)
            missed = missed and reading.state is state
            if missed and await self._begun_anew(state):
                raise _TwinMoved
            await asyncio.sleep(GATHER)

    async def _judge(self, reading: Reading, event: LogCheckpoint | None, publisher: Publisher) -> bool:
        """Countersign, refuse or pass over the next checkpoint; False when it must wait for what `posted` will tell."""
        if event is None or (said := self._keys.signed(event)) is None:
            which = sha256(event.note.encode()).hexdigest()[:16] if event else "no checkpoint at all"
            self._alarm("checkpoint-inconsistent", f"not signed by the log's key: {which}")
            return reading.done()
        last = reading.state
        if last is not None and said.size <= last.size:
            async with self._pool.acquire() as connection:
                known = await store.root_of(connection, said.size)
                away = known is None and await store.was_away(connection, self._keys.log.name, said.size)
            if known != said.root and not away:
                what = f"another root of size {said.size} than was countersigned: {said.root.hex()[:16]}"
                self._alarm("checkpoint-inconsistent", what)
            return reading.done()
        reading.note(said)
        if (tree := await self._as_told(reading, said)) is None:
            return False
        size, root = (last.size, last.root) if last is not None else (0, ToldLog().root())
        if tree.root() != said.root:
            self._alarm(
                "checkpoint-inconsistent",
                f"size {said.size}: the root {said.root.hex()[:16]} is not that of what was told",
            )
            return reading.pass_over()
        if event.previous == size and not is_consistent((size, root), (said.size, said.root), event.consistency):
            self._alarm("checkpoint-inconsistent", f"size {said.size}: its proof does not hold upon size {size}")
            return reading.done()
        note = notes.countersign(
            notes.alone(event.note, self._keys.log), self._keys.witness, self._keys.private, self._clock()
        )
        self._refuse(reading.told.advance(tree), "is not the log's")
        reading.done()
        state = reading.moved(said.size, said.root, note)
        async with self._pool.acquire() as connection, connection.transaction():
            if not await store.move(connection, self._keys.log.name, state, upon=size):
                raise _TwinMoved
        reading.state = state
        await self._publish(publisher, note)
        return True

    async def _as_told(self, reading: Reading, said: Checkpoint) -> Frontier | None:
        """The tree of this size as `posted` told it; None while something is missing of it.

        Where two leaves were told of a position, the log's own tiles say which: what they prove of a root that its
        key has signed. So who has posting's account at the broker, and not its HSM, is refused and stops nothing.
        Where so many were told that no more is read, what the tiles contradict makes room for the true ones behind.
        """
        tree = reading.told.grown(said.size)
        if tree is not None and tree.root() == said.root:
            return tree
        held = reading.is_held()
        if not held and (tree is None or not reading.told.is_disputed(said.size)):
            return tree
        if held:
            if time.monotonic() - self._made_room < RETRY:
                return None
            self._made_room = time.monotonic()
            for one in filter(None, map(self._keys.signed, reading.unjudged())):
                reading.note(one)
        async with self._consumer() as consumer:
            tiles = await tiles_since(consumer, min(reading.signed.values()), {size for size, _ in reading.signed})
        leaves = await asyncio.to_thread(proven, tiles, reading.signed.keys())
        if held:
            self._refuse(reading.told.disprove(leaves), "is not the log's")
        if said.size - 1 not in leaves and self._clock() - said.at < TILES_WAIT:
            return None  # they come right behind their checkpoint
        reading.told.settle(leaves)
        return reading.told.grown(said.size)

    def _refuse(self, leaves: Iterable[tuple[int, Told]], why: str) -> None:
        for position, told in leaves:
            where = f"partition {told.partition}, offset {told.offset}"
            self._alarm("checkpoint-inconsistent", f"`posted` told a leaf of position {position} that {why}", by=where)

    async def _begun_anew(self, state: State | None) -> bool:
        """Whether a person has had it go on meanwhile (services/monitor/begin.py)."""
        async with self._pool.acquire() as connection:
            return await store.state(connection, self._keys.log.name) != state

    async def _tell_beginning(self, state: State) -> None:
        """As long as it has countersigned nothing more, each start says that a person had it go on here, and why."""
        async with self._pool.acquire() as connection:
            begun = await store.beginning_at(connection, self._keys.log.name, state.size)
        if begun is not None:
            why = f"from size {begun.previous} to {begun.size} the log's word alone, by {begun.by}: {begun.reason}"
            self._alarm("witness-begun", why)

    async def _publish(self, publisher: Publisher, note: str) -> None:
        event = CheckpointCountersigned(note=note)
        record = encode(topics.LOG_COUNTERSIGNED, event, source=self._service, time=self._clock())
        await publisher.publish([record])

    async def _look_at_age(self, reading: Reading) -> None:
        """What was told, and is in no checkpoint for longer than it may be.

        A checkpoint takes in all that was told before it, if that is less than MAX_GROWTH: what it leaves out then is
        no leaf of the log. It is not waited for, so that it hides nothing that is.
        """
        if (last := reading.unjudged()[-1:]) and (said := self._keys.signed(last[0])) is not None:
            reading.note(said)
        oldest = reading.told.oldest()
        if oldest is not None and reading.newest is not None and oldest < reading.newest[1] - self._late:
            size, at = reading.newest
            self._refuse(reading.told.forget(size, at - self._late), f"a log of {size} does not have")
            oldest = reading.told.oldest()
        late = oldest is not None and self._clock() - oldest > self._late
        metrics.OLDEST_SECONDS.labels(self._service, "not-in-checkpoint").set(
            (self._clock() - oldest).total_seconds() if oldest else 0
        )
        if late and await reading.is_at_end():
            self._alarm("checkpoint-late", f"told at {oldest:%Y-%m-%d %H:%M:%S}Z, and in no checkpoint that holds")
        elif not late:
            self._told = {one for one in self._told if one[0] != "checkpoint-late"}

    def _alarm(self, name: str, why: str, **details: object) -> None:
        """Once for one cause."""
        kind = name if name == "checkpoint-late" else why
        if (name, kind) in self._told:
            return
        if len(self._told) >= REMEMBERED:
            self._told.clear()
        self._told.add((name, kind))
        if name == "checkpoint-late":
            metrics.alarm(self._service, "checkpoint-late", why=why)
        elif name == "witness-gap":
            metrics.alarm(self._service, "witness-gap", why=why)
        elif name == "witness-begun":
            metrics.alarm(self._service, "witness-begun", why=why)
        else:
            metrics.alarm(self._service, "checkpoint-inconsistent", why=why, **details)

    def _failed(self, error: Exception) -> None:
        if isinstance(error, _TwinMoved):
            return  # read its state, and go on from there
        away = isinstance(error, KafkaError | Unavailable)
        dependency = BROKER if away else DATABASE if is_unavailable(error) else CHECK
        if dependency == CHECK:
            log.error("the witness failed", exc_info=error)
            metrics.alarm(self._service, "loop-failed")
        metrics.UNAVAILABLE.labels(self._service, dependency).inc()
        self._health.set(CHECK, ok=False, detail=dependency)


class _TwinMoved(Exception):
    """Another replica has countersigned meanwhile, or a person had it begin anew."""
