"""The time by which a service judges: the database's, which all replicas share. A host's own clock may be wrong."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from libs.runtime import metrics
from libs.runtime.clock import Clock, utc_now
from libs.runtime.health import Health
from libs.storage.errors import DatabaseUnavailable
from libs.storage.pool import Pool

EVERY: Final = 30.0
"""Seconds between two looks. Between them two quartz clocks part by a few milliseconds at most."""

PROMPT: Final = 1.0
"""Seconds that an answer may take. The time is known to half of it; who froze meanwhile learns nothing."""

TRIES: Final = 10
"""Looks at the start of a service before it gives up; the supervisor starts it again."""

WRONG: Final = timedelta(seconds=5)
"""By how much this host's clock may be off before a person is called: certificates of TLS and logs go by it."""

CHECK: Final = "host-clock"
"""The check in /readyz whose detail says by how much this host's clock is wrong. It is good: nothing waits for it."""

log = structlog.get_logger()


class DatabaseClock:
    """A `Clock` that has asked the database once, and counts on from there; no step of the host's clock moves it."""

    def __init__(self, service: str, host: Clock = utc_now, health: Health | None = None) -> None:
        self._service = service
        self._host = host
        self._health = health
        self._at = datetime.min.replace(tzinfo=UTC)
        self._counted = 0.0

    def __call__(self) -> datetime:
        return self._at + timedelta(seconds=_count() - self._counted)

    async def start(self, pool: Pool) -> None:
        """Ask until an answer is prompt. Raises DatabaseUnavailable, and what the database raises."""
        for _ in range(TRIES):
            if await self.look(pool):
                return
        raise DatabaseUnavailable

    async def keep(self, pool: Pool) -> None:
        """Ask again and again, until cancelled; while the database is away, count on."""
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self.look(pool)
            except Exception as error:  # noqa: BLE001 (whatever it is, the next look may succeed)
                log.warning("the time was not asked", error=type(error).__name__)

    async def look(self, pool: Pool) -> bool:
        """Ask once; False, and nothing learned, when the answer took too long.

        Alarms when this host's clock is off, and says so in CHECK.
        """
        async with pool.acquire() as connection:
            before = _count()
            at: datetime = await connection.fetchval("SELECT clock_timestamp()")
            took = _count() - before
        if took > PROMPT:
            return False
        self._at, self._counted = at, before + took / 2
        off = self._host() - self()
        seconds, wrong = round(off.total_seconds()), abs(off) > WRONG
        if wrong:
            metrics.alarm(self._service, "clock-wrong", seconds=seconds)
        if self._health is not None:
            self._health.set(CHECK, ok=True, detail=f"{seconds:+} s to the database's" if wrong else "")
        return True


def _count() -> float:
    """Seconds since some moment; they go on while the machine sleeps, and nobody sets them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
