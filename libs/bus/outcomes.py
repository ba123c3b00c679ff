"""What can become of a delivery: a closed union, and the one exception for "could not ask"."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from libs.bus.delivery import Delivery
from libs.contracts.base import Event
from libs.contracts.signing import Rejected as RejectedEvent
from libs.contracts.topics import Topic


@dataclass(frozen=True)
class Emit:
    """An event to record and publish."""

    topic: Topic
    event: Event


@dataclass(frozen=True)
class Done:
    """Handled; these events follow, possibly none."""

    emits: tuple[Emit, ...] = ()


@dataclass(frozen=True)
class Rejected:
    """Handled, with a "no" that a caller can cause; `emits` follow beside the `rejected` event."""

    event: RejectedEvent
    emits: tuple[Emit, ...] = ()


@dataclass(frozen=True)
class Poison:
    """Cannot be processed, whoever tries: dead letter and alarm. `why` names no value of the record."""

    why: str


@dataclass(frozen=True)
class Park:
    """This one record waits for something of its own (a mailbox, an issuer's CRL); its offset moves on.

    `emits` are recorded with the wait, like those of Done: what is told of it.
    """

    after: timedelta
    why: str
    emits: tuple[Emit, ...] = ()


OVERTAKEN = timedelta(seconds=5)
"""How long a record is parked, once, for what it may have overtaken on another topic: its request or our state."""


def wait_once(delivery: Delivery[Any], why: str) -> Park | Poison:
    """It waits for what it may have overtaken; what has waited before is a dead letter."""
    return Park(OVERTAKEN, why) if delivery.parked is None else Poison(why)


Outcome = Done | Rejected | Poison | Park


class Unavailable(Exception):
    """A dependency could not be asked. What is settled stays recorded; the rest is read again when it answers."""

    def __init__(self, dependency: str) -> None:
        super().__init__(dependency)
        self.dependency = dependency
