"""The route of the token's signatures."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from libs.contracts.problems import ProblemCode
from services.gateway.answers import CallerOf, IdempotencyKey, json_answer
from services.gateway.authentication import Caller
from services.gateway.bodies import MAX_TOKEN_BODY, LargeBodies, parsed
from services.gateway.descriptions import body_of, problems
from services.gateway.promises import Call
from services.gateway.schemas import SigningStatus
from services.gateway.token_schemas import SignaturesAccepted, TokenSignatures
from services.gateway.token_signatures import TokenDesk


def token_routes(
    tokens: TokenDesk, bodies: LargeBodies, caller_of: CallerOf, own_status: Callable[..., Awaitable[SigningStatus]]
) -> APIRouter:
    """`POST /v1/signings/{request_id}/token-signatures`; `own_status` is what is known of the caller's own request."""
    router = APIRouter()

    @router.post(
        "/v1/signings/{request_id}/token-signatures",
        status_code=202,
        response_model=SignaturesAccepted,
        responses=problems(
            ProblemCode.NOT_FOUND,
            ProblemCode.IDEMPOTENCY_KEY_REUSED,
            ProblemCode.WRONG_MEDIUM,
            ProblemCode.TOKEN_SIGNATURES_TOO_EARLY,
            ProblemCode.TOKEN_SIGNATURES_TOO_LATE,
            ProblemCode.DOCUMENT_NOT_IN_REQUEST,
        ),
        openapi_extra=body_of(TokenSignatures),
    )
    async def submit_token_signatures(
        request: Request,
        caller: Annotated[Caller, Depends(caller_of)],
        status: Annotated[SigningStatus, Depends(own_status)],
        idempotency_key: IdempotencyKey,
    ) -> Response:
        """Take signatures that the officer's own token made. Whether each is good comes in the status."""
        call = Call(status.request_id, caller, idempotency_key, request.state.traceparent)
        async with bodies.read(request, MAX_TOKEN_BODY) as body:
            signatures = await asyncio.to_thread(parsed, TokenSignatures, body)
            accepted = await tokens.take(call, signatures, status)
        return await json_answer(accepted, status_code=202, headers={"Location": accepted.status_url})

    return router
