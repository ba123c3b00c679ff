"""The wall clock: the only module that reads it; everything else is given a `Clock`."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Returns the present as an aware UTC datetime; a rule that depends on time takes one, and tests move it."""


def utc_now() -> datetime:
    """The present of this host, aware, UTC. Not monotonic: measure durations with `time.monotonic`."""
    return datetime.now(UTC)
