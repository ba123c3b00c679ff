"""Work through deliveries in slices: recognise repeats, hand the rest to the handler, isolate what breaks it."""

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog

from libs.bus.dead_letter import dead_letter
from libs.bus.delivery import Delivery, Undecodable
from libs.bus.outcomes import Poison, Unavailable
from libs.bus.recording import TIMER_RETRY
from libs.bus.work import Handler, Ledgers, Progress, Work
from libs.contracts.base import Event
from libs.contracts.reasons import Reason
from libs.runtime import metrics
from libs.storage import ledger
from libs.storage.errors import is_unavailable

SLICE = 25
"""Deliveries that are claimed, acted on, recorded and published together."""

DOCUMENT_SLICE = 100
"""The same where nothing outside is acted on: a slice costs its round trips, however many documents are in it."""

DATABASE = "database"
"""The dependency's name in `Unavailable`."""

_ROOMS = [Path(__file__).parents[2] / name for name in ("libs", "services")]

Arrived = Delivery[Event] | Undecodable

log = structlog.get_logger()


class Slicer:
    """Runs one handler per topic over any number of deliveries. One call at a time per `Progress`."""

    def __init__(
        self,
        ledgers: Ledgers,
        handlers: Mapping[str, Handler[Any]],
        *,
        expired: Callable[[], bool],
        repeats_cost_nothing: bool = False,
    ) -> None:
        """`repeats_cost_nothing`: no handler acts outside, so that one may be given what was handled before."""
        self._ledgers = ledgers
        self._handlers = handlers
        self._expired = expired
        self._repeats_cost_nothing = repeats_cost_nothing

    async def run(self, arrived: Sequence[Arrived], progress: Progress) -> None:
        """Handle one of `slices`; `progress` says what was handled.

        Raises Unavailable; what was settled before stays settled.
        """
        try:
            await self._slice(arrived, progress)
        except Exception as error:
            if is_unavailable(error):
                raise Unavailable(DATABASE) from error
            raise

    async def _slice(self, part: Sequence[Arrived], progress: Progress) -> None:
        undecodable = [arrived for arrived in part if isinstance(arrived, Undecodable)]
        if undecodable:
            await self._bury(undecodable, progress)
        first: dict[UUID, Delivery[Event]] = {}
        repeats = [
            arrived
            for arrived in part
            if isinstance(arrived, Delivery) and first.setdefault(arrived.id, arrived) is not arrived
        ]
        fresh = list(first.values())
        if not self._repeats_cost_nothing:
            fresh = await self._fresh(fresh, progress)
        if fresh:
            await self._handle(fresh, progress)
        if progress.lost:
            # Handled before, by us or a twin. Same content: a repeat. Other content: a conflict, never unseen.
            await self._fresh([delivery for delivery in fresh if delivery.coordinates in progress.lost], progress)
            progress.lost.clear()
        if repeats:
            await self._repeats(repeats, first, progress)

    async def _repeats(
        self, repeats: Sequence[Delivery[Event]], first: Mapping[UUID, Delivery[Event]], progress: Progress
    ) -> None:
        """Judge what came twice in one slice, once its first coming is handled; before that both are read again."""
        again = []
        for repeat in repeats:
            earlier = first[repeat.id]
            if earlier.coordinates not in progress.handled:
                continue
            refused = isinstance(progress.handled[earlier.coordinates], Poison)
            if refused or earlier.content_hash != repeat.content_hash:
                again.append(repeat)
            else:
                progress.handled[repeat.coordinates] = None
        if again:
            await self._slice(again, progress)

    async def _fresh(self, deliveries: Sequence[Delivery[Event]], progress: Progress) -> list[Delivery[Event]]:
        """Those not handled before; publish first what was recorded for any of them and never marked as published."""
        if not deliveries:
            return []
        async with self._ledgers.pool.acquire() as connection:
            seen, left = await ledger.seen(
                connection, [delivery.id for delivery in deliveries], [delivery.cause for delivery in deliveries]
            )
            leftovers = await self._ledgers.published.without(ledger.unpublished(connection, left)) if left else []
        if leftovers:
            await self._ledgers.publish(leftovers)
        fresh: list[Delivery[Event]] = []
        repeated: list[Delivery[Event]] = []
        conflicts: list[Delivery[Event]] = []
        for delivery in deliveries:
            found = seen.get(delivery.id)
            if delivery.parked is not None:
                # The row of a parked record finds its own mark; without it the record was handled, or buried.
                waits = found is None if delivery.is_timer else found is not None and found.parked
                (fresh if waits else repeated).append(delivery)
            elif found is None:
                fresh.append(delivery)
            else:
                repeated.append(delivery)
                if found.content_hash != delivery.content_hash:
                    conflicts.append(delivery)
        if conflicts:
            await self._bury_conflicts(conflicts, progress)
        for delivery in repeated:
            progress.handled.setdefault(delivery.coordinates, None)
        return fresh

    async def _handle(self, deliveries: Sequence[Delivery[Event]], progress: Progress) -> None:
        handler = self._handlers[deliveries[0].topic.name]
        try:
            await handler(self._work(deliveries, progress))
        except Exception as error:
            if isinstance(error, Unavailable) or is_unavailable(error):
                raise
            log.exception("handler failed", topic=deliveries[0].topic.name, deliveries=len(deliveries))
            left = [
                d for d in deliveries if d.coordinates not in progress.handled and d.coordinates not in progress.lost
            ]
            if len(deliveries) > 1:
                for delivery in left:
                    await self._handle([delivery], progress)
            elif left:
                await self._give_up(left[0], _scrubbed(error), progress)

    async def _give_up(self, delivery: Delivery[Event], error: str, progress: Progress) -> None:
        async with self._work([delivery], progress).recording(delivery) as recording:
            for claimed in recording.deliveries:
                recording.settle(claimed, Poison(f"the handler failed: {error}"))

    async def _bury(self, undecodable: Sequence[Undecodable], progress: Progress) -> None:
        timers = [arrived.parked for arrived in undecodable if arrived.parked and arrived.parked.is_timer]
        letters = [arrived for arrived in undecodable if not (arrived.parked and arrived.parked.is_timer)]
        async with self._ledgers.pool.acquire() as connection, connection.transaction():
            for timer in timers:
                await ledger.park_again(connection, timer, TIMER_RETRY, "undecodable")
            await ledger.bury_parked(connection, [arrived.parked.id for arrived in letters if arrived.parked])
            outcomes = [dead_letter(arrived, arrived.why, service=self._ledgers.service) for arrived in letters]
            new = await ledger.record(connection, outcomes)
        await self._publish_letters(outcomes, new)
        for arrived in undecodable:
            progress.handled[arrived.coordinates] = Poison(arrived.why)
            metrics.HANDLED.labels(self._ledgers.service, arrived.topic.name, "poison").inc()
            metrics.DEAD_LETTERS.labels(self._ledgers.service, arrived.topic.name).inc()
            if arrived.forged:
                metrics.alarm(self._ledgers.service, "forged-event", topic=arrived.topic.name, why=arrived.why)
            else:
                metrics.alarm(self._ledgers.service, "undecodable", topic=arrived.topic.name, why=arrived.why)

    async def _bury_conflicts(self, conflicts: Sequence[Delivery[Event]], progress: Progress) -> None:
        whys = [f"{Reason.ID_CONFLICT}: refused content {delivery.content_hash.hex()}" for delivery in conflicts]
        async with self._ledgers.pool.acquire() as connection:
            outcomes = [
                dead_letter(delivery, why, service=self._ledgers.service)
                for delivery, why in zip(conflicts, whys, strict=True)
            ]
            new = await ledger.record(connection, outcomes)
        await self._publish_letters(outcomes, new)
        for delivery, why in zip(conflicts, whys, strict=True):
            progress.handled[delivery.coordinates] = Poison(why)
            metrics.DEAD_LETTERS.labels(self._ledgers.service, delivery.topic.name).inc()
            metrics.alarm(self._ledgers.service, Reason.ID_CONFLICT, topic=delivery.topic.name, why=why)

    async def _publish_letters(self, letters: Sequence[ledger.Outcome], new: set[UUID]) -> None:
        """Publish what is new, and what is known and was never marked as published: a replay adds no letter."""
        records = [(letter.event_id, letter.record) for letter in letters if letter.event_id in new]
        known = [letter.event_id for letter in letters if letter.event_id not in new]
        if known:
            async with self._ledgers.pool.acquire() as connection:
                records += await self._ledgers.published.without(ledger.unpublished(connection, (), known))
        await self._ledgers.publish(records)

    def _work(self, deliveries: Sequence[Delivery[Event]], progress: Progress) -> Work[Event]:
        return Work(deliveries, self._ledgers, progress, expired=self._expired)


def _scrubbed(error: Exception) -> str:
    """The kind of an error and the line of ours that met it; never its text, which may hold a value of the record."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        for room in _ROOMS:
            if room in Path(frame.filename).parents:
                return f"{type(error).__name__} at {Path(frame.filename).relative_to(room.parent)}:{frame.lineno}"
    return type(error).__name__


def slices(arrived: Sequence[Arrived], size: int = SLICE) -> Iterator[Sequence[Arrived]]:
    """Cut into runs of one topic, at most `size` long, in the order read."""
    start = 0
    for end in range(1, len(arrived) + 1):
        last = end == len(arrived)
        if last or end - start == size or arrived[end].topic is not arrived[start].topic:
            yield arrived[start:end]
            start = end
