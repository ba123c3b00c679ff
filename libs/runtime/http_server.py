"""An ASGI application served inside a process that has a life of its own: `process.run` keeps signals and logs."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import h11
import structlog
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from libs.runtime.health import HOST, Health

KEEP_ALIVE: Final = 15
"""Seconds that an idle connection is kept."""

MAX_CONNECTIONS: Final = 256
"""Connections at a time; one more waits for a place, before it has cost anything."""

MAX_HEAD: Final = 16_384
"""Bytes of a request's head."""

HEAD_SECONDS: Final = 10
"""Seconds within which a request's head must have come, from the connection on, and before it the handshake of TLS: a
place is not held by silence."""

CHECK: Final = "http"
"""The health check of a server."""

STALLED_MS: Final = 30_000
"""Milliseconds that a client may take nothing of what was sent; then the kernel closes its connection."""

STOP_SECONDS: Final = 5
"""Seconds that requests under way have when the server stops."""

GOODBYE_SECONDS: Final = 10
"""Seconds that a client has to take the rest of an answer, and to answer the end of TLS."""

MAX_SHOWN: Final = 3
"""Certificates that a client may show: OpenSSL keeps all that came for as long as the connection lasts."""

READ_AHEAD: Final = 16_384
UNSENT: Final = 65_536
"""Bytes of a connection above which no more is read, or written: uvloop's own limits under TLS are 256 and 512 KiB."""

log = structlog.get_logger()


class _Protocol(H11Protocol):
    """uvicorn's, which waits for a request's head for ever, with a limit to that; and with the client's certificate."""

    _late: asyncio.TimerHandle | None = None

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        secured = transport.get_extra_info("ssl_object")
        if secured is not None:
            transport.set_read_buffer_limits(high=READ_AHEAD)  # type: ignore[attr-defined]  # uvloop's has it
            transport.set_write_buffer_limits(high=UNSENT)
            if len(secured._sslobj.get_unverified_chain() or ()) > MAX_SHOWN:  # noqa: SLF001 (public from Python 3.13 on)
                log.info("tls-refused", why="too many certificates")
                transport.abort()
            self.app = _with_tls(self.app, secured)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.closed.set()
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


def _with_tls(app: Any, secured: ssl.SSLObject) -> Any:
    """The application, told of this connection what the TLS extension of ASGI has of the client's certificate.

    The certificate is what OpenSSL verified in the handshake; no header of a request comes to this name.
    """
    shown = secured.getpeercert(binary_form=True)
    told = {"client_cert_chain": [] if shown is None else [ssl.DER_cert_to_PEM_cert(shown)]}

    async def told_app(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "extensions": {"tls": told}}, receive, send)

    return told_app


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, which would take SIGTERM from the process, and with a door of its own.

    uvicorn's takes every connection there is, and waits a minute for its handshake.
    """

    def __init__(self, config: uvicorn.Config, tls: ssl.SSLContext | None) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        self._tls = tls
        self._places = asyncio.Semaphore(MAX_CONNECTIONS)
        self._open: set[asyncio.Task[None]] = set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        assert sockets is not None
        self.servers = []
        self._doors = [asyncio.create_task(self._take(listener)) for listener in sockets]
        self.started = True
        self.listening.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for door in self._doors:
            door.cancel()
        await asyncio.gather(*self._doors, return_exceptions=True)
        await super().shutdown(sockets)
        for one in self._open:  # in the middle of a handshake, or of the end of one
            one.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _take(self, listener: socket.socket) -> None:
        listener.setblocking(False)
        loop = asyncio.get_running_loop()
        while True:
            await self._places.acquire()
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError as error:  # the client is gone, or this process has too many files open
                self._places.release()
                log.warning("connection-not-taken", why=error.strerror)
                await asyncio.sleep(1)
                continue
            one = asyncio.create_task(self._keep(connection))
            self._open.add(one)
            one.add_done_callback(self._left)

    def _left(self, one: asyncio.Task[None]) -> None:
        self._open.discard(one)
        self._places.release()

    async def _keep(self, connection: socket.socket) -> None:
        """From the handshake to the end."""
        bounds = {} if self._tls is None else {
            "ssl_handshake_timeout": HEAD_SECONDS, "ssl_shutdown_timeout": GOODBYE_SECONDS,
        }  # fmt: skip
        protocol = _Protocol(self.config, self.server_state, {})  # what is returned below is with uvloop another
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol, connection, ssl=self._tls, **bounds
            )
        except OSError as error:  # ssl.SSLError is one
            why = getattr(error, "verify_message", None) or getattr(error, "reason", None) or type(error).__name__
            log.info("tls-refused", why=why)
            return
        await protocol.closed.wait()


@contextlib.asynccontextmanager
async def http_server(
    app: Any, port: int, health: Health | None = None, *, host: str = HOST, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Serve `app` while entered, over TLS with `tls`; yields the port (that the system chose, for 0).

    On leaving, takes no more requests and gives those under way STOP_SECONDS. With `health`, the check `http` is good
    while it serves. A client's certificate, as `tls` asks for it, is in the ASGI scope's extension `tls`. Raises
    OSError when the port is taken.
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
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=STOP_SECONDS,
        h11_max_incomplete_event_size=MAX_HEAD,
        ws="none",
    )
    server = _Server(config, tls)
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
