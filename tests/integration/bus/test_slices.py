"""Long work in slices, a graceful stop, and what a crash leaves between two steps."""

import asyncio
import gc
from dataclasses import replace
from uuid import UUID

import pytest
from aiokafka import ConsumerRecord

from libs.bus import bus as bus_module
from libs.bus.consumption import Consumption
from libs.bus.outcomes import Done, Emit, Unavailable
from libs.bus.published import Published
from libs.bus.publisher import BROKER, Publisher
from libs.bus.work import Work
from libs.contracts.cloudevents import Record, encode, event_id
from libs.contracts.topics import Topic
from libs.runtime.clock import utc_now
from libs.storage import ledger
from tests.integration.bus.handlers import pass_on
from tests.support.bus import Room, Step, documents
from tests.support.waiting import eventually, every_task_ends

LONG = 130


async def long_table(room: Room) -> None:
    await room.pool.execute(f"CREATE TABLE part AS SELECT n, false AS done FROM generate_series(1, {LONG}) AS n")


class LongWork:
    """One record, 130 parts, 10 a slice: claims none, marks its own rows, emits; settles at the end."""

    def __init__(self, target: Topic) -> None:
        self.target = target
        self.calls = 0
        self.acted: list[int] = []

    async def __call__(self, work: Work[Step]) -> None:
        self.calls += 1
        (delivery,) = work.deliveries
        while not work.out_of_time:
            async with work.reserving() as connection:
                rows = await connection.fetch("SELECT n FROM part WHERE NOT done ORDER BY n LIMIT 10")
            if not rows:
                async with work.recording(delivery) as recording:
                    for claimed in recording.deliveries:
                        recording.settle(claimed, Done())
                return
            self.acted += [row["n"] for row in rows]
            async with work.recording() as recording:
                done = await recording.connection.fetch(
                    "UPDATE part SET done = true WHERE n = ANY ($1) AND NOT done RETURNING n", [r["n"] for r in rows]
                )
                parts = [delivery.event.model_copy(update={"document": f"part{row['n']}"}) for row in done]
                recording.emit(delivery, [Emit(self.target, part) for part in parts])


async def test_long_work_goes_on_where_it_stopped(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time runs out every few slices; no part is acted on or published twice, and the record is settled once."""
    source, target = await room.topic(), await room.topic()
    await long_table(room)
    long = LongWork(target)
    expired = iter([False] * 5 + ([False] * 4 + [True, True]) * 50)
    monkeypatch.setattr(Consumption, "_expired", lambda _self: next(expired))
    await room.send(source, [room.event()])
    bus, tap = room.bus(), await room.tap(source, target)
    bus.consume({source: long}, max_records=1)
    async with bus:
        await room.all_committed(source, 1)
    await tap.read()
    assert long.calls >= 3
    assert long.acted == list(range(1, LONG + 1))
    assert sorted(documents(tap.of(target))) == sorted(f"part{n}" for n in range(1, LONG + 1))
    assert await room.count("SELECT count(*) FROM unpublished") == 0


async def test_a_slice_recorded_before_a_crash_is_published_although_the_record_is_not_finished(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I-2."""
    monkeypatch.setattr(bus_module, "STOP_BOUND", 0.1)
    source, target = await room.topic(), await room.topic()
    await long_table(room)
    event = room.event()
    await room.send(source, [event])
    tap = await room.tap(source, target)
    crashing = room.bus()
    crashing.publisher.publish = crash  # type: ignore[method-assign,assignment]
    crashing.consume({source: LongWork(target)}, max_records=1)
    async with crashing:
        await eventually(lambda: room.count("SELECT count(*) FROM unpublished"), "recorded, not published")
    assert await room.committed(source) == {}
    assert tap.of(target) == []
    bus = room.bus()
    bus.consume({source: LongWork(target)}, max_records=1)
    async with bus:
        await room.all_committed(source, 1)
    await tap.read()
    assert sorted(documents(tap.of(target))) == sorted(f"part{n}" for n in range(1, LONG + 1))


async def crash(_records: object) -> None:
    """What a process that is gone looks like to those who come after it."""
    await asyncio.Event().wait()


async def test_what_was_recorded_before_a_crash_is_published_under_the_same_id_and_not_acted_on_again(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I-2."""
    monkeypatch.setattr(bus_module, "STOP_BOUND", 0.1)
    source, target = await room.topic(), await room.topic()
    events = [room.event() for _ in range(10)]
    await room.send(source, events, partition=0)
    acts: list[str] = []
    crashing = room.bus()
    crashing.publisher.publish = crash  # type: ignore[method-assign,assignment]
    crashing.consume({source: pass_on(target, acts)})
    async with crashing:
        await eventually(lambda: room.count("SELECT count(*) FROM unpublished"), "recorded, not published")
    recorded = {row["event_id"] for row in await room.pool.fetch("SELECT event_id FROM outcome")}
    bus, tap = room.bus(), await room.tap(source, target)
    bus.consume({source: pass_on(target, acts)})
    async with bus:
        await room.all_committed(source, 10)
    await tap.read()
    assert sorted(acts) == sorted(event.document for event in events)
    assert sorted(tap.ids(target)) == sorted(str(identifier) for identifier in recorded)
    assert recorded == {event_id(target, event) for event in events}


async def test_outcomes_that_could_not_be_marked_are_not_left_behind_by_the_offset(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I-1, I-2."""
    source, target = await room.topic(), await room.topic()
    mark, failures = ledger.mark_published, iter([True, True, False])

    async def failing(*arguments: object) -> None:
        if next(failures, False):
            raise OSError("the connection broke")
        await mark(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ledger, "mark_published", failing)
    await room.send(source, [room.event()])
    bus, tap = room.bus(), await room.tap(source, target)
    bus.consume({source: pass_on(target)})
    async with bus:
        await room.all_committed(source, 1)
        assert await room.count("SELECT count(*) FROM unpublished") == 0
    await tap.read()
    assert len(tap.ids(target)) == 1, "nor published again: the broker has it"


async def test_what_is_marked_while_the_ledger_is_asked_is_not_published_again(room: Room) -> None:
    """I-2: the answer still has it, and those who wait for their mark no longer do."""
    target = await room.topic()
    event = room.event()
    outcome = ledger.Outcome(
        event_id(target, event), event_id(target, event), encode(target, event, source="test", time=utc_now())
    )
    published = Published(room.pool)
    async with room.pool.acquire() as connection:
        await ledger.record(connection, [outcome])
        published.add([outcome.event_id])

        async def asked() -> list[tuple[UUID, Record]]:
            found = await ledger.unpublished(connection, [outcome.cause])
            await published.mark()
            assert [identifier for identifier, _ in found] == [outcome.event_id]
            return found

        assert await published.without(asked()) == []
    assert await room.empty("unpublished")


async def test_what_was_published_and_not_acknowledged_is_published_again_before_the_offset_moves(room: Room) -> None:
    """I-1."""
    source, target = await room.topic(), await room.topic()
    bus, tap = room.bus(), await room.tap(source, target)
    publish = Publisher.publish
    failed: list[int] = []

    async def acknowledgement_lost(records: list[Record]) -> None:
        await publish(bus.publisher, records)
        if not failed:
            failed.append(len(records))
            assert await room.committed(source) == {}
            raise Unavailable(BROKER)

    bus.publisher.publish = acknowledgement_lost  # type: ignore[method-assign,assignment]
    acts: list[str] = []
    bus.consume({source: pass_on(target, acts)})
    events = [room.event() for _ in range(3)]
    await room.send(source, events, partition=0)
    async with bus:
        await room.all_committed(source, 3)
    await tap.read()
    assert failed
    assert len(acts) == 3
    assert set(tap.ids(target)) == {str(event_id(target, event)) for event in events}


async def test_a_graceful_stop_finishes_the_slice_commits_it_and_leaves_the_rest(room: Room) -> None:
    source, target = await room.topic(), await room.topic()
    started, go_on = asyncio.Event(), asyncio.Event()

    async def handle(work: Work[Step]) -> None:
        started.set()
        await go_on.wait()
        await pass_on(target)(work)

    await room.send(source, [room.event() for _ in range(100)], partition=0)
    bus, tap = room.bus(), await room.tap(source, target)
    bus.consume({source: handle})
    await bus.__aenter__()
    await started.wait()
    stopping = asyncio.create_task(bus.__aexit__(None, None, None))
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.wait_for(stopping, 10)
    await tap.read()
    assert len(tap.of(target)) == 25
    assert await room.committed(source) == {0: 25}
    assert await room.members() == 0
    assert await room.count("SELECT count(*) FROM unpublished") == 0


async def test_a_stop_leaves_no_task_of_the_bus_behind(room: Room) -> None:
    source, target = await room.topic(), await room.topic()
    await room.send(source, [room.event()])
    bus = room.bus()
    bus.consume({source: pass_on(target)})
    async with every_task_ends() as made, bus:
        await room.all_committed(source, 1)
        assert made


async def test_a_start_without_a_broker_says_unavailable_and_leaves_nothing_open(room: Room) -> None:
    bus = room.bus(kafka=replace(room.stack.kafka, bootstrap="127.0.0.1:1"))
    bus.consume({await room.topic(): pass_on(await room.topic())})
    async with every_task_ends():
        with pytest.raises(Unavailable):
            await bus.__aenter__()


async def test_a_batch_that_was_handled_is_not_held_until_the_next(room: Room) -> None:
    """FastStream's own hold on it would keep megabytes of a long list for as long as nobody else asks for anything."""
    source, target = await room.topic(), await room.topic()
    await room.send(source, [room.event() for _ in range(5)])
    bus = room.bus()
    bus.consume({source: pass_on(target)})

    def held() -> list[object]:
        return [one for one in gc.get_objects() if isinstance(one, ConsumerRecord) and one.topic == source.name]

    async with bus:
        await room.all_committed(source, 5)
        await eventually(lambda: not held(), "no record of the batch is held")
