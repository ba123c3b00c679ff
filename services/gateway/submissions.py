"""What an officer may do to a request under way: give PIN and OTP (step 8), or take it back."""

import asyncio
from collections.abc import Callable
from hashlib import sha256
from typing import Final
from uuid import UUID

import structlog

from libs.bus.outcomes import Emit
from libs.contracts.cancelling import CancelRequested
from libs.contracts.document_signature import TOKEN
from libs.contracts.ids import event_id_of
from libs.contracts.manifest import SignedManifest
from libs.contracts.problems import ProblemCode
from libs.contracts.signing import MAX_LIVE_CHALLENGES, AuthorisationSubmitted, SealedChallenge
from libs.contracts.topics import Topic
from libs.storage.pool import Connection
from services.gateway import store, timeline
from services.gateway.problems import ProblemError
from services.gateway.promises import Call, Promise, Promises, at_most
from services.gateway.schemas import Accepted, Authorisation, CancelAccepted, SigningStatus, State

MAX_AUTHORISATIONS: Final = 30
"""Per request. Five wrong OTPs and three wrong PINs end it; the rest is for seals that nobody can open."""

MAX_CANCELLATIONS: Final = 10
"""Per request; one that is sent again under its own Idempotency-Key is not another one."""

log = structlog.get_logger()


class Submissions:
    """Takes authorisations and cancels. `lane` names an authorisation's topic for a number of documents."""

    def __init__(self, promises: Promises, *, lane: Callable[[int], Topic], cancels: Topic) -> None:
        self._promises = promises
        self._lane = lane
        self._cancels = cancels

    async def authorise(self, call: Call, body: Authorisation, status: SigningStatus) -> Accepted:
        """Hand on PIN and OTP, once per idempotency key. Raises ProblemError, Unavailable."""

        async def make(connection: Connection) -> Promise:
            if status.medium == TOKEN:
                raise ProblemError(ProblemCode.WRONG_MEDIUM)
            if status.state in {"signing", "ending", "completed"}:
                raise ProblemError(ProblemCode.AUTHORISATION_TOO_LATE)
            signed = await store.manifest(connection, call.request_id)
            challenges = await store.challenges(connection, call.request_id, MAX_LIVE_CHALLENGES)
            if not challenges:
                raise ProblemError(ProblemCode.AUTHORISATION_TOO_EARLY)
            if signed is None:  # a code was sent; what came before it on another topic was not read yet
                raise ProblemError(ProblemCode.UNAVAILABLE)
            return await asyncio.to_thread(self._authorisation, call.request_id, body, signed, challenges)

        body_hash = call_hash(str(call.request_id), call.caller.user, body.sealing_key_id, body.sealed.hex())
        attempt = await self._promises.keep(call, body_hash, make, timeline.authorisation_submitted)
        log.info("authorisation-submitted", request_id=str(call.request_id))
        return Accepted(attempt=attempt, status_url=status_url(call))

    async def cancel(self, call: Call, state: State) -> CancelAccepted:
        """Ask whoever ends the request to end it now, once per idempotency key. Raises ProblemError, Unavailable."""

        async def make(_: Connection) -> Promise:
            if state in {"ending", "completed"}:
                raise ProblemError(ProblemCode.CANCELLATION_TOO_LATE)
            event = CancelRequested(
                request_id=call.request_id,
                cancellation=event_id_of("cancellation", call.request_id, call.caller.name, call.idempotency_key),
                caller=call.caller.name,
                user=call.caller.user,
            )
            within = at_most(MAX_CANCELLATIONS, "cancel-requested", call.request_id)
            return Promise((Emit(self._cancels, event),), str(event.cancellation), sealed=False, write=within)

        body_hash = call_hash("cancellation", str(call.request_id), call.caller.user)
        name = await self._promises.keep(call, body_hash, make, timeline.cancel_requested)
        log.info("cancel-requested", request_id=str(call.request_id))
        return CancelAccepted(cancellation=UUID(name), status_url=status_url(call))

    def _authorisation(
        self, request_id: UUID, body: Authorisation, signed: bytes, challenges: tuple[SealedChallenge, ...]
    ) -> Promise:
        event = AuthorisationSubmitted(
            request_id=request_id,
            signed=SignedManifest.model_validate_json(signed),
            challenges=challenges,
            sealing_key_id=body.sealing_key_id,
            sealed=body.sealed,
        )
        within = at_most(MAX_AUTHORISATIONS, "authorisation-submitted", request_id)
        lane = self._lane(len(event.signed.manifest.documents))
        return Promise((Emit(lane, event),), event.attempt, sealed=True, write=within)


def call_hash(*parts: str) -> bytes:
    """What makes two calls the same call; how their JSON is written does not."""
    return sha256("\x1f".join(parts).encode()).digest()


def status_url(call: Call) -> str:
    """Where the caller follows the request."""
    return f"/v1/signings/{call.request_id}"
