"""What retention deleted before a service had read it: which records, and who recorded them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from aiokafka import TopicPartition

from libs.contracts import topics
from libs.contracts.signing import AuthorisationSubmitted
from libs.contracts.topics import Topic
from services.operations.cluster import Cluster, Group
from services.operations.database import Database
from services.operations.outcomes import unhandled

CLOCKS_APART: Final = timedelta(minutes=1)
"""By how much PostgreSQL's clock may be ahead of the broker's: an outcome is recorded before it is published."""


@dataclass(frozen=True)
class Gap:
    """One partition of one group: what lay between these offsets is deleted, and the group had not come to it."""

    group: str
    place: TopicPartition
    committed: int
    begin: int

    @property
    def deleted(self) -> int:
        """How many records."""
        return self.begin - self.committed


@dataclass(frozen=True)
class Missed:
    """A topic on which there are gaps, and what its producers recorded for it that the service has not handled."""

    topic: Topic
    gaps: tuple[Gap, ...]
    outcomes: Mapping[str, Sequence[UUID]]

    @property
    def deleted(self) -> int:
        """How many records, over its partitions."""
        return sum(gap.deleted for gap in self.gaps)

    @property
    def found(self) -> int:
        """How many outcomes."""
        return sum(map(len, self.outcomes.values()))


def groups_of(service: str, cluster: Cluster) -> list[Group]:
    """The service's own group, and those of its lanes."""
    return [group for group in cluster.groups if group.name.partition(".")[0] == service]


def gaps_of(groups: Iterable[Group], begins: Mapping[TopicPartition, int]) -> list[Gap]:
    """Where a committed offset lies before the start of its log, by topic and partition."""
    found = [
        Gap(group.name, place, committed, begins[place])
        for group in groups
        for place, committed in group.committed.items()
        if place in begins and committed < begins[place]
    ]
    return sorted(found, key=lambda gap: gap.place)


async def missed_of(
    database: Database, service: str, gaps: Collection[Gap], firsts: Mapping[TopicPartition, datetime | None]
) -> list[Missed]:
    """What there is to be published again for these gaps. Reads the ledgers, takes as long as those are large.

    `firsts` has the broker's time of the first record that each partition still has, None when it has none. What was
    recorded later was not deleted. Authorisations are never listed: they are sealed PINs, and their time is over.
    """
    found = []
    for name in sorted({gap.place.topic for gap in gaps}):
        topic = topics.TOPICS[name]
        own = tuple(gap for gap in gaps if gap.place.topic == name)
        outcomes = {}
        if topic.event is not AuthorisationSubmitted:
            until = {
                gap.place.partition: None if (first := firsts[gap.place]) is None else first + CLOCKS_APART
                for gap in own
            }
            outcomes = await unhandled(database, service, topic, until)
        found.append(Missed(topic, own, outcomes))
    return found
