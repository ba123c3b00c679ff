"""A body is read whole within its bounds; of large ones only a few are in memory, until their answer is made."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest
from starlette.requests import Request
from starlette.types import Message

from libs.contracts.problems import ProblemCode
from services.gateway import bodies
from services.gateway.bodies import MAX_BODY, MAX_LARGE, MAX_LARGE_BODY, LargeBodies
from services.gateway.problems import ProblemError


def call(*parts: bytes, announced: int | None = None) -> Request:
    """A call whose body comes in these parts."""
    headers = [] if announced is None else [(b"content-length", str(announced).encode())]
    coming: Iterator[tuple[int, bytes]] = iter(enumerate(parts, 1))

    async def receive() -> Message:
        number, part = next(coming)
        return {"type": "http.request", "body": part, "more_body": number < len(parts)}

    return Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive)


@contextlib.asynccontextmanager
async def refused() -> AsyncIterator[list[ProblemCode]]:
    codes: list[ProblemCode] = []
    with pytest.raises(ProblemError) as caught:
        yield codes
    codes.append(caught.value.code)


async def test_of_large_bodies_only_a_few_are_held_until_they_are_answered_and_short_ones_need_no_room() -> None:
    """I-29: memory is bounded."""
    room = LargeBodies()
    large = b"x" * MAX_BODY, b"x"
    async with contextlib.AsyncExitStack() as held:
        for _ in range(MAX_LARGE):
            assert len(await held.enter_async_context(room.read(call(*large)))) == MAX_BODY + 1
        async with refused() as codes, room.read(call(*large)):
            pass
        assert codes == [ProblemCode.UNAVAILABLE]
        async with room.read(call(b"x" * MAX_BODY)) as body:
            assert len(body) == MAX_BODY
    for _ in range(MAX_LARGE + 1):
        async with room.read(call(*large)):
            pass


async def test_what_is_refused_or_fails_gives_its_room_back() -> None:
    room = LargeBodies()
    for _ in range(MAX_LARGE + 1):
        async with refused() as codes, room.read(call(b"x" * MAX_LARGE_BODY, b"x")):
            pass
        assert codes == [ProblemCode.TOO_LARGE]
        with pytest.raises(ZeroDivisionError):
            async with room.read(call(b"x" * MAX_LARGE_BODY)):
                raise ZeroDivisionError


async def test_a_length_that_is_too_long_is_refused_before_anything_is_read() -> None:
    for announced in (MAX_LARGE_BODY + 1, 10**30):
        async with refused() as codes, LargeBodies().read(call(announced=announced)):
            pass
        assert codes == [ProblemCode.TOO_LARGE]


async def test_a_body_that_stops_coming_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "LARGE_TIMEOUT", 0.05)
    room = LargeBodies()

    async def never() -> Message:

        await asyncio.Event().wait()
        raise AssertionError

    request = Request({"type": "http", "method": "POST", "path": "/", "headers": []}, never)
    async with refused() as codes, room.read(request):
        pass
    assert codes == [ProblemCode.REQUEST_TIMEOUT]
