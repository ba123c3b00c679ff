"""Time as an input: claim due rows and run them through the same handlers; the row plays the offset."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Self

import structlog

from libs.bus.delivery import Undecodable, decode_parked, nobody
from libs.bus.outcomes import Unavailable
from libs.bus.producers import UNKNOWN_KEY, Producers
from libs.bus.publisher import BROKER
from libs.bus.slices import DATABASE, SLICE, Arrived, Slicer, slices
from libs.bus.suspension import Suspension
from libs.bus.work import Ledgers, Progress
from libs.contracts.topics import Topic
from libs.runtime import metrics
from libs.storage import ledger
from libs.storage.errors import is_unavailable
from libs.storage.ledger import Due
from libs.storage.pool import Pool

LEASE = timedelta(seconds=15)
"""For how long a claimed row is ours. Renewed three times as often while it is worked, so that a twin, or the process
that comes after us, takes it from the dead and the frozen alone, and soon."""

RENEWALS = 3

BOUND = 60.0
"""Seconds that one round of due rows is worked."""

IDLE = 0.5
"""Seconds between looks when nothing is due."""

RELEASE = timedelta(seconds=1)
"""A row that was claimed and not handled is claimed again after this."""

LEFTOVER_LOOK = 15.0
"""Seconds between looks for outcomes that nobody has published."""

LEFTOVER_AGE = timedelta(seconds=60)
"""What is recorded is published within milliseconds, or by the replay. What is older has lost its replay: an event of
a timer that moved on, or a mark that failed when its process ended."""

log = structlog.get_logger()


class Lease:
    """Keeps the rows of one claim ours while entered, whatever the database answers meanwhile."""

    def __init__(self, pool: Pool, rows: Sequence[Due], lasting: timedelta) -> None:
        self.rows = rows
        self.until = rows[0].leased_until
        self._pool = pool
        self._lasting = lasting
        self._renewing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._renewing = asyncio.create_task(self._renew())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._renewing is not None
        self._renewing.cancel()
        await asyncio.wait({self._renewing})

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._lasting.total_seconds() / RENEWALS)
            try:
                async with self._pool.acquire() as connection:
                    self.until = await ledger.renew_due(connection, self.rows, self.until, self._lasting)
            except Exception as error:
                if not is_unavailable(error):
                    raise
                log.warning("lease not renewed", error=type(error).__name__)


class DueWorker:
    """Runs due rows of one service, a slice at a time; replicas share them by lease."""

    def __init__(
        self,
        *,
        ledgers: Ledgers,
        topics: Mapping[str, Topic],
        slicer: Callable[[Callable[[], bool]], Slicer],
        suspension: Suspension,
        suspension_of: Callable[[str], Suspension],
        lease: timedelta = LEASE,
        producers: Producers | None = None,
    ) -> None:
        self._producers = producers
        self._ledgers = ledgers
        self._topics = topics
        self._suspension = suspension
        self._suspension_of = suspension_of
        self._suspensions: dict[str, Suspension] = {}
        """Of topics whose rows wait for something that others do not need."""
        self._slicer = slicer(self._expired)
        self._lease = lease
        self._stopping = asyncio.Event()
        self._until = 0.0
        self._next_look = 0.0

    def stop(self) -> None:
        """Finish the slice at hand, then return from `run`."""
        self._stopping.set()

    async def run(self) -> None:
        """Until stopped. Raises nothing but cancellation."""
        while not self._stopping.is_set():
            worked = 0
            if not self._suspension.active:
                try:
                    worked = await self._round()
                    await self._sweep()
                except Exception as error:  # noqa: BLE001 (classified: a due row is never lost to a failure)
                    self._suspension.suspend(self._dependency(error))
            if not worked:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), IDLE)

    def _dependency(self, error: Exception) -> str:
        if isinstance(error, Unavailable):
            return error.dependency
        if is_unavailable(error):
            return DATABASE
        log.error("the due worker failed", exc_info=error)
        metrics.alarm(self._ledgers.service, "due-worker-failed")
        return "due"

    async def _round(self) -> int:
        self._until = time.monotonic() + BOUND
        async with self._ledgers.pool.acquire() as connection:
            rows = await ledger.claim_due(connection, what=self._workable(), lease=self._lease, limit=SLICE)
        if not rows:
            return 0
        progress = Progress()
        arrived = await self._decoded(rows)
        lease = Lease(self._ledgers.pool, rows, self._lease)
        try:
            async with lease:
                for part in slices(sorted(arrived, key=lambda each: each.topic.name)):
                    if self._expired():
                        break
                    await self._work(part, progress)
        finally:
            handled = await self._finish(lease, arrived, progress)
        return handled

    async def _work(self, part: Sequence[Arrived], progress: Progress) -> None:
        """Work rows of one topic. What only they need and is away keeps no rows of others, and no timer."""
        try:
            await self._slicer.run(part, progress)
        except Unavailable as unavailable:
            if unavailable.dependency in (BROKER, DATABASE):
                raise
            self._waiting(part[0].topic.name).suspend(unavailable.dependency)

    def _waiting(self, topic: str) -> Suspension:
        if topic not in self._suspensions:
            self._suspensions[topic] = self._suspension_of(f"due {topic}")
        return self._suspensions[topic]

    async def _decoded(self, rows: Sequence[Due]) -> list[Arrived]:
        """Decode; a producer's key that is not known yet is looked for once, as for what comes from the broker."""
        arrived = self._decode(rows)
        if self._producers and any(isinstance(one, Undecodable) and one.why == UNKNOWN_KEY for one in arrived):
            await self._producers.look()
            arrived = self._decode(rows)
        return arrived

    def _decode(self, rows: Sequence[Due]) -> list[Arrived]:
        judge = self._producers.judge if self._producers else nobody
        return [decode_parked(self._topics[row.what], row, judge) for row in rows]

    def _workable(self) -> list[str]:
        waiting = {topic for topic, suspension in self._suspensions.items() if suspension.active}
        return [topic for topic in self._topics if topic not in waiting]

    async def _finish(self, lease: Lease, arrived: Sequence[Arrived], progress: Progress) -> int:
        """Mark, delete what was handled, give back the rest. What cannot be told to the database, the lease tells."""
        claimed = list(zip(lease.rows, arrived, strict=True))
        done = [row for row, each in claimed if each.coordinates in progress.handled]
        left = [row for row, each in claimed if each.coordinates not in progress.handled]
        await self._ledgers.published.mark()
        async with self._ledgers.pool.acquire() as connection:
            await ledger.finish_due(connection, done)
            await ledger.release_due(connection, left, lease.until, RELEASE)
        return len(done)

    async def _sweep(self) -> None:
        """Mark what waits for its mark: that has not lost its replay. Then publish what has."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + LEFTOVER_LOOK
        await self._ledgers.published.mark()
        async with self._ledgers.pool.acquire() as connection:
            leftovers = await self._ledgers.published.without(
                ledger.leftovers(connection, older_than=LEFTOVER_AGE, limit=SLICE)
            )
        if leftovers:
            await self._ledgers.publish(leftovers)
            await self._ledgers.published.mark()
            self._next_look = 0.0
            log.warning("published what had lost its replay", count=len(leftovers))

    def _expired(self) -> bool:
        return self._stopping.is_set() or time.monotonic() > self._until
