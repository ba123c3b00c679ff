"""The rule of the pace: how many codes an officer is sent that no right answer has followed (design section 4.5)."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

PACES: Final = (
    (10, timedelta(minutes=1)),
    (20, timedelta(hours=1)),
    (30, timedelta(hours=24)),
)
"""At most so many codes in so long, over all callers and requests, since the officer's last right answer.

Who answers is sent as many as he needs; who floods a mailbox cannot answer.
"""

DAY: Final = max(window for _, window in PACES)
MOST: Final = max(count for count, _ in PACES)


@dataclass
class Officer:
    """An officer's codes of the last day that no right answer has followed, by when they were reserved, newest first.

    `held_until`: a hold of another origin: too many wrong codes, or "not me". `references`: those of the codes that
    live, which no further one is told by.
    """

    held_until: datetime | None = None
    unanswered: list[datetime] = field(default_factory=list)
    references: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Held:
    """No code before then; nothing was reserved."""

    until: datetime


def pace(officer: Officer, now: datetime) -> Held | None:
    """None: the next code may be made now."""
    ends = [officer.unanswered[count - 1] + window for count, window in PACES if len(officer.unanswered) >= count]
    until = max([*ends, officer.held_until or now])
    return Held(until) if until > now else None
