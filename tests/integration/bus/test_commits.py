"""What is handled is committed now and then, and whole wherever somebody else begins where it ended."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import AsyncMock

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaConnectionError

from libs.bus import consumption, subscriber
from libs.bus.consumption import Consumption
from libs.bus.due import DueWorker
from libs.bus.outcomes import Emit
from libs.bus.work import Work
from libs.contracts.topics import Topic
from libs.storage import ledger
from tests.integration.bus.handlers import pass_on
from tests.support.bus import Room, documents
from tests.support.tap import Tap
from tests.support.waiting import eventually

FOR_EVER = 3_600


async def handled(room: Room, tap: Tap, source: Topic, target: Topic, count: int) -> None:
    """Send as many, and wait until they have been passed on."""
    before = len(tap.of(target))
    await room.send(source, [room.event() for _ in range(count)])
    await tap.until(lambda: len(tap.of(target)) == before + count, "passed on")


@asynccontextmanager
async def behind(
    room: Room, monkeypatch: pytest.MonkeyPatch, acts: list[str]
) -> AsyncIterator[tuple[Tap, Topic, Topic]]:
    """One record is committed and nine more are only handled: neither the time nor an empty poll commits them."""
    monkeypatch.setattr(consumption, "SETTLE_EVERY", FOR_EVER)
    source, target = await room.topic(), await room.topic()
    bus, tap = room.bus(), await room.tap(target)
    bus.consume({source: pass_on(target, acts)})
    async with bus:
        await handled(room, tap, source, target, 1)
        await room.all_committed(source, 1)  # once it has paused
        monkeypatch.setattr(subscriber, "POLL_MS", 1_000 * FOR_EVER)  # however slowly we send, it sees no pause
        for _ in range(3):
            await handled(room, tap, source, target, 3)
        assert sum((await room.committed(source)).values()) == 1
        yield tap, source, target


async def test_what_comes_without_a_pause_is_committed_seldom_and_to_its_end(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumption, "SETTLE_EVERY", FOR_EVER)
    monkeypatch.setattr(DueWorker, "_sweep", AsyncMock())  # it marks, too
    commits: list[Any] = []
    commit = AIOKafkaConsumer.commit

    async def counted(consumer: AIOKafkaConsumer, offsets: Any) -> None:
        commits.append(offsets)
        await commit(consumer, offsets)

    source, target = await room.topic(), await room.topic()
    bus, tap = room.bus(), await room.tap(target)
    bus.consume({source: pass_on(target)})
    async with bus:
        await eventually(lambda: room.begun(source), "where it begins is committed")
        with monkeypatch.context() as patch:
            patch.setattr(AIOKafkaConsumer, "commit", counted)
            patch.setattr(subscriber, "POLL_MS", 1_000 * FOR_EVER)
            for _ in range(5):
                await handled(room, tap, source, target, 2)
            assert not commits
            assert await room.count("SELECT count(*) FROM unpublished") == 10, "nor marked as published"
        await handled(room, tap, source, target, 2)
        await room.all_committed(source, 12)  # once it has paused
        monkeypatch.setattr(subscriber, "POLL_MS", 1_000 * FOR_EVER)
        monkeypatch.setattr(consumption, "SETTLE_EVERY", 0.0)
        await handled(room, tap, source, target, 2)
        await room.all_committed(source, 14)  # once it is time


async def test_what_is_handled_and_not_committed_is_committed_when_the_service_stops(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with behind(room, monkeypatch, []) as (_, source, _):
        pass
    assert sum((await room.committed(source)).values()) == 10


async def test_what_is_handled_and_not_committed_is_committed_before_a_twin_takes_over(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    acts: list[str] = []
    async with behind(room, monkeypatch, acts) as (_, source, target):
        monkeypatch.undo()
        twin = room.bus(pool=await room.more_connections())
        twin.consume({source: pass_on(target, acts)})
        async with twin:
            await room.all_committed(source, 10)
    assert len(acts) == 10, "none came again"


async def test_what_a_crash_left_uncommitted_comes_again_and_is_known(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I-2, I-3."""
    with monkeypatch.context() as crashing:
        async with behind(room, crashing, []) as (tap, source, target):

            async def gone(*_: object) -> None:
                raise KafkaConnectionError

            crashing.setattr(AIOKafkaConsumer, "commit", gone)
    assert sum((await room.committed(source)).values()) == 1
    acts: list[str] = []
    bus = room.bus()
    bus.consume({source: pass_on(target, acts)})
    async with bus:
        await handled(room, tap, source, target, 1)
        await room.all_committed(source, 11)
    await tap.read()
    published = documents(tap.of(target))
    assert len(published) == len(set(published)) == 11


async def test_what_is_handled_while_marks_fail_is_not_committed_before_what_they_were_of(
    room: Room, monkeypatch: pytest.MonkeyPatch, made: list[Consumption]
) -> None:
    """I-1, I-2: the marks may lag behind the publish, and the offset behind the marks."""
    source, target = await room.topic(), await room.topic()
    began, going = asyncio.Event(), asyncio.Event()

    async def handle(work: Work[Any]) -> None:
        if work.deliveries[0].event.document == "second":
            began.set()
            await going.wait()
        await pass_on(target)(work)

    async def broken(*_: object) -> None:
        raise OSError("the connection broke")

    await room.send(source, [room.event("first"), room.event("second")], partition=0)
    bus = room.bus()
    bus.consume({source: handle}, max_records=1)
    async with bus:
        await asyncio.wait_for(began.wait(), 30)
        with monkeypatch.context() as away:
            away.setattr(ledger, "mark_published", broken)
            await made[0].settle()
        made[0].stop()
        going.set()
    assert sum((await room.committed(source)).values()) == 0
    monkeypatch.undo()
    bus = room.bus()
    bus.consume({source: pass_on(target)})
    async with bus:
        await room.all_committed(source, 2)
    assert await room.count("SELECT count(*) FROM unpublished") == 0


async def test_who_gives_partitions_up_waits_for_a_commit_that_is_under_way(
    room: Room, monkeypatch: pytest.MonkeyPatch, made: list[Consumption]
) -> None:
    """Or its twin would begin before it."""
    source, target = await room.topic(), await room.topic()
    commit, began, going = AIOKafkaConsumer.commit, asyncio.Event(), asyncio.Event()

    async def slow(consumer: AIOKafkaConsumer, offsets: Any) -> None:
        began.set()
        await going.wait()
        await commit(consumer, offsets)

    bus, tap = room.bus(), await room.tap(target)
    bus.consume({source: pass_on(target)})
    async with bus:
        await eventually(lambda: room.begun(source), "where it begins is committed")
        monkeypatch.setattr(subscriber, "POLL_MS", 1_000 * FOR_EVER)
        monkeypatch.setattr(AIOKafkaConsumer, "commit", slow)
        await handled(room, tap, source, target, 1)
        await asyncio.wait_for(made[0].idle.wait(), 30)  # the tap may see it before our publisher is told
        first = asyncio.create_task(made[0].settle())
        await asyncio.wait_for(began.wait(), 30)
        second = asyncio.create_task(made[0].settle())
        done, _ = await asyncio.wait({first, second}, timeout=0.1)
        assert not done
        going.set()
        await second
        assert sum((await room.committed(source)).values()) == 1


@asynccontextmanager
async def unfinished(room: Room) -> AsyncIterator[tuple[asyncio.Event, Topic]]:
    """A record of which a part is told, and which is not settled when the event lets its handler go on."""
    source, target = await room.topic(), await room.topic()
    told, going = asyncio.Event(), asyncio.Event()

    async def handle(work: Work[Any]) -> None:
        (delivery,) = work.deliveries
        async with work.recording() as recording:
            recording.emit(delivery, [Emit(target, delivery.event)])
        told.set()
        await going.wait()

    await room.send(source, [room.event()])
    bus, tap = room.bus(), await room.tap(target)
    bus.consume({source: handle})
    async with bus:
        await asyncio.wait_for(told.wait(), 30)
        assert not await room.empty("unpublished")
        yield going, source
    assert await room.committed(source) == {}
    await tap.read()
    assert len(tap.of(target)) == 1


@pytest.mark.parametrize("waits", [False, True])
async def test_what_an_unfinished_record_told_is_marked_before_a_twin_takes_it(
    room: Room, made: list[Consumption], waits: bool
) -> None:
    """I-2: a Pukal that is handed over tells nothing twice, nor does one that waits for the HSM meanwhile."""
    async with unfinished(room) as (going, source):
        if waits:
            made[0]._suspension.hold("something that is away")

        async def leave(_: Work[Any]) -> None:
            """For the next: whoever of the two has its partition now."""

        twin = room.bus(pool=await room.more_connections())
        twin.consume({source: leave})
        async with twin:
            await eventually(lambda: room.empty("unpublished"), "marked")
        going.set()


async def test_what_an_unfinished_record_told_is_marked_before_the_service_stops(
    room: Room, made: list[Consumption]
) -> None:
    """I-2: nor one in whose middle the service is restarted."""
    async with unfinished(room) as (going, _):
        made[0].stop()
        going.set()
    assert await room.empty("unpublished")


async def test_who_waits_and_has_nothing_to_commit_asks_nothing_of_the_database_when_nothing_comes(
    room: Room, monkeypatch: pytest.MonkeyPatch, made: list[Consumption]
) -> None:
    """What it waits for may be the database."""
    asked: list[Any] = []

    async def counted(*arguments: Any) -> None:
        asked.append(arguments)

    async with unfinished(room) as (going, _):
        monkeypatch.setattr(ledger, "mark_published", counted)
        made[0]._suspension.hold("something that is away")
        going.set()
        await asyncio.wait_for(made[0].idle.wait(), 30)
        await made[0].settle_idle()
        assert not asked
        await made[0].settle()
        assert asked, "who gives its partitions up does"
