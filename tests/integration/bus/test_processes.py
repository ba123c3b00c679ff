"""Real processes, killed at any moment or frozen in the middle of their act: one outcome per event."""

import asyncio
import random
import signal
from collections.abc import Sequence
from functools import partial

import pytest

from libs.contracts.cloudevents import event_id
from libs.contracts.topics import Topic
from tests.support.bus import Room, Step
from tests.support.bus_service import POINTS, TABLES, start
from tests.support.tap import Tap
from tests.support.waiting import eventually

EVENTS = 500
"""Sent in five portions, so that there is work at every moment of a kill."""

SEED = 20261123


async def service(room: Room) -> tuple[Topic, Topic]:
    await room.pool.execute(TABLES)
    return await room.topic(), await room.topic()


async def one_outcome_each(room: Room, tap: Tap, target: Topic, events: Sequence[Step]) -> None:
    await tap.read()
    published: dict[str, set[int]] = {}
    for identifier, record in zip(tap.ids(target), tap.of(target), strict=True):
        published.setdefault(identifier, set()).add(Step.model_validate_json(record.value).number)
    assert set(published) == {str(event_id(target, event)) for event in events}
    # published again after a crash, perhaps; never with other content
    assert all(len(numbers) == 1 for numbers in published.values())
    effects = await room.pool.fetch("SELECT document, token FROM effect")
    assert len(effects) == len({row["document"] for row in effects}) == len(events)
    wrong = "SELECT count(*) FROM effect JOIN reservation USING (document) WHERE effect.token <> reservation.token"
    assert await room.count(wrong) == 0
    assert await room.count(wrong.replace("effect", "act")) == 0
    assert await room.count("SELECT count(*) FROM unpublished") == 0
    assert await room.count("SELECT count(*) FROM outcome") == len(events)


@pytest.mark.timeout(240)
async def test_killed_at_every_point_and_at_random_moments_each_event_has_one_outcome(room: Room) -> None:
    """I-1, I-2, I-3."""
    source, target = await service(room)
    tap = await room.tap(target)
    events = [room.event() for _ in range(EVENTS)]
    portions = [events[start : start + EVENTS // 5] for start in range(0, EVENTS, EVENTS // 5)]
    await room.send(source, portions[0])
    for point in POINTS:
        process = await start(room, source, target, at=f"kill:{point}:2")
        # It starts, waits for the session of the one before to end, and works: seconds each, on a busy machine many.
        assert await process.ended() == -signal.SIGKILL, point
    moments = random.Random(SEED)
    for portion in portions[1:]:
        process = await start(room, source, target)
        handled = await room.count("SELECT count(*) FROM effect")
        await room.send(source, portion)
        await eventually(partial(more_than, room, handled), "it works", seconds=60)
        await asyncio.sleep(moments.uniform(0, 0.1))
        process.send(signal.SIGKILL)
        await process.ended()
    process = await start(room, source, target)
    # Not by the group: until its session ends, the one that was killed before is a member, too.
    await eventually(lambda: process.serves, "the last one is there", seconds=60)
    await room.all_committed(source, EVENTS, seconds=60)
    process.send(signal.SIGTERM)
    assert await process.ended() == 0
    await one_outcome_each(room, tap, target, events)


async def more_than(room: Room, handled: int) -> bool:
    return await room.count("SELECT count(*) FROM effect") > handled


@pytest.mark.timeout(180)
async def test_a_replica_frozen_in_its_act_and_thawed_after_its_twin_has_worked_changes_nothing(room: Room) -> None:
    """I-3."""
    source, target = await service(room)
    tap = await room.tap(target)
    events = [room.event() for _ in range(200)]
    await room.send(source, events)
    frozen = await start(room, source, target, at="freeze:acted:2")
    await eventually(lambda: frozen.state == "T", "it has frozen itself in the middle of its act", seconds=60)
    held = await room.count("SELECT count(*) FROM act") - await room.count("SELECT count(*) FROM effect")
    assert held > 0
    twin = await start(room, source, target)
    await room.all_committed(source, 200, seconds=60)  # past the session time-out the twin has everything
    assert frozen.state == "T"
    committed = await room.committed(source)
    frozen.send(signal.SIGCONT)
    more = [room.event() for _ in range(50)]
    await room.send(source, more)
    await room.all_committed(source, 250, seconds=60)
    await eventually(lambda: joined(room, 2), "the thawed one is back in the group")
    after = await room.committed(source)
    assert all(after[partition] >= offset for partition, offset in committed.items())
    for process in (frozen, twin):
        process.send(signal.SIGTERM)
        assert await process.ended() == 0
    # It acted on what its twin acted on too, and recorded none of it. Of what came at its return either may act again.
    acts = "SELECT count(*) FROM act WHERE document = ANY($1)"
    assert await room.count(acts, [event.document for event in events]) == 200 + held
    assert await room.count(acts, [event.document for event in more]) >= 50
    await one_outcome_each(room, tap, target, [*events, *more])


async def joined(room: Room, members: int) -> bool:
    return await room.members() == members
