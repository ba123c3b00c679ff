"""Closes days and writes their files, in order: a crash in between repeats what was begun, byte for byte.

Closed first: what completes from then on belongs to a later day, so that the rows of a closed day are what they are.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import IO, Final
from uuid import UUID

import structlog

from libs.bus.state import caught_up
from libs.contracts import topics
from libs.contracts.manifest import Header
from libs.runtime import metrics
from libs.runtime.clock import Clock
from libs.runtime.kafka_access import KafkaAccess
from libs.storage.pool import Connection, Pool
from services.monitor import store
from services.monitor.daily_file import DailyFile, IncompleteError
from services.monitor.facts import KUALA_LUMPUR

CATCH_UP: Final = 60.0
"""Seconds that a day's end waits for the reading; then it waits for the next look."""

PAGE: Final = 10
"""Requests that are in memory at once: each may have 10,000 documents."""

OF_THE_DAY: Final = (topics.MEDIUM_RESOLVED, topics.POSTED, topics.COMPLETED)

MODE: Final = 0o640
"""It names officers: for the owner, and for the group of whoever fetches it."""

log = structlog.get_logger()


class Closing:
    """One look at a time; of two replicas each may write a day's file: it is the same."""

    def __init__(
        self,
        *,
        service: str,
        kafka: KafkaAccess,
        pool: Pool,
        clock: Clock,
        directory: Path,
        after: timedelta,
    ) -> None:
        self._service = service
        self._kafka = kafka
        self._pool = pool
        self._clock = clock
        self._directory = directory
        self._after = after
        self._told: date | None = None

    async def look(self) -> None:
        """Write the days that are over, oldest first. Raises what database and file system raise, and TimeoutError."""
        while (day := await self._due()) is not None:
            try:
                await self._make(day)
            except IncompleteError as error:
                if self._told != day:  # once per process, not at every look
                    metrics.alarm(self._service, "daily-file-incomplete", day=day.isoformat(), why=str(error))
                    self._told = day
                return

    async def _due(self) -> date | None:
        """The day whose file is to be made now: one that was closed and not written, or the next that is over."""
        async with self._pool.acquire() as connection:
            found = await store.days(connection)
        if found.closed is not None and not found.written:
            return found.closed
        # From the first day with a request on, every day has its file, also one on which nothing was completed.
        day = found.next if found.closed is None else found.closed + timedelta(days=1)
        if day is None or self._clock() < midnight_after(day) + self._after:
            return None
        async with asyncio.timeout(CATCH_UP):
            await caught_up(self._kafka, self._service, OF_THE_DAY)
        async with self._pool.acquire() as connection, connection.transaction():
            await store.close_day(connection, day, self._clock())
        return day

    async def _make(self, day: date) -> None:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o750)
        async with self._pool.acquire() as connection:
            callers = await store.callers_before(connection, day)
        files: dict[str, DailyFile] = {}
        async with AsyncExitStack() as whole:  # a request is read once, whosever it is; all files appear, or none
            outs: dict[str, IO[bytes]] = {}

            async def begin(caller: str) -> None:
                made = files[caller] = DailyFile(day, caller)
                outs[caller] = await whole.enter_async_context(_whole(self._folder(caller) / made.name))
                outs[caller].write(made.head())

            for caller in callers:
                await begin(caller)
            async for request, posted in self._requests(day):
                header = None if request.header is None else Header.model_validate_json(request.header)
                if header is None:  # refused before anybody knew whose it is
                    continue
                if header.caller not in files:
                    await begin(header.caller)
                outs[header.caller].write(files[header.caller].lines(request, header, posted))
        for caller, made in files.items():
            async with _whole(
                self._folder(caller) / f"{made.name}.json"
            ) as out:  # last: who sees it finds the file whole
                out.write(made.summary())
        async with self._pool.acquire() as connection:
            await store.mark_written(connection, day, {caller: made.sha256.hex() for caller, made in files.items()})
        log.info("daily files written", day=day.isoformat(), files=len(files))

    def _folder(self, caller: str) -> Path:
        """A caller's own directory: who fetches for one is let into that alone."""
        folder = self._directory / caller
        folder.mkdir(exist_ok=True, mode=0o750)
        return folder

    async def _requests(self, day: date) -> AsyncIterator[tuple[store.RequestOfDay, dict[str, datetime]]]:
        after = datetime.min.replace(tzinfo=UTC), UUID(int=0)
        while True:
            async with self._pool.acquire() as connection:
                page = await store.requests_of_day(connection, day, after, PAGE)
            for request in page:
                yield request, await self._posted(request)
            if len(page) < PAGE:
                return
            after = page[-1].completed_at, page[-1].request_id

    async def _posted(self, request: store.RequestOfDay) -> dict[str, datetime]:
        connection: Connection
        async with self._pool.acquire() as connection:
            return await store.posted_of(connection, request.request_id)


def midnight_after(day: date) -> datetime:
    """The end of a day in Kuala Lumpur."""
    return datetime.combine(day + timedelta(days=1), time(), KUALA_LUMPUR)


@asynccontextmanager
async def _whole(file: Path) -> AsyncIterator[IO[bytes]]:
    """A file that is there whole and on the disk when this is left, or not at all; replaces what was there."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, MODE)
    try:
        with os.fdopen(descriptor, "wb") as out:
            yield out
            out.flush()
            await asyncio.to_thread(os.fsync, out.fileno())
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
