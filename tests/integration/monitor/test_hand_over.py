"""Partitions that go to a twin and come back over what is not written yet: what the twin has committed stays so."""

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from libs.bus.log_start import LogStartGuard
from libs.bus.subscriber import HEARTBEATS
from libs.contracts import topics
from services.monitor.facts import READ, Batch
from services.monitor.reading import Reader
from tests.integration.monitor.conftest import Watch, posted, request
from tests.support.bus import SESSION_MS
from tests.support.journal import ends_of
from tests.support.waiting import eventually

pytestmark = pytest.mark.stack


async def goes_further(watch: Watch, count: int) -> None:
    """A twin gets some of the partitions, commits to their ends, once there is so much more, and leaves."""
    twin = AIOKafkaConsumer(
        *READ,
        **watch.stack.kafka.options(),
        client_id="twin",
        group_id="monitor",
        enable_auto_commit=False,
        session_timeout_ms=SESSION_MS,
        heartbeat_interval_ms=SESSION_MS // HEARTBEATS,
    )
    async with twin:
        await eventually(twin.assignment, "the twin has partitions")
        await watch.send(topics.POSTED, posted(request(count)))
        ends = await ends_of(watch.stack, *READ)
        await twin.commit({place: end for place, end in ends.items() if place in twin.assignment()})


async def test_what_was_read_before_a_twin_went_further_is_not_committed_after_it(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the monitor would be behind, and say so, until the partition's next record."""
    write, began, going = Reader._write, asyncio.Event(), asyncio.Event()

    async def writes(reader: Reader, batch: Batch) -> None:
        began.set()
        await going.wait()
        await write(reader, batch)

    assigned: list[set[TopicPartition]] = []
    assign = LogStartGuard.on_partitions_assigned

    async def on_assigned(guard: LogStartGuard, partitions: set[TopicPartition]) -> None:
        await assign(guard, partitions)
        assigned.append(partitions)

    monkeypatch.setattr(Reader, "_write", writes)
    monkeypatch.setattr(LogStartGuard, "on_partitions_assigned", on_assigned)
    async with watch.running():
        await watch.send(topics.POSTED, posted(request(20)))
        await asyncio.wait_for(began.wait(), 30)
        await goes_further(watch, 20)
        await eventually(lambda: len(assigned) > 2 and assigned[-1] == assigned[0], "they came back")
        going.set()
        await watch.read()
