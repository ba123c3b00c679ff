"""Timers: fired once each time they are set, moved, never lost; and what has lost its replay."""

import dataclasses
from datetime import datetime, timedelta

import pytest

from libs.bus import due
from libs.bus.delivery import Delivery
from libs.bus.outcomes import Done, Park, Poison, Unavailable
from libs.bus.recording import TIMER_RETRY
from libs.bus.slices import SLICE
from libs.bus.work import Work
from libs.contracts.cloudevents import encode, event_id
from libs.contracts.topics import Topic
from libs.runtime.clock import utc_now
from libs.storage import ledger
from tests.integration.bus.handlers import deciding, pass_on
from tests.support.bus import REQUEST, Room, Step, declared
from tests.support.waiting import eventually

SOON = timedelta(milliseconds=100)
LATER = timedelta(hours=1)


async def set_timer(room: Room, timer: Topic, event: Step, after: timedelta) -> None:
    async with room.pool.acquire() as connection:
        await ledger.set_timer(
            connection,
            timer=event_id(timer, event),
            request_id=REQUEST,
            at=utc_now() + after,
            content_hash=b"",
            record=encode(timer, event, source="test", time=utc_now()),
        )


async def test_a_timer_fires_once_however_many_replicas_look(room: Room) -> None:
    """I-7."""
    timer, target = declared("timer.test"), await room.topic()
    fired: list[Delivery[Step]] = []
    replicas = [room.bus(pool=pool, lease=timedelta()) for pool in (room.pool, await room.more_connections())]
    tap = await room.tap(target)
    for replica in replicas:
        replica.timer(timer, deciding(fired, Done()))
    event = room.event()
    await set_timer(room, timer, event, SOON)
    async with replicas[0], replicas[1]:
        await eventually(lambda: fired, "fired")
        await eventually(lambda: room.empty("due"), "the row is gone")
    assert await room.count("SELECT count(*) FROM inbox") == 1
    assert tap.of(target) == []
    assert all(delivery.is_timer for delivery in fired)


async def test_a_timer_can_be_moved(room: Room) -> None:
    timer = declared("timer.test")
    fired: list[Delivery[Step]] = []
    sooner, later = room.event("sooner"), room.event("later")
    await set_timer(room, timer, sooner, LATER)
    await set_timer(room, timer, sooner, SOON)
    await set_timer(room, timer, later, SOON)
    await set_timer(room, timer, later, LATER)
    bus = room.bus()
    bus.timer(timer, deciding(fired, Done()))
    async with bus:
        await eventually(lambda: fired, "fired")
        await eventually(lambda: room.empty("due WHERE at <= now()"), "what was due is gone")
    assert [delivery.event.document for delivery in fired] == ["sooner"]
    assert await room.count("SELECT count(*) FROM due") == 1


async def test_a_timer_moved_while_it_fires_fires_again(room: Room) -> None:
    """Else a code that is sent while the expiry of its request is looked at would leave it open for ever."""
    timer, event = declared("timer.test"), room.event()
    fired: list[Delivery[Step]] = []

    async def handle(work: Work[Step]) -> None:
        fired.extend(work.deliveries)
        async with work.recording(*work.deliveries) as recording:
            for delivery in recording.deliveries:
                if len(fired) == 1:
                    await set_timer(room, timer, event, SOON)  # on another connection, as another handler would
                recording.settle(delivery, Done())

    await set_timer(room, timer, event, timedelta())
    bus = room.bus()
    bus.timer(timer, handle)
    async with bus:
        await eventually(lambda: len(fired) == 2, "fired again")
        await eventually(lambda: room.empty("due"), "the row is gone")
    assert fired[0].id != fired[1].id


@pytest.mark.parametrize("probe", ["answers", "does not"])
async def test_what_waits_for_what_is_away_keeps_no_timer_from_firing(
    room: Room, monkeypatch: pytest.MonkeyPatch, probe: str
) -> None:
    """A key that an HSM has lost, or an HSM that is away, would keep every other request from its end."""
    monkeypatch.setattr(due, "RELEASE", timedelta())  # all are due, always
    source, timer = await room.topic(), declared("timer.test")
    assert source.name < timer.name, "or the timer has its turn first"
    fired: list[Delivery[Step]] = []

    async def waits(work: Work[Step]) -> None:
        if all(delivery.parked for delivery in work.deliveries):
            raise Unavailable("hsm")
        async with work.recording(*work.deliveries) as recording:
            for delivery in recording.deliveries:
                recording.settle(delivery, Park(timedelta(), "waits"))

    async def asked() -> None:
        if probe == "does not":
            raise Unavailable("hsm")

    bus = room.bus(probes={"hsm": asked})
    bus.consume({source: waits})
    bus.timer(timer, deciding(fired, Done()))
    waiting = SLICE + 5  # more than are claimed at once, and all before the timer
    await room.send(source, [room.event() for _ in range(waiting)])
    async with bus:
        await room.all_committed(source, waiting)
        await set_timer(room, timer, room.event(), timedelta())
        await eventually(lambda: fired, "fired")
    assert await room.count("SELECT count(*) FROM due") == waiting


async def test_a_timer_that_cannot_be_processed_is_never_lost(room: Room) -> None:
    """It has no topic to die on; what it is there to end would stay open."""
    timer = declared("timer.test")
    poisoned, raising, unreadable = room.event("poisoned"), room.event("raising"), room.event("unreadable")
    seen: list[str] = []

    async def handle(work: Work[Step]) -> None:
        seen.extend(delivery.event.document for delivery in work.deliveries)
        async with work.recording(*work.deliveries) as recording:
            for delivery in recording.deliveries:
                if delivery.event == raising:
                    raise ZeroDivisionError
                recording.settle(delivery, Poison("never mind"))

    for event in (poisoned, raising, unreadable):
        await set_timer(room, timer, event, timedelta())
    await room.pool.execute("UPDATE due SET value = 'x' WHERE id = $1", event_id(timer, unreadable))
    bus = room.bus()
    bus.timer(timer, handle)
    async with bus:
        await eventually(
            lambda: room.count("SELECT count(*) FROM due WHERE at > now() + $1::interval", TIMER_RETRY / 2),
            "tried again later",
        )

        async def all_later() -> bool:
            return await room.count("SELECT count(*) FROM due WHERE at > now() + $1::interval", TIMER_RETRY / 2) == 3

        await eventually(all_later, "all three are tried again later")
    assert {"poisoned", "raising"} == set(seen)
    assert await room.count("SELECT count(*) FROM outcome") == 0


async def test_the_lease_of_a_dead_worker_is_taken_over(room: Room) -> None:
    """I-7."""
    timer, target = declared("timer.test"), await room.topic()
    events = [room.event() for _ in range(5)]
    for event in events:
        await set_timer(room, timer, event, timedelta())
    async with room.pool.acquire() as connection:  # a worker claims, and is never heard of again
        claimed = await ledger.claim_due(connection, what=[timer.name], lease=timedelta(seconds=2), limit=25)
    assert len(claimed) == 5
    taken: list[datetime] = []
    on = pass_on(target)

    async def handle(work: Work[Step]) -> None:
        taken.extend(delivery.parked.now for delivery in work.deliveries if delivery.parked)
        await on(work)

    bus, tap = room.bus(), await room.tap(target)
    bus.timer(timer, handle)
    async with bus:
        await tap.until(lambda: len(tap.of(target)) == 5, "taken over")
    assert len(taken) == 5
    assert min(taken) >= max(row.leased_until for row in claimed), "no sooner than its end"
    assert sorted(tap.ids(target)) == sorted(str(event_id(target, event)) for event in events)


async def test_what_was_recorded_and_has_lost_its_replay_is_published(room: Room) -> None:
    """I-2: A timer that emits and is set again, killed before it published: no offset and no due row would bring it."""
    target = await room.topic()
    event = room.event()
    record = encode(target, event, source="test", time=utc_now())
    recorded = ledger.Outcome(event_id(target, event), event_id(target, event), record)
    young = dataclasses.replace(recorded, event_id=event_id(target, room.event()))
    async with room.pool.acquire() as connection:
        await ledger.record(connection, [recorded])
        await connection.execute("UPDATE outcome SET recorded_at = now() - interval '1 hour'")
        await ledger.record(connection, [young])
    bus, tap = room.bus(), await room.tap(target)
    async with bus:
        await tap.until(lambda: tap.of(target), "published")
        await eventually(lambda: room.empty("unpublished WHERE event_id <> $1", young.event_id), "marked")
    assert tap.ids(target) == [str(recorded.event_id)]
    assert await room.count("SELECT count(*) FROM unpublished") == 1
