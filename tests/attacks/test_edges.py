"""Attacks where we meet the network: connections that say nothing, and a relay whose offer of TLS was taken away."""

import asyncio

import httpx
import pytest
from starlette.responses import PlainTextResponse

from libs.bus.outcomes import Unavailable
from libs.runtime import http_server
from services.otp_dispatch.relay import Delivered, Relay
from tests.integration.otp_dispatch.conftest import sink
from tests.integration.otp_dispatch.sink import HOST, Sink
from tests.integration.otp_dispatch.test_relay import deliver
from tests.support.waiting import eventually

__all__ = ["sink"]

pytestmark = pytest.mark.parametrize("defence", ["on", "off"])

PLACES = 20
OFFICER = "siti@anm.example"


async def test_who_connects_and_says_nothing_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch, defence: str) -> None:
    """As many as there are places; without a bound for a head they stay for as long as they like."""
    monkeypatch.setattr(http_server, "HEAD_SECONDS", 0.3 if defence == "on" else 3600)
    monkeypatch.setattr(http_server, "MAX_CONNECTIONS", PLACES)

    async def served() -> bool:
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=2) as client:
                return (await client.get(f"http://127.0.0.1:{port}/")).status_code == 200
        except httpx.TimeoutException:
            return False

    async with http_server.http_server(PlainTextResponse("here"), 0) as port:
        silent = [(await asyncio.open_connection("127.0.0.1", port))[1] for _ in range(PLACES)]
        try:
            for writer in silent:
                writer.write(b"GET / HTTP/1.1\r\nHost: gateway\r\n")
            if defence == "on":
                await eventually(served, "a place")
            else:
                assert not await served()
        finally:
            for writer in silent:
                writer.close()


async def test_no_code_is_mailed_in_the_clear(sink: Sink, defence: str) -> None:
    """Who stands between us and the relay takes STARTTLS out of its answer, and reads on."""
    await sink.start()
    relay = Relay(host=HOST, port=sink.port, tls="required" if defence == "on" else "when-offered")
    if defence == "off":
        assert await deliver(relay, OFFICER) == Delivered()
        await relay.aclose()
        return
    with pytest.raises(Unavailable):
        await deliver(relay, OFFICER)
    assert sink.mails(OFFICER) == []
