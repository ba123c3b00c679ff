"""Time as an input: parked records and their leases."""

import asyncio
from datetime import datetime, timedelta
from functools import partial
from unittest.mock import AsyncMock

import pytest

from libs.bus import consumption, subscriber
from libs.bus.delivery import Delivery
from libs.bus.due import DueWorker
from libs.bus.outcomes import Done, Emit, Outcome, Park, Poison
from libs.bus.work import Work
from libs.contracts.cloudevents import event_id
from libs.storage import ledger
from tests.integration.bus.handlers import deciding
from tests.support.bus import Room, Step, documents
from tests.support.journal import header
from tests.support.waiting import eventually

SOON = timedelta(milliseconds=100)
LATER = timedelta(hours=1)
SHORT = timedelta(milliseconds=900)
LEASE = timedelta(seconds=3)
"""Renewed each second: a busy machine, or its disk, may be two late with that."""


def has(seen: list[Delivery[Step]], count: int) -> bool:
    return len(seen) == count


async def test_a_parked_record_comes_back_to_the_same_handler_and_its_offset_moves_on(room: Room) -> None:
    source, target = await room.topic(), await room.topic()
    first, second = room.event(), room.event()
    seen: list[Delivery[Step]] = []

    async def handle(work: Work[Step]) -> None:
        async with work.recording(*work.deliveries) as recording:
            for delivery in recording.deliveries:
                waits = delivery.event == first and delivery.parked is None
                emits = (Emit(target, delivery.event),)
                recording.settle(delivery, Park(SOON, "a mailbox is full") if waits else Done(emits))
        seen.extend(work.deliveries)

    await room.send(source, [first, second], partition=3)
    bus, tap = room.bus(), await room.tap(source, target)
    bus.consume({source: handle})
    async with bus:
        await tap.until(lambda: len(tap.of(target)) == 2, "both passed on")
        await eventually(lambda: room.empty("due"), "the row is gone")
    assert await room.committed(source) == {3: 2}
    assert documents(tap.of(target)) == [second.document, first.document]
    came, waited = (delivery for delivery in seen if delivery.event == first)
    assert came.parked is None
    assert waited.parked is not None
    assert (waited.parked.tries, waited.parked.why) == (0, "a mailbox is full")
    assert waited.parked.now >= waited.parked.created_at + SOON
    assert (waited.id, waited.content_hash) == (came.id, came.content_hash)
    assert (waited.coordinates, waited.appended_at) == (came.coordinates, came.appended_at)
    assert await room.count("SELECT count(*) FROM unpublished") == 0


async def test_a_record_can_be_parked_again_and_counts_its_tries(room: Room) -> None:
    source, target = await room.topic(), await room.topic()
    event = room.event()
    seen: list[Delivery[Step]] = []
    handler = deciding(seen, Park(SOON, "a"), Park(SOON, "b"), Park(SOON, "c"), Done((Emit(target, event),)))
    await room.send(source, [event])
    bus, tap = room.bus(), await room.tap(source, target)
    bus.consume({source: handler})
    async with bus:
        await tap.until(lambda: tap.of(target), "passed on")
        await eventually(lambda: room.empty("due"), "the row is gone")
    assert [(d.parked.tries, d.parked.why) for d in seen if d.parked] == [(0, "a"), (1, "b"), (2, "c")]


async def test_what_is_told_of_a_wait_is_told_once_however_often_and_soon_it_is_looked_at(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I-2: recorded with the wait, under one event id; the first look comes before anybody has marked it."""
    monkeypatch.setattr(consumption, "SETTLE_EVERY", LATER.total_seconds())
    monkeypatch.setattr(subscriber, "POLL_MS", LATER.total_seconds() * 1_000)
    monkeypatch.setattr(DueWorker, "_sweep", AsyncMock())  # it marks, too
    source, target = await room.topic(), await room.topic()
    event = room.event()
    told = tuple(
        Park(LATER, "waits", (Emit(target, event.model_copy(update={"number": number})),)) for number in (7, 8, 9)
    )
    seen: list[Delivery[Step]] = []
    await room.send(source, [event])
    bus, tap = room.bus(), await room.tap(source, target)
    bus.consume({source: deciding(seen, *told, Done())})
    async with bus:
        published = bus._ledgers.published
        await eventually(lambda: event_id(target, event) in published, "published, and not marked")
        assert not await room.empty("unpublished")
        for looks in (2, 3, 4):
            await room.pool.execute("UPDATE due SET at = now()")
            await eventually(partial(has, seen, looks), f"looked at {looks} times")
        await eventually(lambda: room.empty("due"), "the row is gone")
        await tap.read()
    assert [Step.model_validate_json(each.value or b"").number for each in tap.of(target)] == [7]
    assert await room.empty("unpublished")


async def test_a_repeat_of_a_parked_record_is_a_repeat_and_other_content_a_conflict(room: Room) -> None:
    source, target = await room.topic(), await room.topic()
    event = room.event("a", 1)
    seen: list[Delivery[Step]] = []
    bus, tap = room.bus(), await room.tap(source, target)
    bus.consume({source: deciding(seen, Park(LATER, "waits"))})
    async with bus:
        await room.send(source, [event])
        await room.all_committed(source, 1)
        await room.send(source, [event, room.event("a", 2), event])
        await room.all_committed(source, 4)
    await tap.read()
    assert len(seen) == 1
    (letter,) = tap.of(source.dead_letter)
    assert header(letter, "x-dead-letter-reason").startswith("id-conflict")
    assert await room.count("SELECT count(*) FROM due") == 1


async def test_a_parked_record_is_handled_once_by_two_replicas_and_their_consumers(room: Room) -> None:
    """I-7."""
    source, target = await room.topic(), await room.topic()
    events = [room.event() for _ in range(40)]

    async def handle(work: Work[Step]) -> None:
        async with work.recording(*work.deliveries) as recording:
            for delivery in recording.deliveries:
                tries = delivery.parked.tries if delivery.parked else -1
                if tries == 2:
                    await recording.connection.execute("INSERT INTO effect VALUES ($1)", delivery.event.document)
                emits = (Emit(target, delivery.event),)
                recording.settle(delivery, Done(emits) if tries == 2 else Park(timedelta(), "again"))

    await room.pool.execute("CREATE TABLE effect (document text NOT NULL)")
    tap = await room.tap(source, target)
    # a lease of nothing: every replica takes every row while another works on it
    pools = [room.pool, await room.more_connections()]
    replicas = [room.bus(pool=pool, lease=timedelta()) for pool in pools]
    for replica in replicas:
        replica.consume({source: handle}, max_records=5)
    async with replicas[0], replicas[1]:
        await room.send(source, events * 2)
        await tap.until(lambda: len(tap.of(target)) >= 40, "all passed on")
        await eventually(lambda: room.empty("due"), "no row is left")
    await tap.read()
    assert await room.count("SELECT count(*) FROM outcome") == 40
    assert set(tap.ids(target)) == {str(event_id(target, event)) for event in events}
    assert await room.count("SELECT count(*) FROM effect") == 40
    assert await room.count("SELECT count(*) FROM inbox WHERE parked") == 0
    assert tap.of(source.dead_letter) == []


async def test_a_parked_record_that_turns_out_poison_frees_its_id_for_the_true_event(room: Room) -> None:
    source, target = await room.topic(), await room.topic()
    forged, true = room.event("a", 666), room.event("a", 1)
    bus, tap = room.bus(), await room.tap(source, target)

    async def handle(work: Work[Step]) -> None:
        async with work.recording(*work.deliveries) as recording:
            for delivery in recording.deliveries:
                outcome: Outcome = Done((Emit(target, delivery.event),))
                if delivery.event == forged:
                    outcome = Poison("forged") if delivery.parked else Park(SOON, "unknown user")
                recording.settle(delivery, outcome)

    bus.consume({source: handle})
    async with bus:
        await room.send(source, [forged], partition=2)
        await tap.until(lambda: tap.of(source.dead_letter), "the forged one is a dead letter")
        await room.send(source, [true])
        await tap.until(lambda: tap.of(target), "the true one is handled")
    (letter,) = tap.of(source.dead_letter)
    assert (header(letter, "x-dead-letter-partition"), header(letter, "x-dead-letter-offset")) == ("2", "0")
    assert [Step.model_validate_json(record.value).number for record in tap.of(target)] == [1]


async def test_a_worker_that_thaws_neither_takes_nor_gives_back_what_its_twin_has(room: Room) -> None:
    """I-7."""
    source = await room.topic()
    await room.send(source, [room.event()])
    bus = room.bus()
    bus.consume({source: deciding([], Park(timedelta(), "waits"), Park(LATER, "waits"))}, max_records=1)
    async with bus:
        await room.all_committed(source, 1)
        await eventually(lambda: room.count("SELECT count(*) FROM due WHERE tries = 1"), "parked again")
    await room.pool.execute("UPDATE due SET at = now()")
    async with room.pool.acquire() as connection:
        frozen = await ledger.claim_due(connection, what=[source.name], lease=timedelta(), limit=1)
        (twins,) = await ledger.claim_due(connection, what=[source.name], lease=LATER, limit=1)
        await ledger.release_due(connection, frozen, frozen[0].leased_until, timedelta())
        assert await ledger.claim_due(connection, what=[source.name], lease=LATER, limit=1) == []
        await ledger.park_again(connection, twins, LATER, "the twin parks it again")
        await ledger.park_again(connection, frozen[0], timedelta(), "the thawed one would have it back")
        await ledger.finish_due(connection, frozen)
        assert await connection.fetchval("SELECT why FROM due") == "the twin parks it again"


async def test_who_keeps_a_claim_waits_for_no_recording_of_one_of_its_rows(room: Room) -> None:
    """I-7: it holds the others meanwhile, which the recording may want next: PostgreSQL would end one of the two."""
    source = await room.topic()
    await room.send(source, [room.event(), room.event()])
    bus = room.bus()
    bus.consume({source: deciding([], Park(LATER, "waits"))})
    async with bus:
        await room.all_committed(source, 2)
    await room.pool.execute("UPDATE due SET at = now()")
    async with room.pool.acquire() as recording, room.pool.acquire() as worker:
        rows = await ledger.claim_due(worker, what=[source.name], lease=SHORT, limit=2)
        free, recorded = sorted(rows, key=lambda row: row.id)
        async with recording.transaction():
            await ledger.park_again(recording, recorded, LATER, "recorded")
            renewed = await ledger.renew_due(worker, rows, free.leased_until, LATER)
            assert renewed > free.leased_until + LATER / 2
            await ledger.release_due(worker, rows, renewed, timedelta())
            await ledger.finish_due(worker, rows)
            assert await worker.fetchval("SELECT array_agg(id) FROM due") == [recorded.id]
        assert await worker.fetchval("SELECT why FROM due") == "recorded"


async def test_a_row_that_is_worked_for_longer_than_its_lease_stays_with_its_worker(room: Room) -> None:
    """I-7: the lease is short, so that the dead hold nothing for long; who is alive renews it."""
    source, target = await room.topic(), await room.topic()
    working: list[str] = []
    enough = asyncio.Event()

    async def handle(work: Work[Step]) -> None:
        parked = any(delivery.parked for delivery in work.deliveries)
        if parked:
            working.extend(delivery.event.document for delivery in work.deliveries)
            await enough.wait()
        async with work.recording(*work.deliveries) as recording:
            for delivery in recording.deliveries:
                outcome: Outcome = Done((Emit(target, delivery.event),)) if parked else Park(SOON, "waits")
                recording.settle(delivery, outcome)

    leases: set[datetime] = set()

    async def outlived() -> bool:
        leases.add(await room.pool.fetchval("SELECT leased_until FROM due"))
        return max(leases) - min(leases) > LEASE * 1.2

    pools = [room.pool, await room.more_connections()]
    replicas = [room.bus(pool=pool, lease=LEASE) for pool in pools]
    for replica in replicas:
        replica.consume({source: handle})
    async with replicas[0], replicas[1]:
        await room.send(source, [room.event("a")])
        await eventually(lambda: working, "one works on it")
        await eventually(outlived, "longer than the first lease, and than the twin's next look", every=0.1)
        assert working == ["a"]
        enough.set()
        await eventually(lambda: room.empty("due"), "handled")
    assert working == ["a"]
