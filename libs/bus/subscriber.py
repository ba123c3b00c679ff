"""FastStream's batch subscriber as the loop needs it: raw records in, offsets ours, no sleep after an empty poll.

FastStream 0.7.8 decodes headers and bodies before the handler and loses records when that fails, commits what it has
not handled under its own policies, and sleeps after an empty poll; tests/contract holds each of these against the pin.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain
from typing import Any, TypeAlias, cast

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.errors import ConsumerStoppedError, IllegalStateError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage
from faststream.kafka.message import KafkaAckableMessage

from libs.bus import defences
from libs.bus.gathering import Gathering, Outstanding
from libs.bus.log_start import LogStartGuard, places
from libs.bus.reach import Reach
from libs.bus.suspension import Suspension
from libs.contracts.topics import Topic

POLL_MS = 500
"""Milliseconds that an idle poll waits; a record that comes ends it at once."""

PAUSED_POLL_MS = 50
"""The same while nothing may be worked: nothing but its end shows that the pause is over."""

FETCH_BYTES = 256 * 1024
"""Bytes fetched per partition: aiokafka drains a hot partition first, and memory follows this. A record that is larger
comes alone (KIP-74)."""

FETCH_MAX = 2 * FETCH_BYTES
"""Bytes in the answer to one fetch, of which aiokafka holds four copies while it takes it apart. A record that is
larger comes when its partition is the first of an answer; they are asked in an order that changes."""

DOCUMENT_FETCH = 8 * FETCH_BYTES
"""The same for a stage on a document's way to its record: what all partitions of its two topics have."""

FETCH_WAIT_MS = 1_000
"""Milliseconds that a fetch of an idle consumer stands at the broker; a record that comes ends it at once.

A service has several consumers: at aiokafka's 500, those of an idle stack cost the broker a tenth of a core.
"""

FETCHER_ROUND_MS = 1_000
"""Milliseconds after which aiokafka looks for something to fetch though nothing told it to: what waits for that is a
partition that had no leader. At its own 200 this costs an idle consumer more than its fetches do."""

SESSION_MS = 10_000
"""Milliseconds after which a silent member's partitions go to its twin."""

HEARTBEATS = 6
"""Heartbeats per session time-out. A member hears of a rebalance with its heartbeat, and all others wait for it."""

MAX_POLL_INTERVAL_MS = 300_000
"""Milliseconds between polls before the group expels a member; a handler is bounded far below."""

PREFETCH_AFTER = 5.0
"""Seconds after which aiokafka may fetch for some partitions while records of others wait to be polled.

After its own 0.1 s such a fetch stands at the broker for up to FETCH_WAIT_MS, and all others with it: a node is asked
one thing at a time.
"""

TOP_UP_MS = 20
"""Milliseconds for the fetch of what came during the pause."""


RETRY = 1.0
"""Seconds after a poll that failed."""

Batch: TypeAlias = "list[ConsumerRecord[bytes, bytes]]"
"""FastStream keeps it until the next one comes: who has handled it empties it, for it may be megabytes."""
HandleBatch = Callable[[Batch, AIOKafkaConsumer], Awaitable[None]]
Settle = Callable[[], Awaitable[None]]

log = structlog.get_logger()


def subscribe(
    broker: KafkaBroker,
    topics: Sequence[Topic],
    *,
    group: str,
    max_records: int,
    suspension: Suspension,
    reach: Reach,
    handle: HandleBatch,
    give_up: Settle,
    settle_idle: Settle,
    service: str,
    session_ms: int = SESSION_MS,
    gather: Gathering | None = None,
    outstanding: Outstanding | None = None,
    fetch_max: int = FETCH_MAX,
) -> Any:
    """Register a batch subscriber; returns FastStream's object, to be started by the broker.

    `give_up` is called before partitions are given up, `settle_idle` when nothing comes: what is handled may not be
    committed yet.
    """
    defences.install()

    async def parse(batch: Batch, _original: object) -> KafkaAckableMessage:
        return KafkaAckableMessage(body=b"", headers={}, raw_message=batch, message_id="", consumer=subscriber.consumer)

    async def leave_undecoded(message: KafkaMessage) -> Batch:
        return cast("Batch", message.raw_message)

    guard = LogStartGuard({topic.name: topic for topic in topics}, suspension, service, give_up)
    subscriber = broker.subscriber(
        *(topic.name for topic in topics),
        batch=True,
        group_id=group,
        auto_offset_reset="earliest",
        ack_policy=AckPolicy.MANUAL,
        max_records=max_records,
        fetch_max_bytes=fetch_max,
        max_partition_fetch_bytes=FETCH_BYTES,
        fetch_max_wait_ms=FETCH_WAIT_MS,
        session_timeout_ms=session_ms,
        heartbeat_interval_ms=session_ms // HEARTBEATS,
        consumer_timeout_ms=FETCHER_ROUND_MS,
        max_poll_interval_ms=MAX_POLL_INTERVAL_MS,
        listener=guard,
        parser=parse,
        decoder=leave_undecoded,
    )

    async def consume(batch: Batch) -> None:
        await handle(batch, subscriber.consumer)

    # There is no hook for the poll; the override is pinned and held by a contract test.
    poll = Poll(suspension, guard, reach, max_records, settle=settle_idle, gather=gather, outstanding=outstanding)
    subscriber.get_msg = poll  # type: ignore[method-assign,assignment]
    subscriber(consume)
    return subscriber


class Poll:
    """Takes the next batch of one consumer; nothing but the consumer's end leaves it as an exception."""

    def __init__(
        self,
        suspension: Suspension,
        guard: LogStartGuard,
        reach: Reach,
        max_records: int,
        *,
        settle: Settle,
        gather: Gathering | None = None,
        outstanding: Outstanding | None = None,
    ) -> None:
        self._suspension = suspension
        self._guard = guard
        self._reach = reach
        self._max_records = max_records
        self._settle = settle
        self._gather = gather
        self._outstanding = outstanding or Outstanding()
        self._came = 0

    async def __call__(self, consumer: AIOKafkaConsumer) -> Batch:
        """Return what came within POLL_MS, possibly nothing."""
        try:
            consumer._fetcher._prefetch_backoff = PREFETCH_AFTER  # noqa: SLF001 (there is no setting for it)
            if self._reach.lost_place:
                await rewind(consumer)
                self._reach.lost_place = False
            if follow(self._suspension, consumer):
                self._guard.look_at(consumer.assignment())
            wait_ms = PAUSED_POLL_MS if self._suspension.active else POLL_MS
            records = await self._take(consumer, self._max_records, timeout_ms=wait_ms)
            taken_after = self._reach.given_up
            if not records:
                await self._settle()
            elif self._gather:
                records += await self._grown(consumer, self._gather, len(records))
            self._came = len(records)
            await self._guard.check(consumer)
            if records and taken_after != self._reach.given_up:
                self._reach.lost_place = True  # what was taken last may be of the new assignment
                records = []
            self._reach.taken_after = taken_after
        except ConsumerStoppedError:
            raise
        except Exception as error:  # noqa: BLE001 (a fetch that fails has moved positions: it is never let pass)
            log.warning("poll failed", error=type(error).__name__)
            await self._reach.failed("poll")
            await asyncio.sleep(RETRY)
            return []
        self._reach.succeeded("poll")
        return records

    async def _grown(self, consumer: AIOKafkaConsumer, gather: Gathering, came: int) -> Batch:
        """What else belongs to this batch of a stream."""
        records: Batch = []
        if self._came < gather.after.start or came >= min(gather.after.stop, self._max_records):
            return records
        if outstanding := self._outstanding.count():
            return await self._awaited(consumer, min(outstanding, self._max_records) - came, gather.seconds)
        if self._came < gather.after.stop:
            await asyncio.sleep(gather.seconds)
        # What was fetched before, and then all that came since: in the pause, or while the batch before was handled.
        for _ in range(2):
            if (room := self._max_records - came - len(records)) > 0:
                records += await self._take(consumer, room, timeout_ms=TOP_UP_MS)
        return records

    async def _awaited(self, consumer: AIOKafkaConsumer, awaited: int, seconds: float) -> Batch:
        """What is known to come, no longer than until it is there: a pause after that would be for nothing."""
        records: Batch = []
        until = time.monotonic() + seconds
        while (room := awaited - len(records)) > 0 and (left := until - time.monotonic()) > 0:
            records += await self._take(consumer, room, timeout_ms=int(1_000 * left) + 1)
        return records

    async def _take(self, consumer: AIOKafkaConsumer, most: int, *, timeout_ms: int) -> Batch:
        batches = await consumer.getmany(timeout_ms=timeout_ms, max_records=most)
        self._guard.saw(batches)
        return list(chain.from_iterable(batches.values()))


def follow(suspension: Suspension, consumer: AIOKafkaConsumer) -> bool:
    """Pause or resume as the suspension says, at every poll, because a rebalance forgets a pause.

    Returns whether partitions were resumed.
    """
    try:
        if suspension.active:
            consumer.pause(*(consumer.assignment() - consumer.paused()))
        elif paused := consumer.paused():
            consumer.resume(*paused)
            return True
    except IllegalStateError:
        pass  # a rebalance came between; the next poll asks again
    return False


async def rewind(consumer: AIOKafkaConsumer) -> None:
    """Go back to what is committed, which is what was handled.

    A fetch that raises half-way has moved aiokafka's positions past records that nobody was given. Raises KafkaError
    or TimeoutError; then nothing may be polled yet.
    """
    if not (partitions := consumer.assignment()):
        return
    for partition, (committed, start) in (await places(consumer, partitions)).items():
        with contextlib.suppress(IllegalStateError):
            consumer.seek(partition, start if committed is None else committed)
