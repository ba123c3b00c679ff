"""Start-up: reach the end of the state topics before the first request is judged."""

import asyncio
from collections.abc import Sequence

import structlog
from aiokafka import AIOKafkaConsumer

from libs.bus.reader import partitions_of
from libs.contracts.topics import Topic
from libs.runtime.kafka_access import KafkaAccess

_POLL = 0.1
"""Seconds between two looks at the group's offsets."""

_LOOK = 5.0
"""Seconds that one look may take before it is begun anew."""

_RETRY = 1.0
"""Seconds after a look that failed."""

log = structlog.get_logger()


async def caught_up(kafka: KafkaAccess, group: str, topics: Sequence[Topic]) -> None:
    """Return when `group` has committed up to where these topics ended when this was called.

    Counts all replicas of the group together: the state that they read lies in one schema. Waits through broker
    failures.
    """
    while True:
        consumer = AIOKafkaConsumer(**kafka.options(), group_id=group, enable_auto_commit=False)
        try:
            async with asyncio.timeout(_LOOK):
                await consumer.start()
            partitions = partitions_of(topics)
            # Known all at once, and nothing fetched: asked one by one, each topic would take aiokafka 0.1 s.
            consumer.assign(partitions)
            consumer.pause(*partitions)
            starts = await consumer.beginning_offsets(partitions)
            ends = await consumer.end_offsets(partitions)
            waiting = [partition for partition in partitions if ends[partition] > starts[partition]]
            while waiting:
                # Bounded: a look whose answer is lost would otherwise keep the service from ever becoming ready.
                async with asyncio.timeout(_LOOK):
                    waiting = [p for p in waiting if (await consumer.committed(p) or 0) < ends[p]]
                await asyncio.sleep(_POLL if waiting else 0)
        except Exception as error:  # noqa: BLE001 (whatever it is: no request is judged before this has an answer)
            log.warning("state topics not caught up", error=type(error).__name__)
            await asyncio.sleep(_RETRY)
        else:
            return
        finally:
            await consumer.stop()
