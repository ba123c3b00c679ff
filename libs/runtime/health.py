"""A process's answer to "are you alive, can you work, how are you doing": /livez, /readyz and /metrics."""

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from libs.runtime.prometheus import CONTENT_TYPE_PLAIN_0_0_4, REGISTRY, CollectorRegistry, generate_latest
from libs.runtime.redaction import scrub_text

HOST: Final = "127.0.0.1"

MAX_HEAD: Final = 8_192
"""Bytes of a request's head."""

MAX_CONNECTIONS: Final = 16
"""Requests under way; one more is closed unanswered."""

IO_TIMEOUT: Final = 3.0
"""Seconds that a client may take to ask, and again to read."""

_REQUEST_LINE: Final = re.compile(rb"(GET|HEAD) (/[a-z]*)(?:\?[!-~]*)? HTTP/1\.[01]\r\n")
_STATUS: Final = {200: "OK", 400: "Bad Request", 404: "Not Found", 503: "Service Unavailable"}
_JSON: Final = "application/json"


@dataclass
class _Check:
    ok: bool
    detail: str
    last_ok: float | None


class Health:
    """The state of each dependency as its user last saw it; nothing here asks a dependency anything.

    Served by the event loop itself, so that a blocked loop shows as a /livez that does not answer. For one loop and
    one thread. `expects` names checks that must report before the process is ready.
    """

    def __init__(
        self,
        service: str,
        *,
        expects: Iterable[str] = (),
        registry: CollectorRegistry = REGISTRY,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._service = service
        self._registry = registry
        self._monotonic = monotonic
        self._checks: dict[str, _Check] = {}
        self._server: asyncio.Server | None = None
        self._open = 0
        for name in expects:
            self.expect(name)

    def expect(self, name: str) -> None:
        """Name a check that is not yet good: not ready until it reports."""
        self._checks.setdefault(name, _Check(ok=False, detail="starting", last_ok=None))

    def set(self, name: str, ok: bool, detail: str = "") -> None:
        """Report the state of a dependency; `detail` is shown in /readyz, scrubbed."""
        before = self._checks.get(name)
        last_ok = self._monotonic() if ok else (before.last_ok if before else None)
        self._checks[name] = _Check(ok=ok, detail=scrub_text(detail, limit=200), last_ok=last_ok)

    @property
    def ready(self) -> bool:
        """Whether there is at least one check and every one is good."""
        return bool(self._checks) and all(check.ok for check in self._checks.values())

    def report(self) -> dict[str, object]:
        """The body of /readyz: per check its state, detail and seconds since it was last good (null: never)."""
        now = self._monotonic()
        checks = {
            name: {
                "ok": check.ok,
                "detail": check.detail,
                "seconds_since_ok": None if check.last_ok is None else round(now - check.last_ok, 1),
            }
            for name, check in sorted(self._checks.items())
        }
        return {"service": self._service, "ready": self.ready, "checks": checks}

    async def start(self, port: int, host: str = HOST) -> int:
        """Listen; returns the port (that the system chose, for 0). Raises OSError if it is taken."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=MAX_HEAD)
        chosen: int = self._server.sockets[0].getsockname()[1]
        return chosen

    async def stop(self) -> None:
        """Stop listening; a request under way ends within its time-out."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= MAX_CONNECTIONS:
                async with asyncio.timeout(IO_TIMEOUT):
                    request = await _read_request(reader)
                writer.write(self._respond(request))
                async with asyncio.timeout(IO_TIMEOUT):
                    await writer.drain()
        except (TimeoutError, OSError):
            pass  # a client that is slow or gone is no event of ours
        finally:
            self._open -= 1
            writer.close()

    def _respond(self, request: tuple[bytes, bytes] | None) -> bytes:
        if request is None:
            return _response(400, "text/plain", b"bad request\n")
        method, path = request
        match path:
            case b"/livez":
                status, kind, body = 200, _JSON, json.dumps({"service": self._service, "alive": True}).encode()
            case b"/readyz":
                status, kind, body = (200 if self.ready else 503), _JSON, json.dumps(self.report()).encode()
            case b"/metrics":
                status, kind, body = 200, CONTENT_TYPE_PLAIN_0_0_4, generate_latest(self._registry)
            case _:
                status, kind, body = 404, "text/plain", b"not found\n"
        return _response(status, kind, body, head_only=method == b"HEAD")


async def _read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes] | None:
    """Method and path of one request without a body, None if it is anything else or too long."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return None
    line = _REQUEST_LINE.match(head)
    return (line[1], line[2]) if line else None


def _response(status: int, kind: str, body: bytes, *, head_only: bool = False) -> bytes:
    head = (
        f"HTTP/1.1 {status} {_STATUS[status]}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + (b"" if head_only else body)
