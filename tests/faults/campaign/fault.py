"""What a fault is: done to a stack under load, it returns when the part is back."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from services.igfmas.observation import Observation
from tests.faults.campaign.stacks import ORDINARY, Kind
from tests.support.chain import Client

AWAY: Final = 15.0
"""Seconds that a part is away."""

Judge = Callable[[Observation], Awaitable[Sequence[str]]]
"""Given what was seen of its load once all has ended: what must not be, beside what no fault may cost."""

Inflict = Callable[[Client, random.Random], Awaitable[Judge | None]]
"""Strikes at moments that the seed decides. From when it returns, recovery counts."""


@dataclass(frozen=True)
class Fault:
    """One fault; `refuses` are the reasons for which it may have documents rejected, `stack` is what it is done to.

    `mails_again`: whether it can come between the relay, which took a mail, and the record of that.
    """

    name: str
    inflict: Inflict
    refuses: frozenset[str] = frozenset()
    stack: Kind = ORDINARY
    mails_again: bool = False


async def moment(seeded: random.Random, least: float = 0.3, most: float = 1.5) -> None:
    """Wait until the seed says so; in seconds."""
    await asyncio.sleep(seeded.uniform(least, most))
