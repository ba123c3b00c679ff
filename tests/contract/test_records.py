"""What the broker keeps of a record, and what aiokafka gives of it."""

import asyncio
import gzip
import os
import time

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.errors import MessageSizeTooLargeError, UnknownError
from aiokafka.partitioner import murmur2
from aiokafka.record.memory_records import MemoryRecords

from libs.bus import records
from libs.bus.publisher import Publisher
from libs.bus.subscriber import FETCH_BYTES, FETCH_MAX
from libs.contracts.cloudevents import Record, size
from libs.contracts.topics import MAX_DEAD_LETTER_BYTES, MAX_RECORD_BYTES
from tests.contract.broker import Broker, Name, any_header_name, drain
from tests.fuzz.target import CORPUS

LOG_APPEND_TIME = 1


async def test_the_timestamp_is_the_brokers_append_time_whatever_the_producer_says(broker: Broker) -> None:
    topic = await broker.topic()
    before = time.time() * 1000
    await broker.send(topic, [b"x"], timestamp_ms=86_400_000)
    (record,) = await drain(await broker.consumer(topic), 1)
    assert record.timestamp_type == LOG_APPEND_TIME
    assert before - 1000 <= record.timestamp <= time.time() * 1000 + 1000


async def test_a_keyed_record_goes_to_the_partition_of_its_keys_murmur2(broker: Broker) -> None:
    """Java's default partitioner, so that a foreign producer and ours agree."""
    topic = await broker.topic(partitions=4)
    publisher = Publisher(broker.stack.kafka, client_id="test")
    await publisher.publish([Record(topic, str(n).encode(), b"v", ()) for n in range(100)])
    await publisher.stop()
    got = await drain(await broker.consumer(topic), 100)
    assert all(record.partition == (murmur2(record.key) & 0x7FFFFFFF) % 4 for record in got)
    assert {record.partition for record in got} == {0, 1, 2, 3}


async def test_header_values_may_be_any_bytes_or_null(broker: Broker) -> None:
    topic = await broker.topic()
    headers = [("a", b"\xff\xfe"), ("b", None), ("a", b""), ("ünï", b"1")]
    await broker.send(topic, [b"x"], headers=headers)
    (record,) = await drain(await broker.consumer(topic), 1)
    assert list(record.headers) == headers


async def bad_name_between_good_ones(broker: Broker) -> str:
    topic = await broker.topic()
    await broker.send(topic, [b"0", b"1", b"2"])
    names = [("good", b"1"), (Name(b"bad\xff\xfe"), b"\x00v"), (Name(b""), None)]
    with any_header_name():
        producer = await broker.producer()
        await producer.send_and_wait(topic, b"3", headers=names)
    await broker.send(topic, [b"4"])
    return topic


async def test_aiokafka_loses_the_records_before_a_header_name_that_is_not_utf8(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault: when this fails after an upgrade, libs/bus/records.py can go."""
    topic = await bad_name_between_good_ones(broker)
    monkeypatch.setattr(fetcher, "MemoryRecords", MemoryRecords)
    consumer = await broker.consumer(topic)
    with pytest.raises(UnicodeDecodeError):
        await drain(consumer, 3)
    with pytest.raises(UnicodeDecodeError):
        await drain(consumer, 1)  # three records were fetched, none was given, and there they are no more


@pytest.mark.parametrize("compression", [None, "gzip"])
async def test_with_our_reader_a_header_name_that_is_not_utf8_is_a_record_like_any_other(
    broker: Broker, compression: str | None
) -> None:
    records.install()
    topic = await bad_name_between_good_ones(broker)
    with any_header_name():
        producer = await broker.producer(compression_type=compression, linger_ms=50)
        sent = [await producer.send(topic, b"5", headers=[(Name(b"\xff"), b"x")]), await producer.send(topic, b"6")]
        await asyncio.gather(*sent)
    got = await drain(await broker.consumer(topic), 7)
    assert [record.value for record in got] == [b"0", b"1", b"2", b"3", b"4", b"5", b"6"]
    assert list(got[3].headers) == [("good", b"1"), ("bad\\xff\\xfe", b"\x00v"), ("", None)]
    assert [record.offset for record in got] == list(range(7))
    assert all(record.timestamp_type == LOG_APPEND_TIME for record in got)


async def test_a_record_larger_than_the_fetch_size_still_arrives(broker: Broker) -> None:
    topic = await broker.topic(max_bytes=MAX_RECORD_BYTES)
    large = os.urandom(MAX_RECORD_BYTES - 1024)
    publisher = Publisher(broker.stack.kafka, client_id="test")
    await publisher.publish([Record(topic, b"k", value, ()) for value in (b"before", large, b"after")])
    await publisher.stop()
    assert len(large) > 30 * FETCH_BYTES
    got = await drain(await broker.consumer(topic, max_partition_fetch_bytes=FETCH_BYTES, fetch_max_bytes=FETCH_MAX), 3)
    assert [len(record.value) for record in got] == [6, len(large), 5]


async def test_what_a_producer_compressed_is_kept_and_counted_unpacked(broker: Broker) -> None:
    """Else a codec that we lack stops a partition, and 8 MiB of gzip are gigabytes in our memory."""
    topic = await broker.topic(max_bytes=64 * 1024)
    producer = await broker.producer(compression_type="gzip", max_request_size=MAX_DEAD_LETTER_BYTES)
    assert len(gzip.compress(bytes(1024 * 1024))) < 8 * 1024
    with pytest.raises(MessageSizeTooLargeError):
        await producer.send_and_wait(topic, bytes(1024 * 1024))
    await producer.send_and_wait(topic, bytes(32 * 1024))
    seen: list[int] = []

    class Watching(records.TolerantRecords):
        def next_batch(self):
            batch = super().next_batch()
            seen.append(batch.compression_type)
            return batch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fetcher, "MemoryRecords", Watching)
        (record,) = await drain(await broker.consumer(topic), 1)
    assert record.value == bytes(32 * 1024)
    assert seen == [0]


async def test_our_size_of_a_record_is_never_less_than_the_brokers(broker: Broker) -> None:
    """An event that we let pass is never refused by its topic: it would be published for ever."""
    limit = 16 * 1024
    topic = await broker.topic(max_bytes=limit)
    producer = await broker.producer()
    headers = [(f"name-{n}", b"v" * n) for n in range(20)]
    for value in range(0, limit, 700):
        record = Record(topic, b"key" * 5, b"v" * value, tuple(headers))
        if size(record) <= limit - 512:
            await producer.send_and_wait(topic, record.value, key=record.key, headers=headers)
    with pytest.raises(MessageSizeTooLargeError):
        await producer.send_and_wait(topic, b"v" * limit)


async def test_the_broker_refuses_a_batch_in_which_a_length_leads_past_the_end(broker: Broker) -> None:
    """aiokafka's compiled integers would read there: see libs/bus/records.py."""
    topic = await broker.topic()
    producer = await broker.producer(request_timeout_ms=5_000)
    for malformed in (False, True):
        batch = producer.create_batch()
        batch.append(key=b"k", value=b"v", timestamp=None)
        batch.close()
        if malformed:
            batch._buffer = bytearray((CORPUS / "records" / "found-length-past-the-end").read_bytes())
        sent = await producer.send_batch(batch, topic, partition=0)
        if malformed:
            with pytest.raises(UnknownError):  # what it has no word for; a time-out is another
                await sent
        else:
            await sent
    consumer = await broker.consumer(topic)
    (record,) = await drain(consumer, 1)
    assert record.value == b"v"
    assert await consumer.end_offsets([TopicPartition(topic, 0)]) == {TopicPartition(topic, 0): 1}
