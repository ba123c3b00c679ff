"""Places are held by calls, not by silence."""

import asyncio

import httpx
import pytest
from starlette.responses import PlainTextResponse

from libs.runtime import http_server
from tests.support.waiting import eventually

HEAD = b"GET / HTTP/1.1\r\nHost: gateway\r\n"


NOT_WHOLE = {"nothing": b"", "half a head": HEAD, "half a second head": HEAD + b"\r\n" + HEAD}


@pytest.mark.parametrize("sent", NOT_WHOLE.values(), ids=NOT_WHOLE)
async def test_who_sends_no_whole_head_is_cut_off_and_the_others_are_served(
    monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(http_server, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(http_server, "KEEP_ALIVE", 1)
    monkeypatch.setattr(http_server, "MAX_CONNECTIONS", 20)
    async with http_server.http_server(PlainTextResponse("here"), 0) as port:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
        for _, writer in silent:
            writer.write(sent)

        async def served() -> bool:
            try:
                async with httpx.AsyncClient(trust_env=False) as client:
                    return (await client.get(f"http://127.0.0.1:{port}/")).status_code == 200
            except httpx.TransportError:
                return False  # on a busy machine we may be as slow ourselves

        await eventually(served, "a place")
        for reader, writer in silent:
            await asyncio.wait_for(reader.read(), 10)  # to the end of what the server sends: it has closed
            writer.close()


async def test_a_long_answer_and_a_kept_connection_are_not_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "HEAD_SECONDS", 0.5)  # less, and a busy machine cuts us off before we have asked

    async def slow(scope, receive, send):
        await asyncio.sleep(0.7)
        await PlainTextResponse("late")(scope, receive, send)

    async with http_server.http_server(slow, 0) as port, httpx.AsyncClient(trust_env=False) as client:
        for _ in range(2):
            assert (await client.get(f"http://127.0.0.1:{port}/")).text == "late"
            await asyncio.sleep(0.6)
