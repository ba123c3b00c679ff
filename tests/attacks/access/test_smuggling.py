"""Calls that a proxy before the gateway could read in another way than the gateway: refused, and nothing is done."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from uuid import uuid4

import pytest

from libs.contracts.problems import ProblemCode
from services.gateway import bodies, edge
from services.gateway.heads import is_ambiguous
from tests.integration.gateway.conftest import Door, code_of
from tests.support.requests import documents, header, new_user, requested

OCTETS = bytes.fromhex("0d0a")


async def raw(door: Door, *lines: str, body: bytes = b"") -> bytes:
    """What is answered to these bytes, until the server closes or has told one answer."""
    url, tls = door.http.base_url, door.tls.client(door.caller)
    reader, writer = await asyncio.open_connection(url.host, url.port, ssl=tls)
    try:
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()
        async with asyncio.timeout(20):
            head = await reader.readuntil(OCTETS * 2)
            return head.split(OCTETS)[0]
    finally:
        writer.close()


def bearer(door: Door, user: str) -> str:
    return f"Authorization: Bearer {door.token(user)}"


@pytest.mark.parametrize("order", ["own first", "own last"])
async def test_two_tokens_in_one_call_are_none(door: Door, monkeypatch: pytest.MonkeyPatch, order: str) -> None:
    """A proxy that judged the other of the two would have let the call pass."""
    event = await door.awaiting()
    user = event.signed.manifest.header.user
    start = [f"GET /v1/signings/{event.request_id} HTTP/1.1", "Host: gateway"]

    async def both() -> bytes:
        pair = [bearer(door, user), "Authorization: Bearer x.y.z"]
        return await raw(door, *start, *(pair if order == "own first" else reversed(pair)))

    assert (await raw(door, *start, bearer(door, user))).endswith(b"200 OK")
    assert b" 400 " in await both()
    monkeypatch.setattr(edge, "is_ambiguous", lambda _: False)
    assert b" 400 " not in await both()


async def test_a_body_with_two_lengths_is_no_call(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 9112 section 6.1: what one takes for the end of the body, another takes for the next request."""
    user = new_user()
    event = requested(header(user), documents(1), door.caller)
    content = event.model_dump_json().encode()
    chunked = f"{len(content):x}\r\n".encode() + content + b"\r\n0\r\n\r\n"

    async def smuggled(*lengths: str) -> bytes:
        key = f"Idempotency-Key: {uuid4().hex}"
        kind = "Content-Type: application/json"
        start = "POST /v1/signings HTTP/1.1"
        return await raw(door, start, "Host: gateway", bearer(door, user), key, kind, *lengths, body=chunked)

    both = ("Content-Length: 5", "Transfer-Encoding: chunked")
    assert b" 400 " in await smuggled(*both)
    assert b" 400 " in await smuggled("Content-Length: 5", "Content-Length: 6")
    monkeypatch.setattr(edge, "is_ambiguous", lambda _: False)
    assert b" 202 " in await smuggled(*both)


async def test_two_idempotency_keys_are_none(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    user, keys = new_user(), [f"Idempotency-Key: {uuid4().hex}" for _ in range(2)]
    content = requested(header(user), documents(1), door.caller).model_dump_json().encode()

    async def both() -> bytes:
        start = ("POST /v1/signings HTTP/1.1", "Host: gateway", bearer(door, user), "Content-Type: application/json")
        return await raw(door, *start, *keys, f"Content-Length: {len(content)}", body=content)

    assert b" 400 " in await both()
    monkeypatch.setattr(edge, "is_ambiguous", lambda _: False)
    assert b" 202 " in await both()


PLAIN = '{"sealing_key_id": "' + "cd" * 32 + '", "sealed": "' + "c2VhbGVk" * 20 + '"}'


@pytest.mark.parametrize("kind", ["application/json", "APPLICATION/JSON", "application/vnd.x+Json; charset=utf-8"])
@pytest.mark.parametrize(
    "body",
    [
        PLAIN.replace('"sealed"', '"sealed": "c2VhbGVk", "sealed"').encode(),
        PLAIN.encode("utf-16"),
        PLAIN.replace("}", ', "sealing_key_id": NaN}').encode(),
    ],
    ids=["a name twice", "UTF-16", "NaN"],
)
async def test_a_body_that_two_readers_read_differently_is_no_authorisation(
    door: Door, monkeypatch: pytest.MonkeyPatch, body: bytes, kind: str
) -> None:
    """Also where the type is written otherwise, which is the same type (RFC 9110 section 8.3.1).

    Of a new request tests/integration/gateway/test_bad_requests.py shows the same.
    """
    event = await door.awaiting()

    async def submitted() -> ProblemCode | int:
        headers = {
            "Authorization": f"Bearer {door.token(event.signed.manifest.header.user)}",
            "Idempotency-Key": uuid4().hex,
            "Content-Type": kind,
        }
        path = f"/v1/signings/{event.request_id}/authorisations"
        answer = await door.http.post(path, content=body, headers=headers)
        return code_of(answer) if answer.is_error else answer.status_code

    assert await submitted() is ProblemCode.MALFORMED
    assert await door.submitted(event) == []
    monkeypatch.setattr(edge, "require_strict", lambda _: None)
    assert await submitted() is not ProblemCode.MALFORMED


async def test_a_body_beyond_its_bound_is_not_read(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether its length is announced, or it comes in pieces without one."""
    event = await door.awaiting()
    path = f"/v1/signings/{event.request_id}/authorisations"
    small = bodies.MAX_BODY

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b" " * (small // 2)

    for content in (b" " * (small + 1), pieces()):
        headers = {"Authorization": f"Bearer {door.token(new_user())}", "Idempotency-Key": uuid4().hex}
        answer = await door.http.post(path, content=content, headers=headers)
        assert code_of(answer) is ProblemCode.TOO_LARGE
    monkeypatch.setattr(edge, "read_body", partial(bodies.read_body, limit=2 * small))
    headers = {"Authorization": f"Bearer {door.token(new_user())}", "Idempotency-Key": uuid4().hex}
    answer = await door.http.post(path, content=b" " * (small + 1), headers=headers)
    assert code_of(answer) is ProblemCode.MALFORMED, "it was read, and judged"


def test_an_ordinary_head_is_not_ambiguous() -> None:
    ordinary = [b"host", b"accept", b"accept", b"authorization", b"idempotency-key", b"content-length"]
    assert not is_ambiguous((name, b"x") for name in ordinary)
    assert is_ambiguous((name, b"x") for name in [*ordinary, b"authorization"])
    assert is_ambiguous((name, b"x") for name in [*ordinary, b"transfer-encoding"])
