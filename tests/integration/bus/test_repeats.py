"""The same event again, other content under the same id, and what is no event at all."""

import dataclasses

import pytest
from prometheus_client import REGISTRY

from libs.bus.delivery import Delivery
from libs.bus.outcomes import Done, Emit, Poison
from libs.bus.work import Work
from libs.contracts.cloudevents import encode, event_id
from libs.runtime.clock import utc_now
from libs.runtime.health import Health
from tests.integration.bus.handlers import doubled, pass_on
from tests.support.bus import Room, Step, reports
from tests.support.journal import header


def alarms(room: Room, name: str) -> float:
    return REGISTRY.get_sample_value("gpki_alarms_total", {"service": room.schema, "reason": name}) or 0


async def test_ten_copies_in_one_batch_are_one_event(room: Room) -> None:
    """I-3."""
    source, target = await room.topic(), await room.topic()
    event = room.event()
    await room.send(source, [event] * 10)
    acts: list[str] = []
    bus, tap = room.bus(), await room.tap(source, target)
    bus.consume({source: pass_on(target, acts)})
    async with bus:
        await room.all_committed(source, 10)
    await tap.read()
    assert acts == [event.document]
    assert tap.ids(target) == [str(event_id(target, event))]
    assert tap.of(source.dead_letter) == []


async def test_ten_copies_in_many_batches_are_one_event(room: Room) -> None:
    """I-3."""
    source, target = await room.topic(), await room.topic()
    event = room.event()
    acts: list[str] = []
    bus, tap = room.bus(), await room.tap(source, target)
    bus.consume({source: pass_on(target, acts)}, max_records=1)
    async with bus:
        for copies in range(1, 11):
            await room.send(source, [event])
            await room.all_committed(source, copies)
    await tap.read()
    assert acts == [event.document]
    assert len(tap.of(target)) == 1


async def test_copies_in_different_partitions_of_two_consumers_are_one_event(room: Room) -> None:
    """I-3."""
    source, target = await room.topic(), await room.topic()
    events = [room.event() for _ in range(20)]
    tap = await room.tap(source, target)
    replicas = [room.bus(), room.bus(pool=await room.more_connections())]
    for replica in replicas:
        replica.consume({source: pass_on(target)}, max_records=7)
    async with replicas[0], replicas[1]:
        for partition in (0, 1, 2, 3, 0, 1, 2, 3, 1, 3):
            await room.send(source, events, partition=partition)
        await room.all_committed(source, 200)
    await tap.read()
    # A rebalance may repeat what was published, never change it.
    assert len({(header(record, "ce_id"), record.value) for record in tap.of(target)}) == len(events)
    assert set(tap.ids(target)) == {str(event_id(target, event)) for event in events}
    assert tap.of(source.dead_letter) == []


async def test_other_content_under_one_id_is_a_dead_letter_and_an_alarm_and_ends_nothing(room: Room) -> None:
    """I-4."""
    source, target = await room.topic(), await room.topic()
    first, others = room.event("a", 1), [room.event("a", number) for number in (2, 3)]
    bus, tap = room.bus(), await room.tap(source, target)
    bus.consume({source: pass_on(target)}, max_records=2)
    async with bus:
        await room.send(source, [first, others[0]])  # one in the same slice
        await room.all_committed(source, 2)
        await room.send(source, [others[1], first])  # one long after
        await room.all_committed(source, 4)
    await tap.read()
    assert [Step.model_validate_json(record.value).number for record in tap.of(target)] == [1]
    letters = tap.of(source.dead_letter)
    assert [Step.model_validate_json(letter.value).number for letter in letters] == [2, 3]
    assert all(header(letter, "x-dead-letter-reason").startswith("id-conflict: refused content ") for letter in letters)
    assert alarms(room, "id-conflict") == 2


async def test_a_conflict_that_only_the_claim_reveals_is_not_passed_over(room: Room) -> None:
    """I-4: A twin records other content of the same id after we looked and before we claim."""
    source, target = await room.topic(), await room.topic()
    ours, twins = room.event("a", 1), room.event("a", 2)

    async def handle(work: Work[Step]) -> None:
        (delivery,) = work.deliveries
        async with room.pool.acquire() as connection:
            await connection.execute(
                "INSERT INTO inbox (id, content_hash) VALUES ($1, $2)", delivery.id, twins.model_dump_json().encode()
            )
        async with work.recording(delivery) as recording:
            assert recording.deliveries == ()

    await room.send(source, [ours])
    health = Health(room.schema)
    bus, tap = room.bus(health=health), await room.tap(source, target)
    bus.consume({source: handle})
    async with bus:
        await room.all_committed(source, 1)
    await tap.read()
    assert not reports(health, f"{room.schema}:unsettled")
    assert [header(letter, "x-dead-letter-reason")[:11] for letter in tap.of(source.dead_letter)] == ["id-conflict"]


@pytest.mark.parametrize("outsiders", [False, True])
async def test_what_is_no_event_is_a_dead_letter_with_its_place_and_the_next_one_is_handled(
    room: Room, outsiders: bool
) -> None:
    """I-5."""
    source, target = await room.topic(outsiders=outsiders), await room.topic()
    good = encode(source, room.event("good"), source="test", time=utc_now())
    bad = [
        dataclasses.replace(good, value=b"{"),
        dataclasses.replace(good, value=b"\xff\xfe"),
        dataclasses.replace(good, value=b"null"),
        dataclasses.replace(good, headers=()),
        dataclasses.replace(good, headers=(*good.headers, ("ce_id", b"twice"))),
        dataclasses.replace(good, headers=(("ce_id", b"\xff"), *good.headers[1:])),
        dataclasses.replace(good, key=b"other"),
        dataclasses.replace(good, key=None),
    ]
    await room.send(source, [*bad, good], partition=0)
    bus, tap = room.bus(), await room.tap(source, target)
    bus.consume({source: pass_on(target)})
    async with bus:
        await room.all_committed(source, 9)
    await tap.read()
    assert len(tap.of(target)) == 1
    letters = tap.of(source.dead_letter)
    assert [int(header(letter, "x-dead-letter-offset")) for letter in letters] == list(range(8))
    assert {header(letter, "x-dead-letter-topic") for letter in letters} == {source.name}
    assert {header(letter, "x-dead-letter-partition") for letter in letters} == {"0"}
    assert all(header(letter, "x-dead-letter-reason") for letter in letters)
    assert [letter.value for letter in letters] == [record.value for record in bad]
    assert [letter.key for letter in letters] == [record.key for record in bad]


@pytest.mark.parametrize("max_records", [1, 10])
async def test_a_forged_event_does_not_block_the_true_one_of_the_same_id(room: Room, max_records: int) -> None:
    source, target = await room.topic(), await room.topic()
    forged, true = room.event("a", 666), room.event("a", 1)

    async def handle(work: Work[Step]) -> None:
        async with work.recording(*work.deliveries) as recording:
            for delivery in recording.deliveries:
                is_forged = delivery.event.number == 666
                recording.settle(delivery, Poison("forged") if is_forged else Done((Emit(target, delivery.event),)))

    await room.send(source, [forged, forged, true, forged, true], partition=0)
    bus, tap = room.bus(), await room.tap(source, target)
    bus.consume({source: handle}, max_records=max_records)
    async with bus:
        await room.all_committed(source, 5)
    await tap.read()
    assert [Step.model_validate_json(record.value).number for record in tap.of(target)] == [1]
    reasons = [header(letter, "x-dead-letter-reason") for letter in tap.of(source.dead_letter)]
    # before the true one it is refused, after it there is an event of that id with other content
    assert reasons[:2] == ["forged", "forged"]
    assert [reason[:11] for reason in reasons[2:]] == ["id-conflict"]


async def test_a_group_reset_to_earliest_says_nothing_again(room: Room) -> None:
    source, target = await room.topic(), await room.topic()
    events = [room.event() for _ in range(30)]
    rubbish = encode(source, room.event(), source="test", time=utc_now())
    rubbish = dataclasses.replace(rubbish, value=b"rubbish")
    poisoned = room.event("poisoned")
    acts: list[str] = []

    async def handle(work: Work[Step]) -> None:
        acts.extend(delivery.event.document for delivery in work.deliveries)

        def outcome(delivery: Delivery[Step]) -> Done | Poison:
            if delivery.event.document == "poisoned":
                return Poison("refused")
            return Done((Emit(target, delivery.event),))

        async with work.recording(*work.deliveries) as recording:
            for delivery in recording.deliveries:
                recording.settle(delivery, outcome(delivery))

    await room.send(source, [*events, rubbish, events[0].model_copy(update={"number": 9}), poisoned])
    bus, tap = room.bus(), await room.tap(source, target)
    bus.consume({source: handle})
    async with bus:
        await room.all_committed(source, 33)
    await tap.read()
    before = len(tap.records)
    again = room.bus()
    again.consume({source: handle}, lane="reset")  # a group without offsets reads from the start, on the same ledger
    async with again:
        await room.all_committed(source, 33, f"{room.schema}.reset")
    await tap.read()
    assert len(tap.of(target)) == 30
    assert len(tap.of(source.dead_letter)) == 3
    assert len(tap.records) == before
    assert doubled(acts) == ["poisoned"]
