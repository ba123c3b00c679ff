"""HTTP as this package does it: an assertion for every try, the same Idempotency-Key on all of them, a bounded end."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any, Final

import httpx

from .answers import parsed
from .errors import AnswerError, GpkiUnavailable, Problem

TIMEOUT: Final = httpx.Timeout(15.0)
"""Seconds per call; the API answers within 8 s, or says that it cannot."""

STREAM_TIMEOUT: Final = httpx.Timeout(15.0, read=45.0)
"""Seconds of silence in a stream; a comment comes every 15 s."""

TRIES: Final = 5
RETRY_SECONDS: Final = 0.3
STREAM_TRIES: Final = 10
MAX_WAIT: Final = 10.0
"""A call that could not be answered is made again, waiting twice as long each time, or as long as it was asked to.
A stream is asked for over a minute: a restart of the API takes less."""

MAX_EVENT: Final = 16 * 1024 * 1024
"""Bytes of one line of a stream; the result of 10,000 documents is about 1.5 MB."""

_AGAIN: Final = frozenset({408, 429, 502, 503, 504})


class Again(Exception):
    """This try had no answer; another may have one. `wait` is what the server asked for, in seconds."""

    def __init__(self, why: str, wait: float = 0.0) -> None:
        super().__init__(why)
        self.wait = wait


@dataclass(frozen=True)
class Message:
    """One server-sent event, as it came."""

    id: str
    event: str
    data: str


class Transport:
    """Calls to one server. `assertion` makes a bearer token of an officer's user id. For one event loop."""

    def __init__(
        self,
        url: str,
        assertion: Callable[[str], str],
        *,
        tls: ssl.SSLContext,
        language: str,
        transport: httpx.AsyncBaseTransport | None,
    ) -> None:
        self.http = httpx.AsyncClient(
            base_url=url, verify=tls, trust_env=False, transport=transport, headers={"Accept-Language": language}
        )
        self._assertion = assertion

    async def call(
        self, method: str, path: str, user: str, *, body: dict[str, Any] | None = None, key: str | None = None
    ) -> Any:
        """The JSON that a call is answered with. Raises Problem, GpkiUnavailable, AnswerError."""
        why = ""
        for attempt in range(TRIES):
            try:
                return await self._try(method, path, user, body, key)
            except Again as error:
                why = str(error)
                if attempt + 1 < TRIES:
                    await pause(attempt, error.wait)
        raise GpkiUnavailable(f"{method} {path}: {why}")

    async def stream(self, path: str, user: str, last: int) -> AsyncGenerator[Message, None]:
        """Events of one connection; ends as the server ends it. Raises Again, Problem, EndOfStory."""
        headers = {**self._headers(user), "Accept": "text/event-stream", "Last-Event-ID": str(last)}
        try:
            async with self.http.stream("GET", path, headers=headers, timeout=STREAM_TIMEOUT) as answer:
                if answer.status_code == httpx.codes.NO_CONTENT:
                    raise EndOfStory
                if not answer.is_success:
                    await answer.aread()
                    raise _refusal(answer)
                async for message in _messages(answer):
                    yield message
        except httpx.RequestError as error:
            raise Again(type(error).__name__) from None

    async def _try(self, method: str, path: str, user: str, body: dict[str, Any] | None, key: str | None) -> Any:
        headers = self._headers(user) | ({} if key is None else {"Idempotency-Key": key})
        try:
            answer = await self.http.request(method, path, json=body, headers=headers, timeout=TIMEOUT)
        except httpx.RequestError as error:
            raise Again(type(error).__name__) from None
        if not answer.is_success:
            raise _refusal(answer)
        return parsed(answer.content, f"{method} {path}: the answer")

    def _headers(self, user: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._assertion(user)}"}


class EndOfStory(Exception):
    """The last event was told already."""


async def pause(attempt: int, wait: float = 0.0) -> None:
    """Wait before the next try."""
    await asyncio.sleep(min(MAX_WAIT, max(wait, RETRY_SECONDS * 2**attempt)))


def _refusal(answer: httpx.Response) -> Problem | Again:
    try:
        problem = Problem(answer.status_code, parsed(answer.content, "a problem"))
    except (AnswerError, AttributeError, TypeError):
        problem = Problem(answer.status_code, {"code": "unknown", "detail": "no problem details"})
    if answer.status_code not in _AGAIN:
        return problem
    seconds = answer.headers.get("Retry-After", "")
    return Again(str(problem), float(seconds) if seconds.isascii() and seconds.isdigit() else 0.0)


async def _messages(answer: httpx.Response) -> AsyncGenerator[Message, None]:
    """WHATWG HTML section 9.2.6. Lines are split here: httpx would also split where JSON has a U+2028."""
    fields: dict[str, str] = {}
    rest = b""
    async for piece in answer.aiter_bytes():
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > MAX_EVENT:
            raise AnswerError("an event of a stream is too long")
        for line in lines:
            name, _, value = line.decode("utf-8", "replace").removesuffix("\r").partition(":")
            if name in {"id", "event", "data"}:
                fields[name] = value.removeprefix(" ")
            elif not name and not value:
                if "data" in fields:
                    yield Message(fields.get("id", ""), fields.get("event", ""), fields["data"])
                fields = {}
