"""A client sees every row of a timeline once and in order, however often it is cut off and whoever serves it."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from itertools import cycle, groupby
from typing import Any
from uuid import UUID, uuid4

import pytest

from libs.contracts.base import Event
from libs.contracts.manifest import Header
from libs.contracts.problems import ProblemCode
from libs.runtime.health import Health
from services.gateway import live, store, timeline
from services.gateway.app import serve
from services.gateway.schemas import Counts
from services.gateway.timeline import Documents
from tests.integration.gateway.conftest import Door, code_of, routed
from tests.integration.gateway.streams import Told, path, pool_of_one, serving, stream, whole
from tests.support.requests import key_state, new_user
from tests.support.waiting import eventually
from tests.unit.gateway import histories
from tests.unit.gateway.histories import history, new_header, read, stamped

PUKAL = 750

CUTS = 20

STRANGE_IDS = ["", "x", "-1", "+1", "01", "1.0", "1_0", "1 2", "9" * 19, "Rahsia123", "1;2"]


@asynccontextmanager
async def twin(door: Door):
    """A second replica; yields its address."""
    health = Health("twin")
    async with serve(door.settings, health, door.routes) as port:
        await eventually(lambda: health.ready, "the twin is ready")
        yield f"https://127.0.0.1:{port}"


async def commit(door: Door, *events: Event) -> None:
    """Have rows committed by nobody that serves the stream."""
    async with door.room.pool.acquire() as connection, connection.transaction():
        await store.advance(connection, read(stamped(events)))


async def rows_of(door: Door, request_id: UUID) -> list[Any]:
    return await door.room.pool.fetch("select * from timeline where request_id = $1 order by seq", request_id)


async def feed(door: Door, head: Header) -> None:
    """What the chain says of a long request, while others listen; `completed` when everything before it is known."""
    steps = history(head, posts=head.documents - 1)
    documents = steps[5:-1]
    for event in steps[:5]:
        await door.room.send(routed(door.routes, event), [event])
    for first in range(0, len(documents), 10):
        for topic, events in groupby(documents[first : first + 10], lambda event: routed(door.routes, event)):
            await door.room.send(topic, list(events))
    everything = Counts(signed=PUKAL, verified=PUKAL - 1, posted=PUKAL - 1, rejected=1)
    await door.until(head, lambda status: status.counts == everything, "every document")
    await door.room.send(door.routes.completed, steps[-1:])


async def test_a_client_cut_off_twenty_times_sees_everything_once_and_in_order_from_two_replicas(door: Door) -> None:
    """I-22."""
    head = new_header(PUKAL)
    await commit(door, histories.resolved(head))  # it exists before its first stream
    seen: list[Told] = []
    cuts = 0
    async with twin(door) as other:
        feeding = asyncio.create_task(feed(door, head))
        for at, patience in zip(cycle(["", other]), cycle([1, 2, 1, 3]), strict=False):
            async with stream(door, head.request_id, head.user, after=seen[-1].id if seen else None, at=at) as cut:
                seen += await cut.read(patience if cuts < CUTS else -1)
            if seen[-1].kind == "completed":
                break
            cuts += 1
        await feeding
    assert cuts >= CUTS
    rows = await rows_of(door, head.request_id)
    assert [told.id for told in seen] == list(range(1, len(rows) + 1))
    assert [(told.kind, told.moment.at, told.moment.reached) for told in seen] == [
        (row["kind"], row["at"], row["reached"]) for row in rows
    ]
    signed = Counter(
        name
        for told in seen
        if told.kind == "signed" and isinstance(told.moment.data, Documents)
        for name in told.moment.data.documents
    )
    assert set(signed.values()) == {1}
    assert len(signed) == PUKAL
    assert await whole(door, head.request_id, head.user) == seen  # and who was never cut sees the same


async def test_a_row_that_another_replica_commits_appears_in_a_stream_that_is_open(door: Door) -> None:
    head = new_header(2)
    await commit(door, histories.resolved(head))
    async with stream(door, head.request_id, head.user) as opened, aclosing(opened.events()) as events:
        assert (await anext(events)).kind == "medium-resolved"
        for event in (histories.dispatched(head), histories.signed(head, 0), histories.completed(head, [0, 1])):
            await commit(door, event)
            assert (await anext(events)).moment.at == histories.BEGIN
        assert [told async for told in events] == []  # the last row ends the stream


async def test_completed_is_the_last_and_who_has_it_is_told_not_to_come_back(door: Door) -> None:
    head = new_header(2)
    await commit(door, histories.resolved(head), histories.completed(head, [0, 1]))
    await commit(door, histories.posted(head, 0))  # overtaken; `completed` has said all that it says
    seen = await whole(door, head.request_id, head.user)
    assert [(told.id, told.kind) for told in seen] == [(1, "medium-resolved"), (2, "completed")]
    assert await whole(door, head.request_id, head.user, after=1) == seen[1:]
    for last in ("2", "3"):
        answer = await door.get(path(head.request_id), door.token(head.user), **{"Last-Event-ID": last})
        assert (answer.status_code, answer.content) == (204, b"")


async def test_the_timeline_of_another_is_not_found(door: Door) -> None:
    event = await door.awaiting()
    user = event.signed.manifest.header.user
    other = door.pki.caller("etanah", system="eTanah")
    await door.tell(key_state(other, "caller", "etanah", door.pki))
    strangers = [
        await door.get(path(event.request_id), door.token(new_user())),
        await door.get(path(event.request_id), door.token(user, caller=other, iss="etanah")),
        await door.get(path(event.request_id), door.token(new_user()), **{"Last-Event-ID": "1"}),
        await door.get(path(uuid4()), door.token(user)),
    ]
    assert [code_of(answer) for answer in strangers] == [ProblemCode.NOT_FOUND] * len(strangers)
    assert len({answer.text.replace(answer.headers["trace-id"], "") for answer in strangers}) == 1
    assert code_of(await door.get(path(event.request_id), None)) is ProblemCode.UNAUTHORISED


async def test_a_stream_of_a_request_that_turns_out_to_be_anothers_ends_and_tells_no_more(door: Door) -> None:
    true = new_header(1)
    claimant = new_user()
    claimed = timeline.requested(true.request_id, {**true.model_dump(), "user": claimant}, histories.BEGIN)
    async with door.room.pool.acquire() as connection, connection.transaction():
        await store.advance(connection, [claimed])
    async with stream(door, true.request_id, claimant) as opened, aclosing(opened.events()) as events:
        assert (await anext(events)).kind == "requested"
        await commit(door, histories.resolved(true))
        assert [told async for told in events] == []
    assert code_of(await door.get(path(true.request_id), door.token(claimant))) is ProblemCode.NOT_FOUND


@pytest.mark.parametrize("last", STRANGE_IDS)
async def test_a_last_event_id_that_is_none_of_ours_is_refused(door: Door, last: str) -> None:
    head = new_header(1)
    await commit(door, histories.resolved(head))
    answer = await door.get(path(head.request_id), door.token(head.user), **{"Last-Event-ID": last})
    assert code_of(answer) is ProblemCode.BODY_INVALID
    assert [fault["place"] for fault in answer.json()["errors"]] == ["header.last-event-id"]
    assert "Rahsia" not in answer.text


async def test_a_last_event_id_that_was_never_given_is_refused_and_skips_nothing(door: Door) -> None:
    head = new_header(1)
    await commit(door, histories.resolved(head), histories.dispatched(head))
    answer = await door.get(path(head.request_id), door.token(head.user), **{"Last-Event-ID": "3"})
    assert code_of(answer) is ProblemCode.BODY_INVALID
    async with stream(door, head.request_id, head.user, after=0) as opened:
        assert [told.id for told in await opened.read(2)] == [1, 2]


async def test_one_stream_too_many_is_told_when_to_come_back_and_calls_have_their_room(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MAX_STREAMS", 2)
    head = new_header(1)
    await commit(door, histories.resolved(head))

    # Streams of its own: one of an earlier test may be cut, and not gone yet.
    streams = live.Live(door.room.pool)
    async with serving(door, door.room.pool, streams) as port, AsyncExitStack() as both:
        at = f"http://127.0.0.1:{port}"

        async def opens() -> bool:
            bearer = {"Authorization": f"Bearer {door.token(head.user)}"}
            async with door.http.stream("GET", at + path(head.request_id), headers=bearer) as answer:
                return answer.status_code == 200

        async with stream(door, head.request_id, head.user, at=at):
            await both.enter_async_context(stream(door, head.request_id, head.user, at=at))
            answer = await door.get(at + path(head.request_id), door.token(head.user))
            assert code_of(answer) is ProblemCode.UNAVAILABLE
            assert answer.headers["retry-after"]
            assert (await door.status(head.request_id, head.user)).seq == 1
        await eventually(opens, "a stream that was cut leaves its place to another")


async def test_silence_is_filled_with_comments_and_a_stream_that_has_lived_long_ends_in_order(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "HEARTBEAT", 0.0)
    monkeypatch.setattr(live, "POLL", 0.01)
    monkeypatch.setattr(live, "LIFE", 3.0)
    head = new_header(1)
    await commit(door, histories.resolved(head))
    async with stream(door, head.request_id, head.user) as opened:
        assert [told.kind async for told in opened.events()] == ["medium-resolved"]
        assert opened.comments > 0
    await commit(door, histories.completed(head, [0]))
    assert [told.kind for told in await whole(door, head.request_id, head.user, after=1)] == ["completed"]


async def test_a_stream_ends_in_order_while_the_database_cannot_be_asked_and_goes_on_later(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = new_header(1)
    await commit(door, histories.resolved(head))
    async with pool_of_one(door) as pool, serving(door, pool, live.Live(pool)) as port:
        at = f"http://127.0.0.1:{port}"
        async with stream(door, head.request_id, head.user, at=at) as opened, aclosing(opened.events()) as events:
            assert (await anext(events)).id == 1
            monkeypatch.setattr(live, "ACQUIRE_TIMEOUT", 0.1)
            async with pool.acquire():
                await commit(door, histories.completed(head, [0]))
                assert [told async for told in events] == []
            monkeypatch.undo()
        assert [told.id for told in await whole(door, head.request_id, head.user, after=1, at=at)] == [2]


async def test_streams_end_in_order_when_the_service_stops(door: Door) -> None:
    head = new_header(1)
    await commit(door, histories.resolved(head))
    async with AsyncExitStack() as serving, AsyncExitStack() as clients:
        other = await serving.enter_async_context(twin(door))
        opened = await clients.enter_async_context(stream(door, head.request_id, head.user, at=other))
        events = await clients.enter_async_context(aclosing(opened.events()))
        assert (await anext(events)).id == 1
        stopping = asyncio.create_task(serving.aclose())
        assert [told async for told in events] == []
        await stopping
