"""What routes share: who calls, the key of a repeatable call, and JSON written off the event loop."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

from fastapi import Header
from fastapi.security import HTTPBearer
from starlette.responses import Response

from libs.contracts.base import Part
from services.gateway.authentication import Caller

CallerOf = Callable[..., Awaitable[Caller]]
"""FastAPI's dependency that admits the caller of a call."""

BEARER: Final = HTTPBearer(auto_error=False, bearerFormat="JWT")

IdempotencyKey = Annotated[str, Header(pattern=r"^[\x21-\x7e]{1,128}$")]
"""The caller's choice for one submission, the same in every retry (draft-ietf-httpapi-idempotency-key-header-07)."""


async def json_answer(body: Part, **more: Any) -> Response:
    """Written by pydantic in a thread: a completed request of 10,000 documents is a megabyte."""
    content = await asyncio.to_thread(body.model_dump_json)
    return Response(content, media_type="application/json", **more)
