"""`cancel-requested`: what is signed stays signed, everything else of the request is rejected `cancelled`."""

from collections.abc import Sequence
from uuid import UUID

from libs.bus.cancelling import answers
from libs.bus.outcomes import Done, Outcome, Poison, Rejected
from libs.bus.work import Work
from libs.contracts import topics
from libs.contracts.cancelling import CancelAnswer, CancelRequested
from libs.contracts.reasons import Reason
from libs.storage import cancels
from libs.storage.pool import Connection
from services.hsm_signer import store
from services.hsm_signer.refusal import stop


async def cancel_requested(work: Work[CancelRequested]) -> None:
    """Cancel what is here; keep what comes before its request, of which medium_lookup may be the judge still."""
    for delivery in work.deliveries:
        async with work.recording(delivery) as recording:
            for claimed in recording.deliveries:
                recording.settle(claimed, await _outcome(recording.connection, claimed.event))


async def cancel(connection: Connection, request: store.Request, asked: Sequence[UUID]) -> Rejected | Done:
    """End a request whose row is locked, as far as it has not ended or been signed, and answer all who asked."""
    if request.end_reason is not None:
        answer: CancelAnswer = "accepted" if request.end_reason is Reason.CANCELLED else "too-late"
        return Done(answers(topics.CANCEL_ANSWERED, request.request_id, asked, answer))
    stopped = await stop(connection, request, Reason.CANCELLED)
    if isinstance(stopped, Done):
        return Done(answers(topics.CANCEL_ANSWERED, request.request_id, asked, "too-late"))
    return Rejected(stopped.event, answers(topics.CANCEL_ANSWERED, request.request_id, asked, "accepted"))


async def _outcome(connection: Connection, event: CancelRequested) -> Outcome:
    await cancels.lock(connection, event.request_id)
    request = await store.lock_request(connection, event.request_id)
    if request is None:
        await cancels.keep(connection, event)
        return Done()
    if (request.header.caller, request.header.user) != (event.caller, event.user):
        return Poison("the cancel is not of the request's caller and user")
    return await cancel(connection, request, [event.cancellation])
