"""A server under TLS: what it says of its client, and that neither silence nor plain HTTP holds a place."""

import asyncio
import copy
import ctypes
import ssl
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvloop
from cryptography.hazmat.primitives.serialization import Encoding
from starlette.responses import JSONResponse
from structlog.testing import capture_logs

from libs.gpki_client import tls_context
from libs.runtime import http_server
from libs.runtime.clock import utc_now
from libs.runtime.server_tls import server_context
from libs.runtime.settings import ConfigurationError
from tests.support.pki import Pki
from tests.support.tls import Tls
from tests.support.waiting import eventually

PLACES = 3


async def shows(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the client's certificates, as the server tells them."""
    await JSONResponse(scope["extensions"]["tls"]["client_cert_chain"])(scope, receive, send)


@pytest.fixture
def pki() -> Pki:
    return Pki(now=utc_now())


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    return Tls.make(tmp_path)


def test_what_another_library_left_in_openssl_s_queue_of_errors_is_none_of_a_context_s(tls: Tls, pki: Pki) -> None:
    """SoftHSM leaves such an error in the thread that loads it."""
    assert not ctypes.CDLL("libcrypto.so.3").ENGINE_by_id(b"no such engine")
    server_context(tls.server, clients=pki.service_root.certificate.public_bytes(Encoding.DER))


@asynccontextmanager
async def serving(tls: Tls, pki: Pki) -> AsyncIterator[int]:
    """As services do, on uvloop, whose TLS is another than asyncio's; yields the port."""
    context = server_context(tls.server, clients=pki.service_root.certificate.public_bytes(Encoding.DER))
    begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]] = Future()

    async def serve() -> None:
        stop = asyncio.Event()
        async with http_server.http_server(shows, 0, tls=context) as port:
            begun.set_result((asyncio.get_running_loop(), stop, port))
            await stop.wait()

    running = asyncio.create_task(asyncio.to_thread(uvloop.run, serve()))
    loop, stop, port = await asyncio.wrap_future(begun)
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(stop.set)
        await running


async def told(port: int, context: ssl.SSLContext, **headers: str) -> list[str]:
    """The client's certificates as the server knows them."""
    async with httpx.AsyncClient(verify=context, trust_env=False) as client:
        answer = await client.get(f"https://127.0.0.1:{port}/", headers=headers)
        assert answer.extensions["network_stream"].get_extra_info("ssl_object").version() == "TLSv1.3"
        shown: list[str] = answer.json()
        return shown


async def test_the_application_is_told_the_certificate_that_the_handshake_proved(tls: Tls, pki: Pki) -> None:
    caller = pki.caller()
    async with serving(tls, pki) as port:
        assert await told(port, tls.client(caller)) == [caller.pem.decode()]
        assert await told(port, tls.client()) == []
        assert await told(port, tls.client(), **{"X-Client-Cert": caller.pem.decode().replace("\n", "")}) == []


async def test_whether_it_has_expired_is_left_to_who_admits_calls(tls: Tls, pki: Pki) -> None:
    """By the platform's clock, not by this host's: `usable_key` is asked at every call."""
    past = copy.copy(pki)
    past.now -= timedelta(days=400)
    async with serving(tls, pki) as port:
        assert len(await told(port, tls.client(past.caller()))) == 1


async def test_a_client_of_another_root_has_no_connection_and_the_log_says_why(tls: Tls, pki: Pki) -> None:
    with capture_logs() as logs:
        async with serving(tls, pki) as port:
            with pytest.raises(httpx.TransportError):
                await told(port, tls.client(Pki(now=pki.now).caller()))
            with pytest.raises(httpx.TransportError):
                await told(port, tls.client(pki.producer()))
            await eventually(lambda: len(logs) == 2, "both are logged")
    assert [(line["event"], line["why"]) for line in logs] == [
        ("tls-refused", "unable to get local issuer certificate"),
        ("tls-refused", "unsuitable certificate purpose"),
    ]


async def test_no_session_is_resumed_without_the_clients_key(tls: Tls, pki: Pki) -> None:
    """TLS 1.2 would, from a ticket or a cache, and keep each session in memory for two hours."""
    context = tls.client(pki.caller())
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    with capture_logs() as logs:
        async with serving(tls, pki) as port:
            with pytest.raises(OSError):
                await asyncio.open_connection("127.0.0.1", port, ssl=context)
            await eventually(lambda: logs, "it is logged")
    assert [line["why"] for line in logs] == ["UNSUPPORTED_PROTOCOL"]


@pytest.mark.parametrize("more", [http_server.MAX_SHOWN - 1, http_server.MAX_SHOWN])
async def test_who_shows_more_certificates_than_a_path_has_is_cut_off(tls: Tls, pki: Pki, more: int) -> None:
    """OpenSSL keeps them all, whatever they are, as long as the connection lasts: 840 KB for two hundred."""
    caller = pki.caller()
    file = tls.file(caller)
    file.write_bytes(file.read_bytes() + more * pki.producer().pem)
    async with serving(tls, pki) as port:
        if more < http_server.MAX_SHOWN:
            assert await told(port, tls_context(tls.root, certificate=file)) == [caller.pem.decode()]
        else:
            with pytest.raises(httpx.TransportError):
                await told(port, tls_context(tls.root, certificate=file))


async def test_what_is_read_ahead_of_a_request_and_kept_of_an_answer_is_bounded(
    monkeypatch: pytest.MonkeyPatch, tls: Tls, pki: Pki
) -> None:
    """uvloop's own limits would let a connection hold half a megabyte."""
    limits: list[tuple[object, object]] = []
    watch = http_server._Protocol._watch

    def seen(protocol: Any) -> None:
        transport = protocol.transport
        limits.append((transport.get_read_buffer_limits()[1], transport.get_write_buffer_limits()[1]))
        watch(protocol)

    monkeypatch.setattr(http_server._Protocol, "_watch", seen)
    async with serving(tls, pki) as port:
        await told(port, tls.client())
    assert set(limits) == {(http_server.READ_AHEAD, http_server.UNSENT)}


@pytest.mark.parametrize(
    ("sent", "why"),
    [(b"", "ConnectionAbortedError"), (b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n", "HTTP_REQUEST")],
    ids=["nothing", "plain HTTP"],
)
async def test_who_does_not_begin_tls_is_cut_off_and_the_others_are_served(
    monkeypatch: pytest.MonkeyPatch, tls: Tls, pki: Pki, sent: bytes, why: str
) -> None:
    """As many as there are places: one more is not even taken, so that memory is bounded before anybody has spoken."""
    monkeypatch.setattr(http_server, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(http_server, "MAX_CONNECTIONS", PLACES)
    context = tls.client()
    with capture_logs() as logs:
        async with serving(tls, pki) as port:
            await _served_beside_silence(port, context, sent)
    assert [line["why"] for line in logs].count(why) >= PLACES


async def _served_beside_silence(port: int, context: ssl.SSLContext, sent: bytes) -> None:
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(PLACES)]
    for _, writer in silent:
        writer.write(sent)

    async def served() -> bool:
        try:
            return await told(port, context) == []
        except httpx.TransportError:
            return False  # on a busy machine we may be as slow ourselves

    await eventually(served, "a place")
    for reader, writer in silent:
        said = await asyncio.wait_for(reader.read(), 10)  # to the end: it has closed
        assert b"HTTP" not in said
        writer.close()


async def test_a_place_is_free_again_however_its_client_left(
    monkeypatch: pytest.MonkeyPatch, tls: Tls, pki: Pki
) -> None:
    """Before the handshake, after it, in order, and by a reset."""
    monkeypatch.setattr(http_server, "MAX_CONNECTIONS", PLACES)
    context = tls.client(pki.caller())
    async with serving(tls, pki) as port:
        for _ in range(PLACES):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.transport.abort()
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            writer.transport.abort()
            assert len(await told(port, context)) == 1


async def test_one_connection_too_many_is_served_when_another_has_left(
    monkeypatch: pytest.MonkeyPatch, tls: Tls, pki: Pki
) -> None:
    monkeypatch.setattr(http_server, "MAX_CONNECTIONS", PLACES)
    context = tls.client()
    async with serving(tls, pki) as port:
        idle = [(await asyncio.open_connection("127.0.0.1", port, ssl=context))[1] for _ in range(PLACES)]
        waiting = asyncio.create_task(told(port, context))
        await asyncio.wait({waiting}, timeout=1)
        assert not waiting.done()
        idle[0].transport.abort()
        assert await waiting == []
        for writer in idle:
            writer.transport.abort()


async def test_a_server_stops_in_time_beside_clients_that_say_nothing(
    monkeypatch: pytest.MonkeyPatch, tls: Tls, pki: Pki
) -> None:
    monkeypatch.setattr(http_server, "HEAD_SECONDS", 3600)
    async with asyncio.timeout(30):
        async with serving(tls, pki) as port:
            _, silent = await asyncio.open_connection("127.0.0.1", port)
            _, idle = await asyncio.open_connection("127.0.0.1", port, ssl=tls.client())
            assert await told(port, tls.client()) == []
        for writer in (silent, idle):
            writer.transport.abort()


@pytest.mark.parametrize("what", ["nothing", "no key", "another's key"])
def test_a_server_without_its_own_key_and_certificate_does_not_start(tls: Tls, pki: Pki, what: str) -> None:
    root = pki.service_root.certificate.public_bytes(Encoding.DER)
    key, _, certificate = tls.server.partition(b"-----BEGIN CERTIFICATE")
    given = {
        "nothing": b"",
        "no key": b"-----BEGIN CERTIFICATE" + certificate,
        "another's key": key + pki.caller().pem,
    }
    with pytest.raises(ConfigurationError, match="no private key with its certificate"):
        server_context(given[what], clients=root)
    assert server_context(tls.server, clients=root).verify_mode == ssl.CERT_OPTIONAL
