"""What lies on the broker, read up to where it ended when the reading began. Joins no group and writes nothing."""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Final, TypeAlias
from uuid import UUID

from aiokafka import AIOKafkaConsumer, TopicPartition
from pydantic import ValidationError

from libs.bus.publisher import partition_of
from libs.bus.reader import POLL_MS, Raw, partitions_of, reader, up_to
from libs.contracts import topics
from libs.contracts.topics import MAX_DEAD_LETTER_BYTES, Topic
from libs.runtime.kafka_access import KafkaAccess
from services.operations.tracing import Seen, documents_of, request_of

Ends: TypeAlias = Mapping[TopicPartition, int]

TIMEOUT_MS: Final = 10_000
"""Milliseconds for one answer of the broker."""

SILENT_POLLS: Final = TIMEOUT_MS // POLL_MS
"""Polls in a row that may bring nothing."""

SIGNING: Final = "gpki.signing."
"""What the topics of the chain begin with."""


def placed(topic: Topic, key: bytes) -> TopicPartition:
    """Where our services put what has this key."""
    return TopicPartition(topic.name, partition_of(key, topic.partitions))


def consumer(
    kafka: KafkaAccess, partitions: Collection[TopicPartition], *, group: str | None = None
) -> AbstractAsyncContextManager[AIOKafkaConsumer]:
    """A `reader` that waits no longer than TIMEOUT_MS for an answer; `group` is only who it commits for."""
    return reader(
        kafka,
        partitions,
        group=group,
        max_partition_fetch_bytes=MAX_DEAD_LETTER_BYTES,
        request_timeout_ms=TIMEOUT_MS,
    )


async def until_end(reader: AIOKafkaConsumer) -> AsyncIterator[Raw]:
    """What lies on the assigned partitions now, from the consumer's positions on; of one partition, in its order."""
    async for record in _each(reader, await reader.end_offsets(reader.assignment())):
        yield record


async def _each(reader: AIOKafkaConsumer, ends: Ends) -> AsyncIterator[Raw]:
    async for batch in up_to(reader, ends, silent_polls=SILENT_POLLS):
        for record in batch:
            yield record


async def request(kafka: KafkaAccess, request_id: UUID) -> list[Seen]:
    """Every record of one request on the topics of the chain, all as they ended at one moment; in no order.

    First what is keyed by the request, which names its documents; then, from the first of these records on, what is
    keyed by one of those documents and says that it is of this request. What is keyed by a document and cannot be read
    is of nobody here: its dead letter tells of it. Raises KafkaError.
    """
    key = str(request_id).encode()
    lists, papers = _partitions(key)
    async with consumer(kafka, [*lists, *papers]) as reader:
        ends = await reader.end_offsets([*lists, *papers])
        found = await _from_start(reader, {one: ends[one] for one in lists}, lists, key)
        keys = {name.encode() for name in documents_of(found)}
        if keys:
            began = min(round(one.at.timestamp() * 1000) for one in found)
            read = await _from(reader, {one: ends[one] for one in papers}, papers, keys, began=began)
            found += [one for one in read if one.event is not None and request_of(one.event) == request_id]
    return found


async def _from_start(
    reader: AIOKafkaConsumer, ends: Ends, of: Mapping[TopicPartition, Topic], key: bytes
) -> list[Seen]:
    for partition, offset in (await reader.beginning_offsets(list(ends))).items():
        reader.seek(partition, offset)
    return [seen(of[_place(record)], record) async for record in _each(reader, ends) if record.key == key]


async def _from(
    reader: AIOKafkaConsumer, ends: Ends, of: Mapping[TopicPartition, Topic], keys: Collection[bytes], *, began: int
) -> list[Seen]:
    starts = await reader.offsets_for_times(dict.fromkeys(ends, began))
    left = {partition: ends[partition] for partition, first in starts.items() if first is not None}
    for partition in left:
        reader.seek(partition, starts[partition].offset)
    return [seen(of[_place(record)], record) async for record in _each(reader, left) if record.key in keys]


def _partitions(key: bytes) -> tuple[dict[TopicPartition, Topic], dict[TopicPartition, Topic]]:
    """Those that may hold what is keyed by this request, and those of documents."""
    lists: dict[TopicPartition, Topic] = {}
    papers: dict[TopicPartition, Topic] = {}
    for topic in topics.TOPICS.values():
        if not topic.name.startswith(SIGNING) or topic == topics.PROGRESSED:  # it tells what the others tell
            continue
        everywhere = partitions_of([topic])
        if topic.key == "document":
            papers |= dict.fromkeys(everywhere, topic)
        else:
            # An outsider's client may place keys by a rule of its own; ours all do as Kafka's own.
            lists |= dict.fromkeys(everywhere if topic.outsiders else [placed(topic, key)], topic)
    return lists, papers


def seen(topic: Topic, record: Raw) -> Seen:
    """The record as the trace takes it; without an event when it is none of its topic."""
    said = {name: bytes(value or b"").decode("utf-8", "replace") for name, value in record.headers}
    try:
        event = topic.event.model_validate_json(record.value or b"")
    except ValidationError:
        event = None
    at = datetime.fromtimestamp(record.timestamp / 1000, UTC)
    return Seen(topic, at, said.get("ce_source", ""), said.get("ce_id", ""), event)


def _place(record: Raw) -> TopicPartition:
    return TopicPartition(record.topic, record.partition)
