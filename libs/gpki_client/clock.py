"""The clock of this package; everything that judges a time takes one as an argument."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Gives the present, aware, in UTC."""


def utc_now() -> datetime:
    """The machine's clock."""
    return datetime.now(UTC)
