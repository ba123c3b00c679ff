"""The bodies of calls: read whole, within a bound of size and time; of large ones only a few at once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Receive

from libs.contracts.problems import ProblemCode
from libs.contracts.topics import MAX_REQUESTED_BYTES
from libs.crypto.jcs import StrictJsonError, loads_strict
from services.gateway.problems import ProblemError
from services.gateway.schemas import Fault

M = TypeVar("M", bound=BaseModel)

MAX_BODY: Final = 64 * 1024
"""Bytes of a body."""

BODY_TIMEOUT: Final = 10.0
"""Seconds within which a body must have come."""

MAX_LARGE_BODY: Final = MAX_REQUESTED_BYTES - 4096
"""Bytes of the body of a new request. Written anew it is no longer, so that its record has room beside its headers."""

MAX_TOKEN_BODY: Final = 4 * 1024 * 1024
"""Bytes of a token's signatures: 500 of 2.5 KB are 1.8 MB in JSON, and a token may send a longer chain along."""

LARGE_TIMEOUT: Final = 30.0
"""Seconds within which such a body must have come."""

MAX_LARGE: Final = 4
"""Bodies above MAX_BODY in this process, from their first byte to the answer: each may take 100 MB once it is read."""


class LargeBodies:
    """The bodies of all routes that read them themselves. For one event loop."""

    def __init__(self) -> None:
        self._large = 0

    @asynccontextmanager
    async def read(self, request: Request, limit: int = MAX_LARGE_BODY) -> AsyncIterator[bytes]:
        """At most `limit` bytes; their room is held while entered. Raises ProblemError, also when there is none."""
        holds = False

        def make_room() -> None:
            nonlocal holds
            if not holds and self._large >= MAX_LARGE:
                raise ProblemError(ProblemCode.UNAVAILABLE)
            self._large += not holds
            holds = True

        try:
            yield await read_body(
                request.headers, request.receive, limit=limit, within=LARGE_TIMEOUT, make_room=make_room
            )
        finally:
            self._large -= holds


def parsed(model: type[M], body: bytes) -> M:
    """The model of a body; 10,000 documents take 0.1 s. Raises ProblemError, RequestValidationError."""
    try:
        return model.model_validate(loads_strict(body))
    except StrictJsonError as error:
        fault = Fault(place="body", rule=str(error))
    except ValidationError as error:
        found = error.errors(include_input=False, include_context=False, include_url=False)
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in found]) from None
    raise ProblemError(ProblemCode.MALFORMED, errors=[fault])


def require_strict(body: bytes) -> None:
    """Raise ProblemError unless this is JSON that every reader reads alike: UTF-8, no name twice."""
    try:
        loads_strict(body)
    except StrictJsonError:
        raise ProblemError(ProblemCode.MALFORMED) from None


async def read_body(
    headers: Headers,
    receive: Receive,
    *,
    limit: int = MAX_BODY,
    within: float = BODY_TIMEOUT,
    make_room: Callable[[], None] | None = None,
) -> bytes:
    """The whole body; `make_room` is called once it is known to be above MAX_BODY.

    Raises ProblemError when it is too long, or too slow.
    """
    announced = headers.get("content-length", "0")
    if not announced.isdecimal() or int(announced[:10]) > limit:
        raise ProblemError(ProblemCode.TOO_LARGE)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(within):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ProblemError(ProblemCode.MALFORMED)
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > limit:
                    raise ProblemError(ProblemCode.TOO_LARGE)
                if size > MAX_BODY and make_room is not None:
                    make_room()
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError:
        raise ProblemError(ProblemCode.REQUEST_TIMEOUT) from None
