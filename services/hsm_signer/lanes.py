"""Two lanes over one HSM: the interactive one first, and what waited behind our own backlog is not late."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from libs.runtime.clock import Clock

YIELD_BOUND = 0.25
"""Seconds that a bulk slice lets interactive work pass before it takes its turn."""


class Lane:
    """One lane of authorisations."""

    def __init__(self, clock: Clock, last_worked: datetime | None = None) -> None:
        """`last_worked`: by any replica, so that one that joins a busy lane calls nobody late."""
        self._clock = clock
        self._working = 0
        self._late = 0
        self._last_worked = last_worked
        self._idle = asyncio.Event()
        self._idle.set()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Around each authorisation that is handled, not around one that waits for a dependency."""
        self._working += 1
        self._idle.clear()
        try:
            yield
            if not self._late:
                self._last_worked = self._clock()
        finally:
            self._working -= 1
            if not self._working:
                self._late = 0
                self._idle.set()

    def is_late(self) -> None:
        """What is handled now is refused as late: what waited with it through the same outage is late too."""
        self._late += 1

    def outage_wait(self, appended_at: datetime) -> timedelta:
        """How long a record waited while this lane did nothing: an outage of ours, never our own backlog."""
        since = appended_at if self._last_worked is None else max(appended_at, self._last_worked)
        return self._clock() - since

    async def let_pass(self) -> None:
        """Wait until this lane is idle, bounded."""
        try:
            await asyncio.wait_for(self._idle.wait(), YIELD_BOUND)
        except TimeoutError:
            return
