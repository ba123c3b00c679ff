"""Whether `gpki.keys.v1` still ends with what we said of each key: of a compacted topic only the last record stays.

Whoever may write the topic (hsm_signer's account, the operator's) is believed by nobody, and could all the same leave
nothing of a key behind, or bring back what was said before it was replaced, for whoever reads the topic later.
"""

import asyncio
from collections.abc import Sequence
from typing import Final
from uuid import UUID

import structlog
from aiokafka.errors import KafkaError

from libs.bus.delivery import record_of
from libs.bus.reader import partitions_of, reader, up_to
from libs.contracts.cloudevents import Record
from libs.contracts.topics import Topic
from libs.runtime import metrics
from libs.runtime.kafka_access import KafkaAccess

LOOK_BOUND: Final = 20.0
"""Seconds for reading the topic to its end; it has a few hundred records, and what is not compacted yet."""

FETCH_WAIT_MS: Final = 100

log = structlog.get_logger()


class KeysTopic:
    """The keys' topic as it is now."""

    def __init__(self, kafka: KafkaAccess, topic: Topic, *, service: str) -> None:
        self._kafka = kafka
        self._partitions = partitions_of([topic])
        self._service = service

    async def written_over(self, said: Sequence[Record]) -> list[tuple[UUID, Record]]:
        """Those of the records that we published which are not the last of their key on the topic, by event id.

        Alarms when there are any. None when the topic could not be read: the next look asks again.
        """
        if not said:
            return []
        try:
            async with asyncio.timeout(LOOK_BOUND):
                last = await self._last({record.key for record in said})
        except (KafkaError, OSError) as error:  # TimeoutError is one
            log.warning("the keys' topic was not read", error=type(error).__name__)
            return []
        lost = [record for record in said if last.get(record.key) != record]
        if lost:
            keys = [(record.key or b"").decode() for record in lost]
            metrics.alarm(self._service, "keys-written-over", keys=keys)
        return [(_id(record), record) for record in lost]

    async def _last(self, keys: set[bytes | None]) -> dict[bytes | None, Record]:
        found: dict[bytes | None, Record] = {}
        places = self._partitions
        async with reader(self._kafka, places, fetch_max_wait_ms=FETCH_WAIT_MS) as consumer:
            begins, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
            for place in places:
                consumer.seek(place, begins[place])
            async for batch in up_to(consumer, ends):
                found.update((one.key, record_of(one)) for one in batch if one.key in keys)
        return found


def _id(record: Record) -> UUID:
    return UUID(dict(record.headers)["ce_id"].decode())
