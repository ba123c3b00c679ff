"""The live timeline: rows of the database as server-sent events (WHATWG HTML, section 9.2), a page at a time.

What a stream has told is known to its client alone: whichever replica it comes back to goes on after the `seq` that it
names. A look at the database twice a second finds what a twin has committed as well as what we have; between two looks
a stream is a timer, and while its client reads, nothing but the page that it is reading.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC
from typing import Any, Final
from uuid import UUID

import asyncpg
import structlog
from fastapi.exceptions import RequestValidationError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from libs.contracts.problems import ProblemCode
from libs.contracts.texts import Language
from libs.storage.errors import is_unavailable
from libs.storage.pool import Pool
from services.gateway import store
from services.gateway.access import ACQUIRE_TIMEOUT
from services.gateway.authentication import Caller
from services.gateway.explaining import explained_row
from services.gateway.problems import ProblemError
from services.gateway.store import SQL

MEDIA_TYPE: Final = "text/event-stream"

MAX_STREAMS: Final = 64
"""Streams of this process; a caller that is refused one has the status."""

PAGE: Final = 50
"""Rows that are read, and kept, at a time: a slice of 25 documents each, or one cause, or the result."""

PIECE: Final = 64 * 1024
"""Bytes that are handed to the server at a time: its own buffer, so that a result of a megabyte goes in steps."""

POLL: Final = 0.5
"""Seconds between two looks at the database."""

HEARTBEAT: Final = 15.0
"""Seconds of silence after which a comment is sent, for the proxies between."""

LIFE: Final = 300.0
"""Seconds that a stream lives; then its client comes back and is judged anew: a retired key is heard no longer."""

SEND_TIMEOUT: Final = 10.0
"""Seconds that a client may take to make room for one piece."""

LAST_WORD: Final = 1.0
"""Seconds for the end of the answer itself; a client that has no room for it by then sees the connection close."""

RETRY: Final = 2000
"""Milliseconds that a client is asked to wait before it comes back."""

_LAST: Final = "completed"

log = structlog.get_logger()


class Live:
    """The streams of this process. For one event loop; any number of replicas."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._open = 0
        self._stopping = asyncio.Event()

    async def answer(self, request_id: UUID, caller: Caller, after: int, language: Language) -> Response:
        """A stream of the rows after `after`; 204, which ends an EventSource, when the last one was told already.

        Raises ProblemError, RequestValidationError for a `seq` that nobody was given yet; the stream itself raises
        ProblemError when there are too many.
        """
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as connection:
            seq = await store.owned_seq(connection, request_id, caller)
            if seq is None:
                raise ProblemError(ProblemCode.NOT_FOUND)
            if after > seq:
                raise RequestValidationError([{"loc": ("header", "last-event-id"), "type": "never_given"}])
            if await connection.fetchval(SQL["ended"], request_id, after):
                return Response(status_code=204)
        return EventStream(self, request_id, caller, after, language)

    async def page(self, request_id: UUID, caller: Caller, after: int) -> Sequence[asyncpg.Record] | None:
        """The next rows; None when the request is not this caller's and user's any more. Holds no connection after."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as connection:
            seq = await store.owned_seq(connection, request_id, caller)
            if seq is None:
                return None
            # Only when there is one: most looks find nothing. Rows up to a `seq` that is seen have no gap.
            return await connection.fetch(SQL["page"], request_id, after, seq, PAGE) if seq > after else ()

    @contextmanager
    def room(self) -> Iterator[asyncio.Event]:
        """A place among the streams; yields what is set when they must end. Raises ProblemError when there is none."""
        if self._open >= MAX_STREAMS or self._stopping.is_set():
            raise ProblemError(ProblemCode.UNAVAILABLE)
        self._open += 1
        try:
            yield self._stopping
        finally:
            self._open -= 1

    def stop(self) -> None:
        """End every stream, and begin none: the service stops."""
        self._stopping.set()


class EventStream(Response):
    """One answer. It ends after the request's last row, when the client is gone or slow, at LIFE, and at the stop."""

    media_type = MEDIA_TYPE

    def __init__(self, live: Live, request_id: UUID, caller: Caller, after: int, language: Language) -> None:
        super().__init__(headers={"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._live = live
        self._request_id = request_id
        self._caller = caller
        self._after = after
        self._language = language

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's shape
        """Answer. Whatever ends it ends the writing at a wait: no piece is sent by halves."""
        with self._live.room() as stopping:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            gone = asyncio.create_task(_disconnected(receive))
            ends = {asyncio.create_task(self._tell(send)), gone, asyncio.create_task(stopping.wait())}
            try:
                done, _ = await asyncio.wait(ends, timeout=LIFE, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for end in ends:
                    end.cancel()
                await asyncio.gather(*ends, return_exceptions=True)
            for end in done:
                end.result()  # a fault of ours
            if gone not in done:
                with suppress(TimeoutError):
                    async with asyncio.timeout(LAST_WORD):
                        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _tell(self, send: Send) -> None:
        try:
            await self._tell_rows(send)
        except _Slow:
            log.info("stream-ended", why="slow-client", request_id=str(self._request_id))
        except Exception as error:
            if not is_unavailable(error):
                raise
            log.warning("stream-ended", why="database", request_id=str(self._request_id))

    async def _tell_rows(self, send: Send) -> None:
        await _write(send, f"retry: {RETRY}\n\n")
        told_at = time.monotonic()
        while True:
            rows = await self._live.page(self._request_id, self._caller, self._after)
            if rows is None:
                return
            if rows:
                last = next((place for place, row in enumerate(rows) if row["kind"] == _LAST), None)
                rows = rows if last is None else rows[: last + 1]
                await _write(send, "".join(message(row, self._language) for row in rows))
                if last is not None:
                    return
                self._after = rows[-1]["seq"]
                told_at = time.monotonic()
            elif time.monotonic() - told_at >= HEARTBEAT:
                await _write(send, ":\n\n")
                told_at = time.monotonic()
            if len(rows) < PAGE:
                await asyncio.sleep(POLL)


class _Slow(Exception):
    """The client did not read in time."""


def message(row: Any, language: Language) -> str:
    """A row as one server-sent event; `data` is a `timeline.Moment`. JSON has no line ends of its own."""
    at = row["at"].astimezone(UTC).isoformat().replace("+00:00", "Z")
    reached = "null" if row["reached"] is None else row["reached"]
    data = explained_row(row["kind"], row["data"], language)
    moment = f'{{"at":"{at}","reached":{reached},"data":{data}}}'
    return f"id: {row['seq']}\nevent: {row['kind']}\ndata: {moment}\n\n"


async def _write(send: Send, text: str) -> None:
    """Send, and return when the client has taken it but for what the server's buffer holds. Raises _Slow."""
    content = text.encode()
    # The server lets a send wait while its buffer is full, and only then: the empty one waits for those before it.
    for piece in (*(content[first : first + PIECE] for first in range(0, len(content), PIECE)), b""):
        try:
            async with asyncio.timeout(SEND_TIMEOUT):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except TimeoutError:
            raise _Slow from None


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
