"""Offsets, pauses and rebalances of a consumer group, as the loop counts on them."""

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError

from libs.bus.subscriber import FETCH_WAIT_MS, follow, rewind
from libs.bus.suspension import Suspension
from libs.runtime.health import Health
from tests.contract.broker import Broker, drain
from tests.support.waiting import eventually


async def test_seek_back_delivers_again_and_drops_what_was_fetched_ahead(broker: Broker) -> None:
    topic = await broker.topic()
    await broker.send(topic, [str(n).encode() for n in range(20)])
    consumer = await broker.consumer(topic, group=topic)
    batch = (await consumer.getmany(timeout_ms=5000, max_records=10))[TopicPartition(topic, 0)]
    consumer.seek(TopicPartition(topic, 0), batch[3].offset)
    again = await drain(consumer, 17)
    assert [record.offset for record in again] == list(range(3, 20))


async def test_seek_of_a_partition_that_is_not_ours_is_refused(broker: Broker) -> None:
    topic = await broker.topic()
    consumer = await broker.consumer(topic, group=topic)
    await eventually(consumer.assignment, "assigned")
    with pytest.raises(IllegalStateError):
        consumer.seek(TopicPartition(topic, 7), 0)


async def test_a_commit_that_names_a_revoked_partition_fails_whole_and_of_kept_ones_passes(broker: Broker) -> None:
    topic = await broker.topic(partitions=2)
    await broker.send(topic, [b"x"], partition=0)
    await broker.send(topic, [b"x"], partition=1)
    first = await broker.consumer(topic, group=topic)
    both = {TopicPartition(record.topic, record.partition): 1 for record in await drain(first, 2)}
    assert len(both) == 2
    second = await broker.consumer(topic, group=topic)
    await eventually(lambda: len(first.assignment()) == len(second.assignment()) == 1, "one partition each")
    with pytest.raises((IllegalStateError, CommitFailedError)):
        await first.commit(both)
    assert await broker.committed(topic) == {}
    kept = {partition: offset for partition, offset in both.items() if partition in first.assignment()}
    await first.commit(kept)
    assert await broker.committed(topic) == kept


async def test_a_rebalance_forgets_a_pause_and_follow_repeats_it(broker: Broker) -> None:
    topic = await broker.topic(partitions=2)
    first = await broker.consumer(topic, group=topic)
    await eventually(lambda: len(first.assignment()) == 2, "both assigned")
    suspension = Suspension("test", "test", {}, Health("test"))
    suspension.hold("something")
    assert not follow(suspension, first)
    assert len(first.paused()) == 2
    await broker.consumer(topic, group=topic)
    await eventually(lambda: len(first.assignment()) == 1, "rebalanced")
    assert first.paused() == set()
    await broker.send(topic, [b"x"], partition=next(iter(first.assignment())).partition)
    follow(suspension, first)
    assert await first.getmany(timeout_ms=1000) == {}
    suspension.release("something")
    assert follow(suspension, first)
    assert len(await drain(first, 1)) == 1


async def test_rewind_goes_back_to_what_is_committed_or_to_the_start(broker: Broker) -> None:
    topic = await broker.topic(partitions=2)
    for partition in (0, 1):
        await broker.send(topic, [b"0", b"1", b"2"], partition=partition)
    consumer = await broker.consumer(topic, group=topic)
    await drain(consumer, 6)
    await consumer.commit({TopicPartition(topic, 0): 2})
    await rewind(consumer)
    again = await drain(consumer, 4)
    assert sorted((record.partition, record.offset) for record in again) == [(0, 2), (1, 0), (1, 1), (1, 2)]


async def test_rewind_asks_once_about_however_many_partitions_though_a_fetch_waits_before_it(broker: Broker) -> None:
    """A question about offsets stands behind the fetch of an idle consumer: one for each partition took too long."""
    topic = await broker.topic(partitions=24)
    consumer = await broker.consumer(topic, group=topic, fetch_max_wait_ms=FETCH_WAIT_MS)
    await eventually(lambda: len(consumer.assignment()) == 24, "all assigned")
    assert await consumer.getmany(timeout_ms=50) == {}, "and a fetch is under way"
    await rewind(consumer)
    await broker.send(topic, [b"x"], partition=23)
    assert len(await drain(consumer, 1)) == 1
