"""Whether the broker's clock is the database's: what is in time is judged by both (design, section 3).

Of the broker's only append times are known, and each proves one thing: none is later than now, and `posted` is appended
after posting recorded it. What waited, or is published again, is appended much later, which proves nothing.
"""

from datetime import timedelta
from typing import Final

from libs.runtime import metrics
from libs.runtime.clock import Clock
from libs.runtime.health import Health
from services.monitor.facts import Batch

APART: Final = timedelta(seconds=5)
"""By how much the two may differ before a person is called: a code lives for minutes."""

CHECK: Final = "clocks"
"""The check in /readyz."""


class Clocks:
    """Told of every batch, in order; alarms once, until a batch with `posted` in it shows that they agree."""

    def __init__(self, service: str, clock: Clock, health: Health) -> None:
        self._service = service
        self._clock = clock
        self._health = health
        self._apart = False

    def saw(self, batch: Batch) -> None:
        """Compare. Never raises."""
        ahead = timedelta() if batch.newest is None else batch.newest - self._clock()
        behind = batch.recorded_before or timedelta()
        apart = max(ahead, behind)
        if apart > APART:
            by = round((ahead if ahead > behind else -behind).total_seconds())
            if not self._apart:
                metrics.alarm(self._service, "clocks-differ", broker_ahead_seconds=by)
            self._apart = True
            self._health.set(CHECK, ok=False, detail=f"the broker's is {by:+} s to the database's")
        elif batch.recorded_before is not None:
            self._apart = False
            self._health.set(CHECK, ok=True)
