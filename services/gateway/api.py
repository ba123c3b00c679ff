"""The routes of the GPKI API. What a request may not see does not exist for it."""

import asyncio
from typing import Annotated, Final
from uuid import UUID

from fastapi import Depends, FastAPI, Header, Request
from fastapi.security import HTTPAuthorizationCredentials
from starlette.responses import Response

from libs.bus.outcomes import Unavailable
from libs.bus.trust import usable_key
from libs.contracts.problems import ProblemCode
from libs.runtime.clock import Clock
from libs.storage import state
from libs.storage.pool import Pool
from services.gateway import store
from services.gateway.access import ACQUIRE_TIMEOUT, Access
from services.gateway.answers import BEARER, IdempotencyKey, json_answer
from services.gateway.authentication import Caller, connected_key
from services.gateway.bodies import LargeBodies
from services.gateway.descriptions import problems
from services.gateway.edge import Edge
from services.gateway.explaining import explained
from services.gateway.inbox import Inbox, inbox_routes
from services.gateway.live import EventStream, Live
from services.gateway.media import Media, media_routes
from services.gateway.not_me import Reports, not_me_routes
from services.gateway.problems import ProblemError, answer_problems
from services.gateway.promises import Call
from services.gateway.resending import Resends, resending_routes
from services.gateway.schemas import Accepted, Authorisation, CancelAccepted, SealingKey, SigningStatus
from services.gateway.starting import Starting, starting_routes
from services.gateway.status import status_of
from services.gateway.submissions import Submissions
from services.gateway.timeline import Moment
from services.gateway.token_routes import token_routes
from services.gateway.token_signatures import TokenDesk

LastEventId = Annotated[str | None, Header(pattern=r"^(0|[1-9][0-9]{0,17})$")]
"""The id of the last server-sent event that the client has; without it a stream begins at the first."""

_PROBLEMS: Final = problems(ProblemCode.NOT_FOUND)


def create_api(
    *,
    service: str,
    access: Access,
    submissions: Submissions,
    starting: Starting,
    media: Media,
    tokens: TokenDesk,
    resends: Resends,
    inbox: Inbox,
    reports: Reports,
    live: Live,
    pool: Pool,
    service_root: bytes,
    clock: Clock,
) -> FastAPI:
    """The application; `openapi()` of it describes the API."""
    # No pages of documentation: they load scripts from elsewhere.
    app = FastAPI(
        title="GPKI API", version="1", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
    )
    app.add_middleware(Edge, service=service)
    answer_problems(app)

    async def caller_of(
        request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]
    ) -> Caller:
        connected = connected_key(request.scope)
        return await access.admit(credentials.credentials if credentials else None, connected=connected)

    bodies = LargeBodies()
    app.include_router(starting_routes(starting, bodies, caller_of))
    app.include_router(media_routes(media, caller_of))

    async def own_status(
        request: Request, request_id: UUID, caller: Annotated[Caller, Depends(caller_of)]
    ) -> SigningStatus:
        async with pool.acquire(timeout=ACQUIRE_TIMEOUT) as connection:
            told = await store.told(connection, request_id)
        if told is None or not caller.owns(told.header):
            raise ProblemError(ProblemCode.NOT_FOUND)
        return await asyncio.to_thread(lambda: explained(status_of(told), request.state.language))

    @app.get("/v1/sealing-key", response_model=SealingKey, responses=problems(), dependencies=[Depends(caller_of)])
    async def sealing_key() -> Response:
        """The newest sealing key. Check its chain against the service root that you have pinned."""
        async with pool.acquire(timeout=ACQUIRE_TIMEOUT) as connection:
            keys = await state.keys(connection, "sealing")
        now = clock()
        usable = [(identity.not_after, key) for key in keys if (identity := usable_key(key, service_root, now))]
        if not usable:
            raise Unavailable("sealing-key")
        _, newest = max(usable, key=lambda found: (found[0], found[1].key_id))
        return await json_answer(SealingKey(key_id=newest.key_id, chain=newest.chain))

    @app.get("/v1/signings/{request_id}", response_model=SigningStatus, responses=_PROBLEMS)
    async def signing_status(status: Annotated[SigningStatus, Depends(own_status)]) -> Response:
        """The status of a signing of this caller and user; its explanations in the language of Accept-Language."""
        return await json_answer(status, headers={"Vary": "Accept-Language"})

    @app.get(
        "/v1/signings/{request_id}/events",
        status_code=200,
        response_class=EventStream,
        response_model=None,
        responses={
            **_PROBLEMS,
            200: {"model": Moment, "description": "Server-sent events; the schema is that of each one's `data`."},
            204: {"description": "The last event was told already: do not come back."},
        },
    )
    async def signing_events(
        request: Request,
        request_id: UUID,
        caller: Annotated[Caller, Depends(caller_of)],
        last_event_id: LastEventId = None,
    ) -> Response:
        """The timeline of a signing, live: `id` is `seq`, without a gap, `event` the kind; the last is `completed`.

        Failures, refusals and waits have their explanations in the language of Accept-Language.
        The server ends a stream from time to time; come back with `Last-Event-ID` (and a new token).
        """
        return await live.answer(request_id, caller, int(last_event_id or 0), request.state.language)

    @app.post(
        "/v1/signings/{request_id}/authorisations",
        status_code=202,
        response_model=Accepted,
        responses=problems(
            ProblemCode.NOT_FOUND,
            ProblemCode.IDEMPOTENCY_KEY_REUSED,
            ProblemCode.WRONG_MEDIUM,
            ProblemCode.AUTHORISATION_TOO_EARLY,
            ProblemCode.AUTHORISATION_TOO_LATE,
            ProblemCode.TOO_MANY_CALLS,
        ),
    )
    async def submit_authorisation(
        request: Request,
        caller: Annotated[Caller, Depends(caller_of)],
        status: Annotated[SigningStatus, Depends(own_status)],
        body: Authorisation,
        idempotency_key: IdempotencyKey,
    ) -> Response:
        """Take PIN and OTP, sealed to the signer. The answer to them comes in the status."""
        call = Call(status.request_id, caller, idempotency_key, request.state.traceparent)
        await resends.settled(status.request_id)
        accepted = await submissions.authorise(call, body, status)
        return await json_answer(accepted, status_code=202, headers={"Location": accepted.status_url})

    @app.post(
        "/v1/signings/{request_id}/cancellation",
        status_code=202,
        response_model=CancelAccepted,
        responses=problems(
            ProblemCode.NOT_FOUND,
            ProblemCode.IDEMPOTENCY_KEY_REUSED,
            ProblemCode.CANCELLATION_TOO_LATE,
            ProblemCode.TOO_MANY_CALLS,
        ),
    )
    async def cancel_signing(
        request: Request,
        caller: Annotated[Caller, Depends(caller_of)],
        status: Annotated[SigningStatus, Depends(own_status)],
        idempotency_key: IdempotencyKey,
    ) -> Response:
        """Take the request back: what is not signed yet never will be. What came of it comes in the status."""
        call = Call(status.request_id, caller, idempotency_key, request.state.traceparent)
        accepted = await submissions.cancel(call, status.state)
        return await json_answer(accepted, status_code=202, headers={"Location": accepted.status_url})

    app.include_router(token_routes(tokens, bodies, caller_of, own_status))
    app.include_router(resending_routes(resends, caller_of, own_status))
    app.include_router(inbox_routes(inbox))
    app.include_router(not_me_routes(reports, inbox))
    return app
