"""A CRL server is asked with a condition, and can neither flood nor redirect us."""

from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from services.crl_verifier.download import MAX_CRL_BYTES, DownloadFailed, Fetched, fetch

URL = "http://crl.test/issuing.crl"


async def ask(respond: Callable[[httpx.Request], httpx.Response], *known: str | None) -> Fetched | None:
    async with httpx.AsyncClient(transport=httpx.MockTransport(respond), follow_redirects=False) as client:
        return await fetch(client, URL, *(known or (None, None)))


async def test_what_is_served_comes_with_its_validators():
    async def parts() -> AsyncIterator[bytes]:
        yield b"d"
        yield b"er"

    served = httpx.Response(200, content=parts(), headers={"ETag": '"7"', "Last-Modified": "today"})
    assert await ask(lambda _: served) == Fetched(b"der", '"7"', "today")


async def test_what_is_known_is_asked_for_with_its_validators():
    def respond(request: httpx.Request) -> httpx.Response:
        known = (request.headers["If-None-Match"], request.headers["If-Modified-Since"])
        return httpx.Response(304 if known == ('"7"', "today") else 200)

    assert await ask(respond, '"7"', "today") is None


@pytest.mark.parametrize("name", [b"ETag", b"Last-Modified"])
async def test_a_validator_that_cannot_be_sent_back_is_none(name):
    """Whoever was on the way once would have every later look fail."""

    async def parts() -> AsyncIterator[bytes]:
        yield b"der"

    served = httpx.Response(200, content=parts(), headers=[(name, '"é"'.encode())])
    first = await ask(lambda _: served)
    assert first == Fetched(b"der", None, None)
    assert await ask(lambda _: httpx.Response(304), first.etag, first.last_modified) is None


@pytest.mark.parametrize("status", [204, 302, 404, 500])
async def test_any_other_answer_is_a_failure(status):
    with pytest.raises(DownloadFailed, match=str(status)):
        await ask(lambda _: httpx.Response(status, headers={"Location": URL}))


async def test_a_server_that_cannot_be_reached_is_a_failure():
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(DownloadFailed):
        await ask(refuse)


async def test_a_flood_is_cut_off():
    sent = 0

    async def flood() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 2**22
            yield bytes(2**22)

    with pytest.raises(DownloadFailed, match="longer"):
        await ask(lambda _: httpx.Response(200, content=flood()))
    assert sent <= MAX_CRL_BYTES + 2**22
