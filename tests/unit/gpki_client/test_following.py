"""A timeline is told once and in order, over however many connections, and ends with `completed`."""

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from libs.gpki_client import AnswerError, GpkiUnavailable, Problem, transport
from libs.gpki_client import client as client_module
from libs.gpki_client.answers import Event
from tests.unit.gpki_client.test_client import USER, client


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(client_module, "COME_BACK", 0.0)


class Pieces(httpx.AsyncByteStream):
    """A body in pieces, that may break off."""

    def __init__(self, *pieces: bytes, breaks: bool = False) -> None:
        self._pieces = pieces
        self._breaks = breaks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece
        if self._breaks:
            raise httpx.RemoteProtocolError("gone")


def event(seq: int, kind: str = "signed", **data: Any) -> bytes:
    told = {"at": "2026-11-23T08:00:00Z", "reached": None, "data": data, "new": 1}
    return f"id: {seq}\nevent: {kind}\ndata: {json.dumps(told, ensure_ascii=False)}\n\n".encode()


class Timeline:
    """Answers connection after connection; keeps what each one said it had."""

    def __init__(self, *connections: httpx.Response | Exception) -> None:
        self._connections = iter(connections)
        self.last: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.last.append(request.headers["last-event-id"])
        answer = next(self._connections)
        if isinstance(answer, Exception):
            raise answer
        return answer


def stream(*pieces: bytes, breaks: bool = False) -> httpx.Response:
    return httpx.Response(200, stream=Pieces(*pieces, breaks=breaks))


async def follow(timeline: Timeline, *, after: int = 0) -> list[Event]:
    async with client(timeline) as gpki:
        return [event async for event in gpki.follow(uuid4(), USER, after=after)]


async def test_each_event_is_told_once_and_in_order_over_broken_connections() -> None:
    whole = event(1) + b":\n\n" + event(2)
    timeline = Timeline(
        stream(b"retry: 2000\n\n", whole, event(3)[:-9], breaks=True),
        httpx.ConnectError("refused"),
        httpx.Response(503, json={"code": "unavailable"}),
        stream(event(2), event(3)),
        stream(),
        stream(*[bytes([byte]) for byte in event(4) + event(5, "completed") + event(6)]),
    )
    events = await follow(timeline)
    assert [(one.seq, one.kind) for one in events] == [(n, "signed") for n in (1, 2, 3, 4)] + [(5, "completed")]
    assert timeline.last == ["0", "2", "2", "2", "3", "3"]


async def test_what_json_may_hold_does_not_split_a_line() -> None:
    (told,) = await follow(Timeline(stream(event(1, "completed", detail="a\u2028b\x85c"))))
    assert told.data["detail"] == "a\u2028b\x85c"


async def test_lines_may_end_as_the_standard_allows() -> None:
    assert len(await follow(Timeline(stream(event(1, "completed").replace(b"\n", b"\r\n"))))) == 1


async def test_a_timeline_that_was_told_to_its_end_is_over() -> None:
    timeline = Timeline(httpx.Response(204))
    assert await follow(timeline, after=9) == []
    assert timeline.last == ["9"]


async def test_a_request_that_was_just_published_may_be_unknown_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = httpx.Response(404, json={"code": "not-found"})
    assert len(await follow(Timeline(unknown, unknown, stream(event(1, "completed"))))) == 1
    monkeypatch.setattr(client_module, "APPEARS_WITHIN", -1.0)
    with pytest.raises(Problem, match="not-found"):
        await follow(Timeline(unknown))


async def test_a_request_that_is_taken_from_us_is_refused_at_once() -> None:
    with pytest.raises(Problem, match="not-found"):
        await follow(Timeline(stream(event(1)), httpx.Response(404, json={"code": "not-found"})))


async def test_an_api_that_stays_away_is_not_asked_for_ever() -> None:
    timeline = Timeline(stream(event(1)), *[httpx.ConnectError("refused")] * transport.STREAM_TRIES)
    with pytest.raises(GpkiUnavailable):
        await follow(timeline)
    assert len(timeline.last) == 1 + transport.STREAM_TRIES


@pytest.mark.parametrize(
    "wrong", [b"data: x\n\n", b"id: 1\ndata: []\n\n", b"id: x\ndata: {}\n\n", b"id: 1\ndata: {}\n\n"]
)
async def test_what_is_no_event_of_ours_is_told_as_that(wrong: bytes) -> None:
    with pytest.raises(AnswerError):
        await follow(Timeline(stream(wrong)))


async def test_an_endless_line_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MAX_EVENT", 1000)
    with pytest.raises(AnswerError, match="too long"):
        await follow(Timeline(stream(b"data: ", b"x" * 1001)))
