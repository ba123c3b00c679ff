"""Reads the chain's topics and writes what they tell.

Not the loop of libs/bus: the monitor acts on nothing and emits nothing, so that there is nothing to reserve, to record
or to publish, and its rows are a union of events, which a repeat does not change, so that it needs no inbox. What stays
of the loop is its order: the offset is committed when what lies before it is written. Whatever fails, reading begins
again from what is committed.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Final

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from libs.bus import defences
from libs.bus.consumption import COMMIT_TIMEOUT
from libs.bus.delivery import record_of
from libs.bus.log_start import LogStartGuard
from libs.bus.outcomes import Unavailable
from libs.bus.producers import UNKNOWN_KEY, Producers
from libs.bus.publisher import BROKER
from libs.bus.reader import Raw
from libs.bus.slices import DATABASE
from libs.bus.subscriber import FETCHER_ROUND_MS, HEARTBEATS
from libs.bus.suspension import FIRST_WAIT, LONGEST_WAIT, Suspension
from libs.contracts.topics import TOPICS
from libs.runtime import metrics
from libs.runtime.health import Health
from libs.runtime.kafka_access import KafkaAccess
from libs.storage.errors import is_unavailable
from libs.storage.pool import Pool
from services.monitor import store
from services.monitor.clocks import Clocks
from services.monitor.facts import READ, Batch, Place, taken_at

READING: Final = "reading"
"""The check in /readyz."""

FETCH_MIN: Final = 512 * 1024
"""Bytes that a fetch waits for, FETCH_WAIT_MS at most: a hundred documents. A fetch costs the same for one."""

FETCH_WAIT_MS: Final = 1_000
FETCH_MAX: Final = 1024 * 1024
PARTITION_MAX: Final = 256 * 1024
"""Bytes of one fetch, and of one partition in it; a longer record comes alone (KIP-74)."""

BATCH: Final = 5_000
"""Documents and requests after which a batch is written, whatever the time."""

POLL_MS: Final = 250

log = structlog.get_logger()


class Reader:
    """One member of the group `monitor`."""

    def __init__(
        self,
        *,
        service: str,
        kafka: KafkaAccess,
        session_ms: int,
        pool: Pool,
        health: Health,
        clocks: Clocks,
        write_every: float,
        producers: Producers,
    ) -> None:
        self._producers = producers
        self._service = service
        self._kafka = kafka
        self._session_ms = session_ms
        self._pool = pool
        self._health = health
        self._clocks = clocks
        self._write_every = write_every
        self._halted = Suspension(READING, service, {}, health)
        health.expect(READING)

    async def run(self) -> None:
        """Until cancelled. Raises nothing else."""
        defences.install()
        wait = FIRST_WAIT
        while True:
            began = time.monotonic()
            try:
                async with self._consumer() as consumer:
                    await self._producers.look()  # whoever wrote what is read must be known by then
                    await self._follow(consumer)
            except Exception as error:  # noqa: BLE001 (classified: whatever it is, reading begins again)
                self._failed(error)
            wait = FIRST_WAIT if time.monotonic() - began > LONGEST_WAIT else min(2 * wait, LONGEST_WAIT)
            await asyncio.sleep(wait)

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(
            **self._kafka.options(),
            group_id=self._service,
            client_id=self._service,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_min_bytes=FETCH_MIN,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            consumer_timeout_ms=FETCHER_ROUND_MS,
            fetch_max_bytes=FETCH_MAX,
            max_partition_fetch_bytes=PARTITION_MAX,
            session_timeout_ms=self._session_ms,
            heartbeat_interval_ms=self._session_ms // HEARTBEATS,
        )
        try:
            await consumer.start()
            yield consumer
        finally:
            await consumer.stop()

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        given_up = asyncio.Event()

        async def give_up() -> None:
            given_up.set()

        guard = LogStartGuard({name: TOPICS[name] for name in READ}, self._halted, self._service, give_up)
        consumer.subscribe(list(READ), listener=guard)
        self._health.set(READING, ok=True)
        batch, write_at = Batch(), 0.0
        while True:
            polled = await consumer.getmany(timeout_ms=POLL_MS)
            if given_up.is_set():  # what was polled now is of the new assignment, and begins where it is committed
                given_up.clear()
                batch = Batch()
            guard.saw(polled)
            await guard.check(consumer)
            if self._halted.active:  # a person must look: for what retention has deleted nobody can vouch
                await asyncio.Event().wait()
            if polled and not batch.offsets:
                write_at = time.monotonic() + self._write_every
            batch.take(polled, await self._forged(polled))
            if polled:
                self._clocks.saw(batch)
            if batch.offsets and (time.monotonic() > write_at or len(batch) >= BATCH):
                await self._write(batch)
                if not given_up.is_set():
                    await self._commit(batch, consumer)
                batch = Batch()

    async def _forged(self, polled: Mapping[TopicPartition, Iterable[Raw]]) -> set[Place]:
        """Where records lie that are not their producer's. Raises Unavailable."""
        forged: set[Place] = set()
        for partition, records_of in polled.items():
            topic = TOPICS[partition.topic]
            for raw in records_of if topic.producers else ():
                why = self._producers.judge(topic, record_of(raw), taken_at(raw))
                if why == UNKNOWN_KEY:
                    await self._producers.look()
                    why = self._producers.judge(topic, record_of(raw), taken_at(raw))
                if why:
                    forged.add((partition, raw.offset))
        return forged

    async def _write(self, batch: Batch) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            await store.write(connection, batch)
        if batch.unread:
            log.warning("passed over what is no event of its producer", records=batch.unread)

    async def _commit(self, batch: Batch, consumer: AIOKafkaConsumer) -> None:
        mine = {partition: offset for partition, offset in batch.offsets.items() if partition in consumer.assignment()}
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT):
                await consumer.commit(mine)
        except (IllegalStateError, CommitFailedError):
            log.info("commit refused after a rebalance", partitions=len(mine))

    def _failed(self, error: Exception) -> None:
        away = isinstance(error, KafkaError | Unavailable)
        dependency = BROKER if away else DATABASE if is_unavailable(error) else "loop"
        if dependency == "loop":
            log.error("reading failed", exc_info=error)
            metrics.alarm(self._service, "loop-failed")
        log.warning("waiting", dependency=dependency, error=type(error).__name__)
        metrics.UNAVAILABLE.labels(self._service, dependency).inc()
        self._health.set(READING, ok=False, detail=dependency)
