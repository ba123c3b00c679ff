"""A partition that goes to a twin and comes back over a batch: what the twin has committed stays so."""

import asyncio
from typing import Any
from unittest.mock import AsyncMock

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from libs.bus import consumption, subscriber
from libs.bus.consumption import Consumption
from libs.bus.log_start import LogStartGuard
from libs.bus.work import Work
from libs.contracts.topics import Topic
from libs.storage import ledger
from tests.integration.bus.handlers import pass_on
from tests.support.bus import SESSION_MS, Room, documents
from tests.support.waiting import eventually

FOR_EVER = 3_600_000


async def goes_further(room: Room, source: Topic, went: asyncio.Event) -> None:
    """A twin gets the partition, handles what lies in it and leaves: its name makes it the first of the group."""
    place = TopicPartition(source.name, 0)
    twin = AIOKafkaConsumer(
        source.name,
        **room.stack.kafka.options(),
        client_id="0",
        group_id=room.schema,
        enable_auto_commit=False,
        session_timeout_ms=SESSION_MS,
        heartbeat_interval_ms=SESSION_MS // subscriber.HEARTBEATS,
    )
    async with twin:
        await eventually(lambda: place in twin.assignment(), "the twin has the partition")
        await twin.commit({place: 2})
        went.set()


@pytest.mark.parametrize("ends", ["when it is back", "before it is handled"])
async def test_what_was_taken_before_a_twin_went_further_is_not_committed_after_it(
    room: Room, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    """As when the process was frozen meanwhile: or the group would be behind until the partition's next record."""
    monkeypatch.setattr(consumption, "SETTLE_EVERY", 0.0)
    monkeypatch.setattr(subscriber, "POLL_MS", FOR_EVER)
    began, going, went = asyncio.Event(), asyncio.Event(), asyncio.Event()
    assigned: list[set[TopicPartition]] = []
    commits: list[int] = []
    check, assign, commit = LogStartGuard.check, LogStartGuard.on_partitions_assigned, AIOKafkaConsumer.commit

    async def stand() -> None:
        began.set()
        await going.wait()

    async def checked(guard: LogStartGuard, consumer: AIOKafkaConsumer) -> None:
        await check(guard, consumer)
        if ends == "before it is handled" and guard._next:
            await stand()

    async def handle(work: Work[Any]) -> None:
        await stand()
        await pass_on(target)(work)

    async def on_assigned(guard: LogStartGuard, partitions: set[TopicPartition]) -> None:
        await assign(guard, partitions)
        assigned.append(partitions)

    async def committed(consumer: AIOKafkaConsumer, offsets: dict[TopicPartition, int]) -> None:
        if went.is_set():
            commits.extend(offsets.values())
        await commit(consumer, offsets)

    monkeypatch.setattr(LogStartGuard, "check", checked)
    monkeypatch.setattr(LogStartGuard, "on_partitions_assigned", on_assigned)
    monkeypatch.setattr(AIOKafkaConsumer, "commit", committed)
    source, target = await room.topic(partitions=1), await room.topic()
    bus, tap = room.bus(), await room.tap(target)
    bus.consume({source: handle})
    async with bus:
        await room.send(source, [room.event("first")])
        await asyncio.wait_for(began.wait(), 30)
        await room.send(source, [room.event("second")])
        await goes_further(room, source, went)
        await eventually(lambda: len(assigned) > 2 and assigned[-1], "it came back")
        going.set()
        await room.send(source, [room.event("third")])
        await tap.until(lambda: "third" in documents(tap.of(target)), "passed on")
        await eventually(lambda: 3 in commits, "committed")
    assert min(commits) >= 2, "nothing before what the twin has committed"


async def test_what_is_handled_while_partitions_are_given_up_is_not_committed_and_marked_all_the_same(
    room: Room, monkeypatch: pytest.MonkeyPatch, made: list[Consumption]
) -> None:
    source, target = await room.topic(partitions=1), await room.topic()
    marked, commits = ledger.mark_published, AsyncMock()

    async def mark(*arguments: Any) -> None:
        await marked(*arguments)
        await room.send(source, [room.event("first")])
        await tap.until(lambda: "first" in documents(tap.of(target)), "passed on")
        await asyncio.wait_for(made[0].idle.wait(), 30)

    bus, tap = room.bus(), await room.tap(target)
    bus.consume({source: pass_on(target)})
    async with bus:
        await eventually(lambda: room.begun(source), "where it begins is committed")
        monkeypatch.setattr(subscriber, "POLL_MS", FOR_EVER)
        await room.send(source, [room.event("zeroth")])
        await tap.until(lambda: "zeroth" in documents(tap.of(target)), "passed on")
        await asyncio.wait_for(made[0].idle.wait(), 30)  # the tap may see it before our publisher is told
        with monkeypatch.context() as patch:
            patch.setattr(ledger, "mark_published", mark)
            await made[0].give_up()
        assert sum((await room.committed(source)).values()) == 1
        monkeypatch.setattr(AIOKafkaConsumer, "commit", commits)
        await made[0].settle()
        commits.assert_not_awaited()
        assert await room.empty("unpublished")
