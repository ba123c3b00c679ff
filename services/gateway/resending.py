"""Another code: asked for here, answered by otp_dispatch, and waited for by a submission that comes meanwhile."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Final
from uuid import UUID

import asyncpg
import structlog
from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from libs.bus.outcomes import Emit
from libs.contracts.ids import event_id_of
from libs.contracts.manifest import SignedManifest
from libs.contracts.problems import ProblemCode
from libs.contracts.resending import ResendRequested
from libs.contracts.signing import Channel
from libs.contracts.topics import Topic
from libs.storage.pool import Connection, Pool
from libs.storage.queries import load_queries
from services.gateway import timeline
from services.gateway.access import ACQUIRE_TIMEOUT
from services.gateway.answers import CallerOf, IdempotencyKey, json_answer
from services.gateway.authentication import Caller
from services.gateway.descriptions import problems
from services.gateway.problems import ProblemError
from services.gateway.promises import Call, Promise, Promises, at_most
from services.gateway.schemas import OtpResend, ResendAccepted, SigningStatus
from services.gateway.submissions import call_hash, status_url

HOLD: Final = 5.0
"""Seconds that a submission waits for the code that was asked for before it."""

LOOK: Final = 0.1
"""Seconds between two looks: a twin may be the one that reads the answer."""

MAX_RESENDS: Final = 10
"""Per request; otp_dispatch gives three codes, and answers the others."""

_SQL = load_queries(Path(__file__).parent / "sql" / "resending.sql")

log = structlog.get_logger()


class Resends:
    """Takes asks for another code. Any number of replicas."""

    def __init__(self, promises: Promises, *, pool: Pool, topic: Topic) -> None:
        self._promises = promises
        self._pool = pool
        self._topic = topic

    async def ask(self, call: Call, channel: Channel | None, status: SigningStatus) -> ResendAccepted:
        """Ask otp_dispatch for another code, once per idempotency key. Raises ProblemError, Unavailable."""

        async def make(connection: Connection) -> Promise:
            if status.state in {"signing", "ending", "completed"}:
                raise ProblemError(ProblemCode.RESEND_TOO_LATE)
            row = await connection.fetchrow(_SQL["resolved"], call.request_id)
            if status.medium is None or row is None:
                raise ProblemError(ProblemCode.RESEND_TOO_EARLY)
            if status.medium != "roaming-otp":
                raise ProblemError(ProblemCode.RESEND_NOT_ROAMING)
            if row["requested_at"] is None:
                raise ProblemError(ProblemCode.RESEND_TOO_LATE)  # it is older than resending
            return await asyncio.to_thread(self._promise, call, channel, row)

        body_hash = call_hash("resend", str(call.request_id), call.caller.user, channel or "")
        row = partial(timeline.resend_requested, channel=channel)
        name = await self._promises.keep(call, body_hash, make, row)
        log.info("resend-requested", request_id=str(call.request_id), channel=channel)
        return ResendAccepted(resend=UUID(name), status_url=status_url(call))

    async def settled(self, request_id: UUID) -> None:
        """Return when every resend of this request is answered, and its challenge here; after HOLD in any case."""
        deadline = time.monotonic() + HOLD
        while True:
            if time.monotonic() > deadline or not await self._is_unanswered(request_id):
                return
            await asyncio.sleep(LOOK)

    async def _is_unanswered(self, request_id: UUID) -> bool:
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as connection:
            return bool(await connection.fetchval(_SQL["unanswered"], request_id))

    def _promise(self, call: Call, channel: Channel | None, row: asyncpg.Record) -> Promise:
        event = ResendRequested(
            request_id=call.request_id,
            resend=event_id_of("resend", call.request_id, call.caller.name, call.idempotency_key),
            caller=call.caller.name,
            user=call.caller.user,
            channel=channel,
            signed=SignedManifest.model_validate_json(row["signed"]),
            requested_at=row["requested_at"],
            credential_id=row["credential_id"],
            channels=row["channels"],
        )
        within = at_most(MAX_RESENDS, "resend-requested", call.request_id)
        return Promise((Emit(self._topic, event),), str(event.resend), sealed=False, write=within)


def resending_routes(
    resends: Resends, caller_of: CallerOf, own_status: Callable[..., Awaitable[SigningStatus]]
) -> APIRouter:
    """`POST /v1/signings/{request_id}/otp-resends`; `own_status` is what is known of the caller's own request."""
    router = APIRouter()

    @router.post(
        "/v1/signings/{request_id}/otp-resends",
        status_code=202,
        response_model=ResendAccepted,
        responses=problems(
            ProblemCode.NOT_FOUND,
            ProblemCode.IDEMPOTENCY_KEY_REUSED,
            ProblemCode.RESEND_TOO_EARLY,
            ProblemCode.RESEND_TOO_LATE,
            ProblemCode.RESEND_NOT_ROAMING,
            ProblemCode.TOO_MANY_CALLS,
        ),
    )
    async def resend_otp(
        request: Request,
        caller: Annotated[Caller, Depends(caller_of)],
        status: Annotated[SigningStatus, Depends(own_status)],
        body: OtpResend,
        idempotency_key: IdempotencyKey,
    ) -> Response:
        """Send another code; those that were sent stay good. What came of it comes in the status."""
        call = Call(status.request_id, caller, idempotency_key, request.state.traceparent)
        accepted = await resends.ask(call, body.channel, status)
        return await json_answer(accepted, status_code=202, headers={"Location": accepted.status_url})

    return router
