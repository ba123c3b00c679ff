"""Dead letters on the broker: read, replayed, discarded. Everything here may be done again without harm."""

import contextlib
from datetime import datetime, timedelta
from uuid import UUID

from aiokafka import TopicPartition
from pydantic import ValidationError

from libs.bus.reader import Raw
from libs.bus.signing import Sign
from libs.contracts import topics
from libs.contracts.cloudevents import encode
from libs.contracts.manifest import Header
from libs.contracts.signing import MediumResolved, Rejected
from libs.contracts.topics import Topic
from libs.runtime.clock import Clock
from libs.runtime.kafka_access import KafkaAccess
from services.operations.letters import Letter, letters, resolution
from services.operations.reading import consumer, placed, until_end
from services.operations.sending import send

LOOK_BACK = timedelta(days=1)
"""For how long before its dead letter a request may have begun: a request lives 12 hours."""

SOURCE = "operations"


class DeadLetters:
    """The dead letters of one cluster. Raises KafkaError when the broker cannot be asked."""

    def __init__(self, kafka: KafkaAccess, clock: Clock) -> None:
        self._kafka = kafka
        self._clock = clock

    async def read(self, *read: Topic) -> list[Letter]:
        """The letters of these topics, each topic's in its order, with what was done with them so far."""
        partitions = {TopicPartition(topic.dead_letter, 0): topic for topic in read}
        async with consumer(self._kafka, partitions) as reader:
            await reader.seek_to_beginning()
            found: dict[TopicPartition, list[Raw]] = {partition: [] for partition in partitions}
            async for record in until_end(reader):
                found[TopicPartition(record.topic, record.partition)].append(record)
        return [letter for partition, topic in partitions.items() for letter in letters(topic.name, found[partition])]

    async def header(self, request: UUID, near: datetime) -> Header | None:
        """The header of a request, as medium_lookup told it in the day before `near`; None when it is not there."""
        key = str(request).encode()
        partition = placed(topics.MEDIUM_RESOLVED, key)
        async with consumer(self._kafka, [partition]) as reader:
            began = round((near - LOOK_BACK).timestamp() * 1000)
            first = (await reader.offsets_for_times({partition: began}))[partition]
            if first is None:
                return None
            reader.seek(partition, first.offset)
            async for record in until_end(reader):
                if record.key == key:
                    with contextlib.suppress(ValidationError):  # what medium_lookup did not write
                        return MediumResolved.model_validate_json(record.value or b"").signed.manifest.header
        return None

    async def replay(self, letter: Letter, *, by: str) -> None:
        """Publish the record where it came from, as it was: whoever handled it already knows it."""
        await send(self._kafka, letter.record, resolution(letter, "replayed", by=by, reason=""))

    async def discard(self, letter: Letter, rejected: Rejected | None, *, by: str, reason: str, sign: Sign) -> None:
        """End what waits for this letter, if anything does, and say so on its topic."""
        ends = []
        if rejected is not None:
            ended = encode(topics.REJECTED, rejected, source=SOURCE, time=self._clock())
            ends.append(sign(topics.REJECTED, ended))
        # one after another: what a resolution says has happened
        await send(self._kafka, *ends, resolution(letter, "discarded", by=by, reason=reason))
