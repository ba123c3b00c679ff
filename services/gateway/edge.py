"""What every call passes first: bounds on body, time and number, a trace, and an answer whatever happens."""

import asyncio
import re
import secrets
import time
from typing import Final
from uuid import UUID

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libs.contracts.problems import ProblemCode
from libs.runtime import metrics
from services.gateway.bodies import read_body, require_strict
from services.gateway.heads import is_ambiguous
from services.gateway.live import MAX_STREAMS
from services.gateway.problems import ProblemError, code_of, language_of, problem

READ_BY_THEIR_ROUTE: Final = re.compile(r"POST /v1/signings(/[^/]+/token-signatures)?")
"""Whose bodies may be large, and are read only once their caller is known."""

MAX_CALLS: Final = 128 + MAX_STREAMS
"""Calls under way in this process, so that streams leave the others room; one more is told to come back."""

_TRACEPARENT: Final = re.compile(r"^00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$")

log = structlog.get_logger()


class Edge:
    """ASGI middleware, inside Starlette's own handler of errors. Bodies are read before the application is called."""

    def __init__(self, app: ASGIApp, *, service: str) -> None:
        self._app = app
        self._service = service
        self._calls = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        trace = headers.get("traceparent", "")
        known = _TRACEPARENT.match(trace)
        trace_id = known[1] if known else secrets.token_hex(16)
        state = scope.setdefault("state", {})
        state["trace_id"] = trace_id
        state["traceparent"] = f"00-{trace_id}-{secrets.token_hex(8)}-01"
        state["language"] = language_of(headers.get("accept-language", ""))
        call = _Call(scope, send, trace_id)
        self._calls += 1
        began = time.monotonic()
        try:
            with structlog.contextvars.bound_contextvars(trace_id=trace_id):
                await self._answer(call, headers, receive)
                call.log()
        finally:
            self._calls -= 1
            took = time.monotonic() - began
            metrics.HTTP_SECONDS.labels(self._service, call.route).observe(took)

    async def _answer(self, call: "_Call", headers: Headers, receive: Receive) -> None:
        try:
            self._check_room()
            _check_head(call.scope)
            if not READ_BY_THEIR_ROUTE.fullmatch(f"{call.scope['method']} {call.scope['path']}"):
                body = await read_body(headers, receive)
                if body and "json" in headers.get("content-type", "json").lower():
                    require_strict(body)  # the framework takes the last of two names, and other encodings
                receive = _replay(body, receive)
            await self._app(call.scope, receive, call.send)
        except asyncio.CancelledError:
            if call.status is not None:
                raise
            # The server stops, and would answer 500, which nobody tries again.
            await _problem(call, ProblemCode.UNAVAILABLE, receive)
        except Exception as error:
            code = code_of(error)
            if call.status is not None:
                raise  # half an answer is out: the server closes the connection
            await _problem(call, code, receive)

    def _check_room(self) -> None:
        if self._calls > MAX_CALLS:
            raise ProblemError(ProblemCode.UNAVAILABLE)


class _Call:
    """One call: remembers the status that was sent, and adds the headers that every answer has."""

    def __init__(self, scope: Scope, send: Send, trace_id: str) -> None:
        self.scope = scope
        self.status: int | None = None
        self._send = send
        self._trace_id = trace_id

    @property
    def route(self) -> str:
        """The name of the operation; a path may hold anything that a sender likes."""
        return getattr(self.scope.get("route"), "name", "none")

    async def send(self, message: Message) -> None:
        """Pass on to the server."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["Cache-Control"] = "no-store"
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Trace-Id"] = self._trace_id
        await self._send(message)

    def log(self) -> None:
        """Log a call that changed something, or was refused; status is polled too often to be logged."""
        if self.status is not None and (self.status >= 400 or self.scope["method"] != "GET"):
            log.info("call", operation=self.route, status=int(self.status), request_id=self._request_id())

    def _request_id(self) -> str | None:
        """The id in the path; what is no id may be anything, a secret in the wrong place too."""
        try:
            return str(UUID(self.scope.get("path_params", {}).get("request_id")))
        except (TypeError, ValueError, AttributeError):
            return None


async def _problem(call: _Call, code: ProblemCode, receive: Receive) -> None:
    state = call.scope["state"]
    answer = problem(code, language=state["language"], trace_id=state["trace_id"])
    await answer(call.scope, receive, call.send)


def _check_head(scope: Scope) -> None:
    if is_ambiguous(scope["headers"]):
        raise ProblemError(ProblemCode.MALFORMED)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body once, then what the server says (a disconnect)."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
