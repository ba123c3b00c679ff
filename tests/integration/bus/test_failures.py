"""What fails, and what it may cost: one record, or a wait; never an event."""

import asyncio
import re

import asyncpg
import pytest
from aiokafka.consumer.group_coordinator import GroupCoordinator

from libs.bus.outcomes import Done, Emit, Unavailable
from libs.bus.work import Work
from libs.contracts.cloudevents import event_id
from libs.runtime.health import Health
from libs.storage.pool import CONNECT_TIMEOUT
from tests.integration.bus.handlers import doubled, pass_on
from tests.support.bus import ROLE, Room, Step, documents, reports, waits_for
from tests.support.journal import header
from tests.support.waiting import eventually


async def test_an_unexpected_exception_costs_one_record_of_a_slice(room: Room) -> None:
    source, target = await room.topic(), await room.topic()
    events = [room.event() for _ in range(25)]

    async def handle(work: Work[Step]) -> None:
        async with work.recording(*work.deliveries) as recording:
            for delivery in recording.deliveries:
                if delivery.event == events[11]:
                    raise ZeroDivisionError("a secret that no dead letter repeats")
                recording.settle(delivery, Done((Emit(target, delivery.event),)))

    await room.send(source, events, partition=1)
    bus, tap = room.bus(), await room.tap(source, target)
    bus.consume({source: handle})
    async with bus:
        await room.all_committed(source, 25)
    await tap.read()
    assert sorted(documents(tap.of(target))) == sorted(event.document for event in events if event != events[11])
    (letter,) = tap.of(source.dead_letter)
    reason = header(letter, "x-dead-letter-reason")
    assert re.fullmatch(r"the handler failed: ZeroDivisionError at libs/bus/\w+\.py:\d+", reason), (
        "kind and place alone"
    )
    assert header(letter, "x-dead-letter-offset") == "11"


async def test_a_value_that_the_database_cannot_take_is_poison_not_an_outage(room: Room) -> None:
    """Waiting would stop the partition for good."""
    source, target = await room.topic(), await room.topic()

    async def handle(work: Work[Step]) -> None:
        async with work.recording(*work.deliveries) as recording:
            for delivery in recording.deliveries:
                if delivery.event.number:
                    with pytest.raises(asyncpg.DataError):  # asyncpg refuses it before the server sees it
                        await recording.connection.execute("SELECT $1::int", 2**40)
                    await recording.connection.execute("SELECT $1::int", 2**40)
                recording.settle(delivery, Done((Emit(target, delivery.event),)))

    await room.send(source, [room.event("a"), room.event("b", 1), room.event("c")], partition=0)
    bus, tap = room.bus(), await room.tap(source, target)
    bus.consume({source: handle})
    async with bus:
        await room.all_committed(source, 3)
    await tap.read()
    assert sorted(documents(tap.of(target))) == ["a", "c"]  # of two partitions
    assert documents(tap.of(source.dead_letter)) == ["b"]


async def test_an_outcome_that_its_topic_would_refuse_for_ever_is_poison_not_an_outage(room: Room) -> None:
    source, target = await room.topic(), await room.topic(max_bytes=4096)

    async def handle(work: Work[Step]) -> None:
        async with work.recording(*work.deliveries) as recording:
            for delivery in recording.deliveries:
                long = "x" * 4096 if delivery.event.number else "short"
                event = delivery.event.model_copy(update={"document": long})
                recording.settle(delivery, Done((Emit(target, event),)))

    await room.send(source, [room.event("a"), room.event("b", 1), room.event("c")], partition=0)
    bus, tap = room.bus(), await room.tap(source, target)
    bus.consume({source: handle})
    async with bus:
        await room.all_committed(source, 3)
    await tap.read()
    assert documents(tap.of(source.dead_letter)) == ["b"]


async def test_while_a_dependency_is_away_nothing_is_skipped_and_the_group_stays(room: Room) -> None:
    """I-6."""
    source, target = await room.topic(partitions=2), await room.topic()
    events = [room.event() for _ in range(60)]
    away, asked = asyncio.Event(), 0
    health = Health(room.schema)

    async def probe() -> None:
        nonlocal asked
        asked += 1
        if not away.is_set():
            raise Unavailable("relay")

    handled: list[str] = []

    async def handle(work: Work[Step]) -> None:
        if not away.is_set() and len(handled) >= 25:
            raise Unavailable("relay")
        await pass_on(target, handled)(work)

    await room.send(source, events, partition=0)
    bus, tap = room.bus(health=health, probes={"relay": probe}), await room.tap(source, target)
    bus.consume({source: handle})
    async with bus:
        await eventually(lambda: asked >= 4, "the probe is asked again and again")
        assert not health.ready
        assert await room.committed(source) == {0: 25}
        assert await room.members() == 1
        assert len(handled) == 25
        away.set()
        await room.all_committed(source, 60)
        assert health.ready
    await tap.read()
    assert handled == [event.document for event in events]
    assert sorted(tap.ids(target)) == sorted(str(event_id(target, event)) for event in events)


async def test_what_was_settled_before_a_dependency_went_away_stays_settled(room: Room) -> None:
    source, target = await room.topic(), await room.topic()
    events = [room.event() for _ in range(10)]
    there, acts = asyncio.Event(), []

    async def handle(work: Work[Step]) -> None:
        for delivery in work.deliveries:
            if delivery.event == events[6] and not there.is_set():
                raise Unavailable("hsm")
            acts.append(delivery.event.document)
            async with work.recording(delivery) as recording:
                for claimed in recording.deliveries:
                    recording.settle(claimed, Done((Emit(target, claimed.event),)))

    async def probe() -> None:
        if not there.is_set():
            raise Unavailable("hsm")

    await room.send(source, events, partition=0)
    bus = room.bus(probes={"hsm": probe})
    bus.consume({source: handle})
    async with bus:
        await room.all_committed(source, 6)
        assert await room.committed(source) == {0: 6}
        there.set()
        await room.all_committed(source, 10)
    assert acts == [event.document for event in events]


async def test_a_handler_that_forgets_a_delivery_waits_and_does_not_spin(room: Room) -> None:
    source, target = await room.topic(), await room.topic()
    calls, health = 0, Health(room.schema)

    async def handle(work: Work[Step]) -> None:
        nonlocal calls
        calls += 1
        if calls > 3:
            await pass_on(target)(work)

    await room.send(source, [room.event()])
    bus = room.bus(health=health)
    bus.consume({source: handle})
    async with bus:
        await eventually(lambda: calls, "called")
        await eventually(lambda: reports(health, f"{room.schema}:unsettled"), "waits")
        await room.all_committed(source, 1)
    assert calls == 4


async def test_a_database_that_refuses_connections_loses_and_doubles_nothing(room: Room) -> None:
    """I-6."""
    source, target = await room.topic(), await room.topic()
    events = [room.event() for _ in range(300)]
    half = asyncio.Event()

    async def handle(work: Work[Step]) -> None:
        await pass_on(target)(work)
        handled.update(delivery.event.document for delivery in work.deliveries)
        if len(handled) >= 100:
            half.set()

    handled: set[str] = set()
    health = Health(room.schema)
    superuser = await room.superuser()
    bus, tap = room.bus(health=health), await room.tap(source, target)
    bus.consume({source: handle}, max_records=25)
    try:
        async with bus:
            await room.send(source, events)
            await asyncio.wait_for(half.wait(), 30)
            await superuser.execute(f"ALTER ROLE {ROLE} CONNECTION LIMIT 0")
            await superuser.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", room.schema
            )
            await eventually(lambda: waits_for(health, "database") and not health.ready, "noticed")
            assert await room.members() == 1
            await superuser.execute(f"ALTER ROLE {ROLE} CONNECTION LIMIT -1")
            await room.all_committed(source, 300)
    finally:
        await superuser.execute(f"ALTER ROLE {ROLE} CONNECTION LIMIT -1")
        await superuser.close()
    await tap.read()
    assert set(tap.ids(target)) == {str(event_id(target, event)) for event in events}
    assert await room.count("SELECT count(*) FROM outcome") == 300
    assert await room.count("SELECT count(*) FROM unpublished") == 0
    assert tap.of(source.dead_letter) == []
    assert CONNECT_TIMEOUT < 30


@pytest.mark.timeout(120)
async def test_a_broker_killed_in_the_middle_loses_and_doubles_no_event(room: Room) -> None:
    """I-2, I-6."""
    source, target = await room.topic(), await room.topic()
    events = [room.event() for _ in range(400)]
    some = asyncio.Event()

    async def handle(work: Work[Step]) -> None:
        await pass_on(target)(work)
        some.set()

    bus = room.bus()
    bus.consume({source: handle}, max_records=10)
    await room.send(source, events)
    async with bus:
        await asyncio.wait_for(some.wait(), 30)
        await room.stack.killed_and_back("kafka")
        await room.all_committed(source, 400, seconds=60)
    tap = await room.tap(source, target)
    await tap.read()
    assert set(tap.ids(target)) == {str(event_id(target, event)) for event in events}
    assert await room.count("SELECT count(*) FROM outcome") == 400
    assert await room.count("SELECT count(*) FROM unpublished") == 0
    assert tap.of(source.dead_letter) == []
    assert len(doubled(tap.ids(target))) <= 25  # what was not acknowledged is sent again under the same id


async def test_a_consumer_that_no_longer_reaches_its_group_ends_the_process(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I-32."""
    ended = asyncio.Event()
    monkeypatch.setattr("libs.bus.reach.end_process", ended.set)
    source, target = await room.topic(), await room.topic()
    bus, tap = room.bus(), await room.tap(source, target)
    bus.consume({source: pass_on(target)})
    async with bus:
        await room.send(source, [room.event()])
        await eventually(lambda: room.committed(source), "one is committed")
        with monkeypatch.context() as patch:
            patch.setattr("libs.bus.consumption.COMMIT_TIMEOUT", 0.1)
            patch.setattr("libs.bus.log_start.ASK_TIMEOUT", 1.5)
            # As it was seen: the consumer waits for its coordinator for ever, and fetches all the same.
            patch.setattr(GroupCoordinator, "ensure_coordinator_known", lambda _: asyncio.Event().wait())
            await room.send(source, [room.event()])
            await tap.until(lambda: len(tap.of(target)) == 2, "handled")
            assert not ended.is_set()
            await asyncio.wait_for(ended.wait(), 30)
        await room.all_committed(source, 2)  # and one whose coordinator came back goes on
    assert len(tap.of(target)) == 2
