"""Topics and consumer groups as they stand on the broker. Asks only: nothing is created, no group is joined."""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import for_code

from libs.bus.topics import Shape, administration, shapes_of
from libs.runtime.kafka_access import KafkaAccess
from services.operations.reading import TIMEOUT_MS, consumer


@dataclass(frozen=True)
class Group:
    """A consumer group: what it committed, and what its members were given; nobody may be in it."""

    name: str
    members: int
    committed: Mapping[TopicPartition, int]
    assigned: frozenset[TopicPartition]


@dataclass(frozen=True)
class Cluster:
    """What was found of the topics that were asked about; one that is not on the broker is in none of these."""

    shapes: Mapping[str, Shape]
    begins: Mapping[TopicPartition, int] = field(default_factory=dict)
    ends: Mapping[TopicPartition, int] = field(default_factory=dict)
    groups: tuple[Group, ...] = ()


async def look(kafka: KafkaAccess, names: Iterable[str]) -> Cluster:
    """These topics and every group that has to do with one. Raises KafkaError, TopicError."""
    async with administration(kafka, timeout_ms=TIMEOUT_MS) as admin:
        shapes = await existing(admin, names)
        groups = await _groups(admin)
    places = [TopicPartition(name, number) for name, shape in shapes.items() for number in range(shape.partitions)]
    if not places:
        return Cluster(shapes)
    async with consumer(kafka, places) as asked:
        begins, ends = await asked.beginning_offsets(places), await asked.end_offsets(places)
    known = tuple(group for group in groups if not ends.keys().isdisjoint({*group.committed, *group.assigned}))
    return Cluster(shapes, begins, ends, known)


async def first_times(kafka: KafkaAccess, places: Collection[TopicPartition]) -> dict[TopicPartition, datetime | None]:
    """When the broker took the first record that each of these still has, None when it has none. Raises KafkaError."""
    async with consumer(kafka, places) as asked:
        found = await asked.offsets_for_times(dict.fromkeys(places, 0))
    return {
        place: None if first is None else datetime.fromtimestamp(first.timestamp / 1000, UTC)
        for place, first in found.items()
    }


async def move(kafka: KafkaAccess, group: str, offsets: Mapping[TopicPartition, int]) -> None:
    """Have a group that nobody is in go on from these offsets.

    Raises CommitFailedError when somebody is in it: the broker refuses. Raises KafkaError.
    """
    async with consumer(kafka, offsets, group=group) as mover:
        await mover.commit(dict(offsets))


async def existing(admin: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, Shape]:
    """Those of these topics that exist. All are asked about: to ask by name may create."""
    wanted = set(names)
    return await shapes_of(admin, [each for each in await admin.describe_topics() if each["topic"] in wanted])


async def _groups(admin: AIOKafkaAdminClient) -> list[Group]:
    names = sorted(name for name, _ in await admin.list_consumer_groups())
    return await asyncio.gather(*(_group(admin, name) for name in names))


async def _group(admin: AIOKafkaAdminClient, name: str) -> Group:
    committed = await admin.list_consumer_group_offsets(name)
    # One group at a time: of several, aiokafka 0.14 reads an answer of version 3 as one of version 2.
    (answer,) = await admin.describe_consumer_groups([name])
    ((code, _name, _state, _kind, _protocol, members, *_),) = answer.groups
    if code:
        raise for_code(code)(name)
    given = frozenset(
        TopicPartition(topic, number)
        for member in members
        if member[-1]  # its assignment is the last in every version of the answer that aiokafka knows
        for topic, numbers in ConsumerProtocolMemberAssignment.decode(member[-1]).assignment
        for number in numbers
    )
    offsets = {place: offset.offset for place, offset in committed.items() if offset.offset >= 0}
    return Group(name, len(members), offsets, given)
