"""What a handler is given: fresh deliveries, and the one way to record and publish what became of them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from uuid import UUID

from libs.bus.delivery import Coordinates, Delivery
from libs.bus.outcomes import Outcome
from libs.bus.published import Published
from libs.bus.publisher import Publisher
from libs.bus.recording import Recording
from libs.bus.signing import Sign, unsigned
from libs.contracts.base import Event
from libs.contracts.cloudevents import Record
from libs.runtime.clock import Clock
from libs.storage import ledger
from libs.storage.pool import Connection, Pool

__all__ = ["Handler", "Ledgers", "Progress", "Recording", "Work"]

E = TypeVar("E", bound=Event)


@dataclass(frozen=True)
class Ledgers:
    """What every recording of one service needs."""

    service: str
    pool: Pool
    publisher: Publisher
    published: Published
    clock: Clock
    sign: Sign = unsigned

    async def publish(self, records: Sequence[tuple[UUID, Record]]) -> None:
        """Publish recorded outcomes; not those that were acknowledged and wait for their mark. Raises Unavailable."""
        once = {identifier: record for identifier, record in records if identifier not in self.published}
        await self.publisher.publish(list(once.values()))
        self.published.add(once)


@dataclass
class Progress:
    """What is known of one batch.

    `handled`: what became of which delivery. `lost`: what a twin has handled meanwhile, yet to be judged as repeats.
    """

    handled: dict[Coordinates, Outcome | None] = field(default_factory=dict)
    lost: set[Coordinates] = field(default_factory=set)


class Work(Generic[E]):
    """A slice for a handler: `deliveries` were not handled before, and are in the order they were read."""

    def __init__(
        self,
        deliveries: Sequence[Delivery[E]],
        ledgers: Ledgers,
        progress: Progress,
        *,
        expired: Callable[[], bool],
    ) -> None:
        self.deliveries = tuple(deliveries)
        self._ledgers = ledgers
        self._progress = progress
        self._expired = expired

    @property
    def out_of_time(self) -> bool:
        """Whether the handler must return now; what it did not settle is read again, and goes on where it stopped."""
        return self._expired()

    @asynccontextmanager
    async def reserving(self) -> AsyncIterator[Connection]:
        """A transaction before the act: take the attempt, the code, the documents; fix what the effect will be."""
        async with self._ledgers.pool.acquire() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Connection]:
        """A connection for one statement that writes nothing; two see two states."""
        async with self._ledgers.pool.acquire() as connection:
            yield connection

    @asynccontextmanager
    async def recording(self, *claim: Delivery[E]) -> AsyncIterator[Recording[E]]:
        """One transaction for the outcomes of the claimed deliveries; on leaving it, what was recorded is published.

        Raises Unavailable when it could not be published: it stays recorded, and the replay publishes it.
        """
        async with self._ledgers.pool.acquire() as connection, connection.transaction():
            won = await _claim(connection, claim)
            recording = Recording(
                connection,
                tuple(delivery for delivery in claim if delivery.id in won),
                service=self._ledgers.service,
                clock=self._ledgers.clock,
                sign=self._ledgers.sign,
            )
            yield recording
            new = await recording.write()
        recording.count()
        records = [(outcome.event_id, outcome.record) for outcome in recording.outcomes if outcome.event_id in new]
        known = [outcome.event_id for outcome in recording.outcomes if outcome.event_id not in new]
        if known:
            # What was recorded first is what is published, however this attempt came out.
            async with self._ledgers.pool.acquire() as connection:
                records += await self._ledgers.published.without(ledger.unpublished(connection, (), known))
        await self._ledgers.publish(records)
        self._progress.handled.update(recording.settled)
        self._progress.lost.update(delivery.coordinates for delivery in claim if delivery.id not in won)

    async def settle_each(self, judge: Callable[[Recording[E], Delivery[E]], Awaitable[Outcome]]) -> None:
        """Record the deliveries one after another, a transaction each: `judge` says there what becomes of one.

        Raises what it raises, and Unavailable as `recording` does; those before are settled then.
        """
        for delivery in self.deliveries:
            async with self.recording(delivery) as recording:
                for claimed in recording.deliveries:
                    recording.settle(claimed, await judge(recording, claimed))

    async def publish(self, records: Sequence[tuple[UUID, Record]]) -> None:
        """Publish what was recorded before, again too, as `Ledgers.publish` does. Raises Unavailable."""
        await self._ledgers.publish(records)


async def _claim(connection: Connection, deliveries: Sequence[Delivery[E]]) -> set[UUID]:
    parked = [delivery.id for delivery in deliveries if delivery.parked and not delivery.is_timer]
    fresh = [
        (delivery.id, delivery.content_hash) for delivery in deliveries if not delivery.parked or delivery.is_timer
    ]
    won = await ledger.claim(connection, fresh)
    return won | await ledger.claim_parked(connection, parked) if parked else won


Handler = Callable[[Work[E]], Awaitable[None]]
"""Settles what it can of a slice; what it leaves is read again. Raises Unavailable when it could not ask."""
