"""GPKI Mobile says "not me" of a code: checked here, believed by those who act on it."""

import asyncio
from hashlib import sha256
from typing import Annotated, Final
from uuid import UUID

import structlog
from fastapi import APIRouter, Depends, Request
from fastapi import Path as PathParameter
from fastapi.security import HTTPAuthorizationCredentials
from pydantic import Field, StringConstraints
from starlette.responses import Response

from libs.bus.outcomes import Emit
from libs.contracts.base import Base64, Exact, Part, UtcTime
from libs.contracts.not_me import NotMe, NotMeStatement, disbelieved
from libs.contracts.problems import ProblemCode
from libs.contracts.state import User
from libs.contracts.topics import Topic
from libs.runtime.clock import Clock
from libs.storage.pool import Connection
from services.gateway import timeline
from services.gateway.answers import BEARER, json_answer
from services.gateway.authentication import Caller
from services.gateway.descriptions import problems
from services.gateway.inbox import Inbox
from services.gateway.problems import ProblemError
from services.gateway.promises import Call, Promise, Promises, at_most
from services.gateway.schemas import KeyId
from services.gateway.submissions import call_hash

MAX_REPORTS: Final = 3
"""Per request; the first ends it, and one that is sent again is not another one."""

log = structlog.get_logger()


class NotMeReport(Exact):
    """A device's word that its officer did not ask for this code; `signature` is Ed25519, by the device's own key."""

    request_id: UUID
    reference_code: Annotated[str, StringConstraints(pattern=r"^[0-9A-Z]{3,8}$")]
    said_at: UtcTime
    signature: Annotated[Base64, Field(max_length=96)]


class NotMeTaken(Part):
    """The report is published: the request ends, as far as it has not ended before."""

    request_id: UUID


class Reports:
    """Takes what devices report. Any number of replicas."""

    def __init__(self, promises: Promises, inbox: Inbox, *, topic: Topic, clock: Clock) -> None:
        self._promises = promises
        self._inbox = inbox
        self._topic = topic
        self._clock = clock

    async def take(self, device: Caller, user: User, body: NotMeReport, trace: str) -> NotMeTaken:
        """Hand on the device's own signed word, once. Raises ProblemError, Unavailable."""
        if not await self._inbox.was_told(device, body.request_id, body.reference_code):
            raise ProblemError(ProblemCode.NOT_FOUND)
        event = NotMe(
            statement=NotMeStatement(
                request_id=body.request_id,
                user=device.user,
                device_id=device.name,
                reference_code=body.reference_code,
                said_at=body.said_at,
            ),
            signature=body.signature,
        )
        fault = await asyncio.to_thread(disbelieved, event, user, self._clock())
        if fault is not None:
            log.warning("report-refused", why=fault)
            raise ProblemError(ProblemCode.UNAUTHORISED)

        async def make(_: Connection) -> Promise:
            within = at_most(MAX_REPORTS, "not-me", body.request_id)
            return Promise((Emit(self._topic, event),), str(body.request_id), sealed=False, write=within)

        call = Call(body.request_id, device, sha256(body.signature).hexdigest(), trace)
        name = await self._promises.keep(call, call_hash("not-me", body.signature.hex()), make, timeline.not_me)
        log.info("not-me", request_id=name)
        return NotMeTaken(request_id=UUID(name))


def not_me_routes(reports: Reports, inbox: Inbox) -> APIRouter:
    """`POST /v1/devices/{device_id}/not-me`; the bearer token is the device's own."""
    router = APIRouter()

    async def device_of(
        device_id: Annotated[KeyId, PathParameter()],
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)],
    ) -> tuple[Caller, User]:
        return await inbox.admit(device_id, credentials.credentials if credentials else None)

    @router.post(
        "/v1/devices/{device_id}/not-me",
        status_code=202,
        response_model=NotMeTaken,
        responses=problems(ProblemCode.NOT_FOUND, ProblemCode.TOO_MANY_CALLS),
    )
    async def report_not_me(
        request: Request, device: Annotated[tuple[Caller, User], Depends(device_of)], body: NotMeReport
    ) -> Response:
        """The officer did not ask for the code of this message: stop its request, send no further code for an hour.

        `signature` is the device's, Ed25519 over "gpki.not-me.v1" ‖ SHA-256(JCS({request_id, user, device_id,
        reference_code, said_at})), `said_at` in whole seconds, UTC with Z.
        """
        caller, user = device
        return await json_answer(await reports.take(caller, user, body, request.state.traceparent), status_code=202)

    return router
