"""What every call is answered with, whatever happens to it."""

import asyncio
import json
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from services.gateway.edge import Edge


async def test_a_call_that_the_stop_of_the_server_cuts_off_is_told_to_come_back() -> None:
    """The server would answer 500, which no caller tries again."""
    begun, sent = asyncio.Event(), list[Any]()

    async def never(_scope: Scope, _receive: Receive, _send: Send) -> None:
        begun.set()
        await asyncio.Event().wait()

    async def nothing() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def keep(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/v1/signings/x", "headers": [], "query_string": b""}
    call = asyncio.create_task(Edge(never, service="gateway")(scope, nothing, keep))
    await begun.wait()
    call.cancel()
    await asyncio.wait({call}, timeout=5)
    start, body = sent
    assert start["status"] == 503
    assert dict(start["headers"])[b"retry-after"]
    assert json.loads(body["body"])["code"] == "unavailable"
