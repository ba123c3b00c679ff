"""The producer of one service: idempotent, acks=all, a batch per partition of what is published together."""

import asyncio
import contextlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2

from libs.bus import defences
from libs.bus.outcomes import Unavailable
from libs.contracts.cloudevents import Record
from libs.contracts.topics import MAX_DEAD_LETTER_BYTES, MAX_DOCUMENT_RECORD_BYTES
from libs.runtime.kafka_access import KafkaAccess

BROKER = "broker"
"""The dependency's name in `Unavailable`."""

MAX_BATCH_BYTES = MAX_DOCUMENT_RECORD_BYTES - 8 * 1024
"""Of one batch, since a topic's `max.message.bytes` holds for it; a larger record goes alone. A partition has one batch
under way at a time: small ones cost a round trip each, and each wakes whoever reads there."""

PROBE_TIMEOUT = 5.0
"""Seconds for a metadata request."""

CLOSE_TIMEOUT = 2.0
"""Seconds to close a producer."""

PUBLISH_TIMEOUT = 20.0
"""Seconds until an unacknowledged publish counts as "broker unavailable"; the records stay recorded."""


class Publisher:
    """Publishes recorded outcomes. Safe for concurrent use; order is kept per key within one call.

    A producer that failed is replaced: an idempotent producer does not survive every failure of its broker.
    """

    def __init__(self, kafka: KafkaAccess, *, client_id: str) -> None:
        self._kafka = kafka
        self._client_id = client_id
        self._producer: AIOKafkaProducer | None = None
        self._connecting = asyncio.Lock()

    async def start(self) -> None:
        """Connect. Raises Unavailable."""
        await self._connected()

    async def stop(self) -> None:
        """Disconnect. A publish under way fails; what it published stays recorded."""
        if self._producer is not None:
            await self._discard(self._producer)

    async def publish(self, records: Sequence[Record]) -> None:
        """Return when the broker has acknowledged all. Raises Unavailable; some may have been written then."""
        if not records:
            return
        producer = await self._connected()
        try:
            async with asyncio.timeout(PUBLISH_TIMEOUT):
                partitions = {topic: await producer.partitions_for(topic) for topic in {r.topic for r in records}}
                sends = [
                    await producer.send_batch(batch, topic, partition=partition)
                    for batch, topic, partition in _batches(producer, records, partitions)
                ]
                results = await asyncio.gather(*sends, return_exceptions=True)
        except (KafkaError, TimeoutError) as error:
            await self._discard(producer)
            raise Unavailable(BROKER) from error
        failures = [result for result in results if isinstance(result, BaseException)]
        if failures:
            await self._discard(producer)
            raise Unavailable(BROKER) from failures[0]

    async def probe(self) -> None:
        """Ask the broker for its metadata. Raises Unavailable."""
        producer = await self._connected()
        try:
            async with asyncio.timeout(PROBE_TIMEOUT):
                await producer.client.fetch_all_metadata()
        except (KafkaError, TimeoutError) as error:
            await self._discard(producer)
            raise Unavailable(BROKER) from error

    async def _connected(self) -> AIOKafkaProducer:
        try:
            # aiokafka asks for a producer's id until it has one, however long the broker cannot give any.
            async with asyncio.timeout(PUBLISH_TIMEOUT), self._connecting:
                if self._producer is None:
                    self._producer = await self._started()
                return self._producer
        except (KafkaError, OSError) as error:  # TimeoutError is one
            raise Unavailable(BROKER) from error

    async def _started(self) -> AIOKafkaProducer:
        defences.install()
        fresh = AIOKafkaProducer(
            **self._kafka.options(),
            client_id=self._client_id,
            enable_idempotence=True,
            max_request_size=MAX_DEAD_LETTER_BYTES,
            max_batch_size=MAX_BATCH_BYTES,
            request_timeout_ms=int(PUBLISH_TIMEOUT * 1000),
        )
        try:
            await fresh.start()
        except BaseException:
            await _close(fresh)
            raise
        return fresh

    async def _discard(self, producer: AIOKafkaProducer) -> None:
        if producer is not self._producer:
            return  # another call has replaced it
        self._producer = None
        await _close(producer)


def _batches(
    producer: AIOKafkaProducer, records: Sequence[Record], partitions: Mapping[str, Collection[int]]
) -> list[tuple[Any, str, int]]:
    """Pack records into batches, in order within each partition: a batch costs what a single send does."""
    batches: list[tuple[Any, str, int]] = []
    latest: dict[tuple[str, int], Any] = {}
    for record in records:
        place = record.topic, partition_of(record.key, len(partitions[record.topic]))
        arguments = {"timestamp": None, "key": record.key, "value": record.value, "headers": list(record.headers)}
        if place not in latest or latest[place].append(**arguments) is None:
            latest[place] = producer.create_batch()  # the first, or the one after a full one
            latest[place].append(**arguments)
            batches.append((latest[place], *place))
    return batches


def partition_of(key: bytes | None, count: int) -> int:
    """Java's default: murmur2 of the key; what has no key is a dead letter, whose topic has one partition."""
    return int(murmur2(key) & 0x7FFFFFFF) % count if key else 0


async def _close(producer: Any) -> None:
    """Close without a flush, for which aiokafka has no way.

    A flush would wait for a broker that is away, and the sender would go on for ever. What is given up stays recorded.
    """
    producer._closed = True  # noqa: SLF001 (as said)
    with contextlib.suppress(KafkaError, TimeoutError):
        async with asyncio.timeout(CLOSE_TIMEOUT):
            await producer.client.close()  # first, so that no request is under way any more
            await producer._sender.close()  # noqa: SLF001 (as said)
