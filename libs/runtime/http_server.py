"""An ASGI application served inside a process that has a life of its own: `process.run` keeps signals and logs."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from libs.runtime.health import HOST, Health

KEEP_ALIVE: Final = 15
"""Seconds that an idle connection is kept."""

MAX_CONNECTIONS: Final = 256
"""Connections or requests under way; one more is answered 503."""

MAX_HEAD: Final = 16_384
"""Bytes of a request's head."""

HEAD_SECONDS: Final = 10
"""Seconds within which a request's head must have come, from the connection on: a place is not held by silence."""

CHECK: Final = "http"
"""The health check of a server."""

STALLED_MS: Final = 30_000
"""Milliseconds that a client may take nothing of what was sent; then the kernel closes its connection."""

STOP_SECONDS: Final = 5
"""Seconds that requests under way have when the server stops."""


class _Protocol(H11Protocol):
    """uvicorn's, which waits for a request's head for ever, with a limit to that."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._late is not None:
            self._late.cancel()

    def _watch(self) -> None:
        """Count from the connection, or from the first byte of a later head; more bytes win no time."""
        waits = self.conn.their_state is h11.IDLE
        if waits and self._late is None:
            self._late = self.loop.call_later(HEAD_SECONDS, self.transport.close)
        elif not waits and self._late is not None:
            self._late.cancel()
            self._late = None


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, which would take SIGTERM from the process, and with a sign of readiness."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


@contextlib.asynccontextmanager
async def http_server(app: Any, port: int, health: Health | None = None, *, host: str = HOST) -> AsyncIterator[int]:
    """Serve `app` while entered; yields the port (that the system chose, for 0).

    On leaving, takes no more requests and gives those under way STOP_SECONDS. With `health`, the check `http` is good
    while it serves. Raises OSError when the port is taken.
    """
    listener = socket.create_server((host, port), backlog=MAX_CONNECTIONS)
    # Inherited by every connection. Without it one whose client stopped reading would stay as long as the client.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED_MS)
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=STOP_SECONDS,
        h11_max_incomplete_event_size=MAX_HEAD,
        http=_Protocol,
        ws="none",
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    ready = asyncio.create_task(server.listening.wait())
    await asyncio.wait({serving, ready}, return_when=asyncio.FIRST_COMPLETED)
    ready.cancel()
    if serving.done():
        serving.result()  # why it ended before it listened
    if health is not None:
        serving.add_done_callback(lambda _: health.set(CHECK, ok=False, detail="stopped"))
        health.set(CHECK, ok=True)
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await asyncio.wait({serving}, timeout=2 * STOP_SECONDS)
        if not serving.done():
            serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
