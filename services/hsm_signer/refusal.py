"""How the signer says no: to one attempt, to a whole request, or to the rest of what was reserved."""

from datetime import datetime
from functools import partial
from typing import Final

import structlog

from libs.bus.cancelling import Cancelling
from libs.bus.delivery import Delivery
from libs.bus.outcomes import Done, Emit, Rejected
from libs.contracts import topics
from libs.contracts.manifest import Header
from libs.contracts.reasons import Reason
from libs.contracts.signing import AuthorisationFailed, AuthorisationSubmitted
from libs.contracts.signing import Rejected as RejectedEvent
from libs.storage.pool import Connection
from services.hsm_signer import store
from services.hsm_signer.authorisation import Refused

log = structlog.get_logger()


def failure(delivery: Delivery[AuthorisationSubmitted], refused: Refused, left: int | None) -> Emit:
    """Why this attempt did not authorise, and how many more there are of what was wrong."""
    event = AuthorisationFailed(
        request_id=delivery.event.request_id,
        attempt=delivery.event.attempt,
        reason=refused.reason,
        reference_code=refused.reference_code,
        attempts_left=left,
        held_until=refused.held_until,
        safe_to_retry=refused.reason.safe_to_retry,
    )
    return Emit(topics.AUTHORISATION_FAILED, event)


def failed(delivery: Delivery[AuthorisationSubmitted], refused: Refused) -> Done:
    """This attempt did not authorise, and nothing else follows from it."""
    return Done((failure(delivery, refused, None),))


def rejected(
    header: Header,
    reason: Reason,
    *emits: Emit,
    documents: tuple[str, ...] | None = None,
    held_until: datetime | None = None,
) -> Rejected:
    """These documents, or the whole request (none of whose documents was signed then)."""
    event = RejectedEvent(
        request_id=header.request_id,
        header=header,
        documents=documents,
        stage="hsm_signer",
        reason=reason,
        held_until=held_until,
        safe_to_retry=reason.safe_to_retry,
    )
    return Rejected(event, emits)


async def stop(connection: Connection, request: store.Request, reason: Reason) -> Rejected | Done:
    """End a request that is open and whose row is locked: all of it, or what is not signed yet; Done if nothing is."""
    if request.attempt is None:
        await store.end_request(connection, request.request_id, reason)
        return rejected(request.header, reason)
    # A slice that is being signed now finds its documents taken, and what it made of them goes nowhere.
    return await refuse_rest(connection, request.header, reason)


CANCELLING: Final = Cancelling(topics.CANCEL_ANSWERED, store.lock_request, partial(stop, reason=Reason.CANCELLED))
"""What comes before its request may be medium_lookup's to answer still."""


async def refuse_rest(connection: Connection, header: Header, reason: Reason) -> Rejected | Done:
    """End an authorised request: what is reserved and not signed is rejected by name, what is signed stays signed."""
    left = await store.reject_reserved(connection, header.request_id)
    if not left:
        return Done()
    await store.end_request(connection, header.request_id, reason)
    log.warning("signing refused", request_id=str(header.request_id), reason=reason, documents=len(left))
    return rejected(header, reason, documents=tuple(left))
