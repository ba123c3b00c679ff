"""What otp_dispatch hears of its codes: a right answer, a hold, "not me". All it does is send the next one or not."""

from typing import Final

from libs.bus.delivery import Delivery
from libs.bus.outcomes import Done, Outcome, wait_once
from libs.bus.work import Recording, Work
from libs.contracts.not_me import HOLD, NOT_OF_THE_REQUEST, NotMe, disbelieved
from libs.contracts.progress import Progressed
from libs.contracts.reasons import Reason
from libs.contracts.signing import AuthorisationFailed
from libs.storage import state
from services.otp_dispatch import store
from services.otp_dispatch.pacing import DAY

_ANSWERED: Final = frozenset({Reason.PIN_INCORRECT, Reason.AUTHORISATION_EXPIRED})
"""A PIN is tried only beside a right code; and what our own outage kept unjudged is held against nobody."""


async def progressed(work: Work[Progressed]) -> None:
    """`progressed`: what is signed was authorised by a right code."""
    async with work.recording(*work.deliveries) as recording:
        right = {each.event.request_id for each in recording.deliveries if each.event.stage == "signed"}
        if right:
            await store.answered(recording.connection, right)
        for delivery in recording.deliveries:
            recording.settle(delivery, Done())


async def authorisation_failed(work: Work[AuthorisationFailed]) -> None:
    """`authorisation-failed`: some answers say that the code was right; the signer's hold is ours as well."""
    async with work.recording(*work.deliveries) as recording:
        right = {each.event.request_id for each in recording.deliveries if each.event.reason in _ANSWERED}
        if right:
            await store.answered(recording.connection, right)
        for delivery in recording.deliveries:
            event = delivery.event
            user = await store.user_of(recording.connection, event.request_id) if event.held_until else None
            if user is not None and event.held_until is not None:
                until = min(event.held_until, delivery.appended_at + DAY)
                await store.hold(recording.connection, user, until)
            recording.settle(delivery, Done())


async def not_me(work: Work[NotMe]) -> None:
    """`not-me`: no further code for this officer for a time. hsm_signer ends the request, and raises the alarm."""
    await work.settle_each(_hold)


async def _hold(recording: Recording[NotMe], delivery: Delivery[NotMe]) -> Outcome:
    connection, said = recording.connection, delivery.event.statement
    fault = disbelieved(delivery.event, await state.user(connection, said.user), delivery.appended_at)
    if fault is None and await store.user_of(connection, said.request_id) != said.user:
        fault = NOT_OF_THE_REQUEST
    if fault is not None:
        return wait_once(delivery, fault)
    # From what was said, not from when it came: sent again, it holds no longer.
    await store.hold(connection, said.user, min(said.said_at, delivery.appended_at) + HOLD)
    return Done()
