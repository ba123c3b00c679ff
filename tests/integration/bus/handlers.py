"""Handlers as small as a test can have them."""

from collections.abc import Iterable

from libs.bus.delivery import Delivery
from libs.bus.outcomes import Done, Emit, Outcome
from libs.bus.work import Handler, Work
from libs.contracts.topics import Topic
from tests.support.bus import Step


def pass_on(target: Topic, acts: list[str] | None = None) -> Handler[Step]:
    """Record each event on `target`; `acts` collects the documents that were acted on, before they are recorded."""

    async def handle(work: Work[Step]) -> None:
        if acts is not None:
            acts.extend(delivery.event.document for delivery in work.deliveries)
        await settle(work, {delivery.event.document: passed(target, delivery.event) for delivery in work.deliveries})

    return handle


def passed(target: Topic, event: Step) -> Done:
    return Done((Emit(target, event),))


async def settle(work: Work[Step], outcomes: dict[str, Outcome]) -> None:
    """Record the outcomes, by document, of what this slice claims."""
    async with work.recording(*work.deliveries) as recording:
        for delivery in recording.deliveries:
            if delivery.event.document in outcomes:
                recording.settle(delivery, outcomes[delivery.event.document])


def doubled(values: Iterable[str]) -> list[str]:
    """What stands more than once."""
    values = list(values)
    return sorted({value for value in values if values.count(value) > 1})


def deciding(seen: list[Delivery[Step]], *outcomes: Outcome) -> Handler[Step]:
    """Settle deliveries with these outcomes, one after another, the last one again and again."""

    async def handle(work: Work[Step]) -> None:
        seen.extend(work.deliveries)
        async with work.recording(*work.deliveries) as recording:
            for delivery in recording.deliveries:
                recording.settle(delivery, outcomes[min(len(seen), len(outcomes)) - 1])

    return handle
