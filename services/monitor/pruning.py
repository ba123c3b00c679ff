"""Lets go of what is settled, listed in its day's file, and old.

A day is marked before the first row of it goes: what the topics repeat of it afterwards gets into no second file.
"""

from datetime import date, timedelta
from typing import Final

import structlog

from libs.runtime.clock import Clock
from libs.storage.pool import Pool
from services.monitor import store
from services.monitor.facts import KUALA_LUMPUR

AT_ONCE: Final = 10
"""Requests that go in one transaction: each may have 10,000 documents."""

log = structlog.get_logger()


class Pruning:
    """Once a day, and when the process begins; two replicas at once do no harm."""

    def __init__(self, *, pool: Pool, clock: Clock, keep: timedelta) -> None:
        self._pool = pool
        self._clock = clock
        self._keep = keep
        self._pruned: date | None = None

    async def look(self) -> None:
        """Prune the days that ended longer than `keep` ago and have their files. Raises what the database raises."""
        now = self._clock()
        before = (now - self._keep).astimezone(KUALA_LUMPUR).date()
        if before == self._pruned:
            return
        async with self._pool.acquire() as connection, connection.transaction():
            await store.mark_pruned(connection, before, now)
        requests = documents = 0
        while True:
            async with self._pool.acquire() as connection:
                gone = await store.prune(connection, AT_ONCE)
            requests, documents = requests + gone.requests, documents + gone.documents
            if gone.requests < AT_ONCE:
                break
        self._pruned = before
        if requests:
            log.info("pruned", before=before.isoformat(), requests=requests, documents=documents)
