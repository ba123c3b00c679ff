"""What stops a consumer until a person has looked, and what it waits for before its first record."""

import asyncio
from dataclasses import dataclass, replace
from functools import partial

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import RecordsToDelete

from libs.bus import bus as bus_module
from libs.bus import log_start, subscriber
from libs.bus.dead_letter import IN_A_ROW
from libs.bus.outcomes import Done, Unavailable
from libs.bus.slices import SLICE
from libs.bus.topics import administration
from libs.bus.work import Handler, Work
from libs.contracts.cloudevents import Record
from libs.contracts.topics import Topic
from libs.runtime.health import Health
from tests.integration.bus.handlers import pass_on
from tests.support.bus import Room, Step, reports
from tests.support.waiting import eventually


def rubbish(topic: Topic, count: int) -> list[Record]:
    return [Record(topic.name, b"k", b"rubbish", ()) for _ in range(count)]


class Polls:
    """Counts the polls of every consumer of this process: one that takes nothing has had its chances."""

    def __init__(self) -> None:
        self.count = 0

    async def more(self, number: int) -> None:
        """Wait for so many more."""
        enough = self.count + number
        await eventually(lambda: self.count >= enough, f"{number} more polls")


@pytest.fixture
def polls(monkeypatch: pytest.MonkeyPatch) -> Polls:
    counted, poll = Polls(), subscriber.Poll.__call__

    async def count(self: subscriber.Poll, consumer: AIOKafkaConsumer) -> subscriber.Batch:
        records = await poll(self, consumer)
        counted.count += 1
        return records

    monkeypatch.setattr(subscriber.Poll, "__call__", count)
    return counted


async def test_too_many_dead_letters_in_a_row_stop_a_consumer_of_our_own_topics(room: Room, polls: Polls) -> None:
    """I-5."""
    source, target = await room.topic(), await room.topic()
    health = Health(room.schema)
    await room.send(source, rubbish(source, 200), partition=0)
    bus, tap = room.bus(health=health), await room.tap(source, target)
    bus.consume({source: pass_on(target)})
    async with bus:
        await eventually(lambda: reports(health, f"{room.schema}:dead-letter-limit"), "halted")
        await room.all_committed(source, SLICE)
        await room.send(source, [room.event()], partition=1)
        await polls.more(5)
    await tap.read()
    assert IN_A_ROW <= len(tap.of(source.dead_letter)) <= IN_A_ROW + SLICE
    assert tap.of(target) == []
    assert not health.ready


async def test_outsiders_cannot_stop_a_consumer_by_rubbish(room: Room) -> None:
    """I-5."""
    source, target = await room.topic(outsiders=True), await room.topic()
    health = Health(room.schema)
    await room.send(source, rubbish(source, 150), partition=0)
    await room.send(source, [room.event()], partition=0)
    bus, tap = room.bus(health=health), await room.tap(source, target)
    bus.consume({source: pass_on(target)})
    async with bus:
        await room.all_committed(source, 151)
        await eventually(lambda: health.ready, "ready")
    await tap.read()
    assert len(tap.of(target)) == 1
    assert len(tap.of(source.dead_letter)) == 150


async def gap(room: Room, source: Topic, target: Topic) -> None:
    """Two of ten records are handled and committed, then retention takes the first six."""
    await room.send(source, [room.event(str(number)) for number in range(2)], partition=0)
    bus = room.bus()
    bus.consume({source: pass_on(target)})
    async with bus:
        await room.all_committed(source, 2)
    await room.send(source, [room.event(str(number)) for number in range(2, 10)], partition=0)
    await delete(room, source, before=6)


async def delete(room: Room, source: Topic, *, before: int) -> None:
    """What retention does to the first partition."""
    async with administration(room.stack.kafka) as admin:
        await admin.delete_records({TopicPartition(source.name, 0): RecordsToDelete(before_offset=before)})


async def test_a_gap_before_the_committed_offset_stops_the_consumer(room: Room, polls: Polls) -> None:
    """I-9."""
    source, target = await room.topic(), await room.topic()
    await gap(room, source, target)
    health = Health(room.schema)
    bus, tap = room.bus(health=health), await room.tap(source, target)
    bus.consume({source: pass_on(target)})
    async with bus:
        await eventually(lambda: reports(health, f"{room.schema}:log-start-passed"), "halted")
        await polls.more(5)
    await tap.read()
    assert len(tap.of(target)) == 2
    assert (await room.committed(source))[0] == 2


async def test_a_gap_in_a_partition_of_which_nothing_was_ever_read_stops_the_consumer(room: Room) -> None:
    """I-9: it was there to be read when the group had the partition first."""
    source, target = await room.topic(), await room.topic()
    bus, tap = room.bus(), await room.tap(source, target)
    bus.consume({source: pass_on(target)})
    async with bus:

        async def begun() -> bool:
            return await room.begun(source) == dict.fromkeys(range(source.partitions), 0)

        await eventually(begun, "where it begins is committed")
    await room.send(source, [room.event() for _ in range(10)], partition=0)
    await delete(room, source, before=10)
    health = Health(room.schema)
    bus = room.bus(health=health)
    bus.consume({source: pass_on(target)})
    async with bus:
        await eventually(lambda: reports(health, f"{room.schema}:log-start-passed"), "halted")
    await tap.read()
    assert tap.of(target) == []


async def test_a_consumer_that_retention_passes_while_it_runs_stops(room: Room) -> None:
    """I-9: aiokafka goes on from what is left, and says nothing."""
    source, target = await room.topic(), await room.topic()
    health, began, going, done = Health(room.schema), asyncio.Event(), asyncio.Event(), list[str]()

    async def handle(work: Work[Step]) -> None:
        began.set()
        await going.wait()
        await pass_on(target, done)(work)

    names = [f"{number:02}".ljust(15_000, "x") for number in range(60)]
    await room.send(source, [room.event(name) for name in names], partition=0)
    bus = room.bus(health=health)
    bus.consume({source: handle}, max_records=1)
    async with bus:
        await asyncio.wait_for(began.wait(), 30)
        await delete(room, source, before=50)  # what was fetched before is handled
        going.set()
        await eventually(lambda: reports(health, f"{room.schema}:log-start-passed"), "halted")
    committed = (await room.committed(source))[0]
    assert 0 < committed < 50
    assert done == names[:committed], "nothing behind the gap"


async def test_a_gap_on_authorisations_alarms_and_goes_on(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Expiry rows end what is gone; what is left must not wait for a person."""
    monkeypatch.setattr(log_start, "AuthorisationSubmitted", Step)
    source, target = await room.topic(), await room.topic()
    await gap(room, source, target)
    bus, tap = room.bus(), await room.tap(source, target)
    bus.consume({source: pass_on(target)})
    async with bus:
        await tap.until(lambda: len(tap.of(target)) == 6, "the rest is handled")


async def test_a_gap_that_opens_while_a_consumer_is_paused_stops_it(room: Room) -> None:
    """I-9."""
    source, target = await room.topic(), await room.topic()
    health, there = Health(room.schema), asyncio.Event()

    async def probe() -> None:
        if not there.is_set():
            raise Unavailable("relay")

    async def handle(work: Work[Step]) -> None:
        if not there.is_set() and work.deliveries[0].event.document != "0":
            raise Unavailable("relay")
        await pass_on(target)(work)

    await room.send(source, [room.event("0")], partition=0)
    bus, tap = room.bus(health=health, probes={"relay": probe}), await room.tap(source, target)
    bus.consume({source: handle}, max_records=1)
    async with bus:
        await room.all_committed(source, 1)
        await room.send(source, [room.event(str(number)) for number in range(1, 10)], partition=0)
        await eventually(lambda: reports(health, f"{room.schema}:relay"), "paused")
        await delete(room, source, before=6)
        there.set()
        await eventually(lambda: reports(health, f"{room.schema}:log-start-passed"), "halted")
    await tap.read()
    assert len(tap.of(target)) == 1


@dataclass
class Seen:
    order: list[str]

    def note(self, what: str) -> Handler[Step]:
        async def handle(work: Work[Step]) -> None:
            self.order.append(what)
            async with work.recording(*work.deliveries) as recording:
                for delivery in recording.deliveries:
                    recording.settle(delivery, Done())

        return handle


async def test_no_request_is_handled_before_the_end_of_the_state_topics(room: Room) -> None:
    """I-8."""
    state = await room.topic(retention=None, partitions=2)
    requests = await room.topic()
    await room.send(requests, [room.event() for _ in range(50)])
    await room.send(state, [room.event(str(number)) for number in range(300)])
    health, seen = Health(room.schema), Seen([])
    bus = room.bus(health=health)
    bus.state({state: seen.note("state")}, max_records=10)
    bus.consume({requests: seen.note("request")})
    async with bus:
        assert not health.ready
        await room.all_committed(requests, 50)
        assert health.ready
    first = seen.order.index("request")
    assert "state" not in seen.order[first:]
    assert seen.order.count("state") >= 12


async def test_an_empty_state_topic_and_one_read_before_open_the_gate_too(room: Room) -> None:
    """I-8."""
    empty = await room.topic(retention=None, partitions=1)
    read = await room.topic(retention=None, partitions=1)
    requests = await room.topic()
    await room.send(read, [room.event("a")])
    for _ in range(2):
        seen = Seen([])
        bus = room.bus()
        bus.state({empty: seen.note("state"), read: seen.note("state")})
        bus.consume({requests: seen.note("request")})
        await room.send(requests, [room.event()])
        async with bus:
            await eventually(partial(seen.order.count, "request"), "a request is handled")


async def test_of_several_brokers_one_that_does_not_answer_is_passed_over(room: Room) -> None:
    """Consumers, producer and the reading of the state's ends take the same list."""
    source, target = await room.topic(), await room.topic()
    event = room.event()
    tap = await room.tap(target)
    await room.send(source, [event])
    kafka = room.stack.kafka
    bus = room.bus(kafka=replace(kafka, bootstrap=f"127.0.0.1:1,{kafka.bootstrap}"))
    bus.state({source: pass_on(target)})
    async with bus:
        await tap.until(lambda: len(tap.of(target)) == 1, "passed on")
        await eventually(lambda: bus.knows_state, "the state is known")


async def test_a_consumer_that_does_not_reach_its_group_holds_up_no_stop(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would try to leave it until the process is ended by force."""
    stop, left = AIOKafkaConsumer.stop, list[AIOKafkaConsumer]()

    async def out_of_reach(consumer: AIOKafkaConsumer) -> None:
        left.append(consumer)
        await asyncio.Event().wait()

    source = await room.topic()
    bus = room.bus()
    bus.consume({source: pass_on(source)})
    async with asyncio.timeout(30):
        async with bus:
            await eventually(room.members, "joined")
            monkeypatch.setattr(bus_module, "LEAVE_BOUND", 0.1)
            monkeypatch.setattr(AIOKafkaConsumer, "stop", out_of_reach)
    (consumer,) = set(left)
    await stop(consumer)
