"""Every declared topic as the broker has it, and what differs: what was found in, lines out."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Final

from aiokafka import TopicPartition

from libs.bus.topics import Shape, declared_shapes, differences
from libs.contracts.topics import Topic
from services.operations.cluster import Cluster, Group

MISSING: Final = "is not on the broker: its init step creates it (`make up`)"

_MIB: Final = 1024 * 1024

HEAD: Final = f"{'topic':52} {'partitions':>10} {'retention':>9} {'limit':>9} {'offsets':>18}"


def table(topics: Sequence[Topic], found: Cluster) -> tuple[list[str], bool]:
    """Lines, and whether anything differs from the declaration, which is told under its topic with `!`.

    A topic of dead letters is told when there is something to tell: it differs, or somebody buried something.
    """
    declared = declared_shapes(topics, replication(found.shapes))
    lines, differs = [HEAD], False
    for topic in topics:
        for name in (topic.name, topic.dead_letter):
            wrong = _wrong(name, declared[name], found.shapes)
            differs = differs or bool(wrong)
            begin, end = _sum(found.begins, name), _sum(found.ends, name)
            if name == topic.name or wrong or end:
                shape = found.shapes.get(name)
                lines.append(f"{name:52} {_shape(shape)} {f'{begin}..{end}' if shape else '':>18}".rstrip())
                lines += [f"    {text}" for text in _groups(found, name)]
                lines += [f"  ! {text}" for text in wrong]
    return lines, differs


def replication(found: Mapping[str, Shape]) -> int:
    """On how many brokers topics lie here: on as many as any does."""
    return max((shape.replicas for shape in found.values()), default=1)


def _wrong(name: str, declared: Shape, found: Mapping[str, Shape]) -> list[str]:
    return differences(name, declared, found[name]) if name in found else [f"{name} {MISSING}"]


def _shape(shape: Shape | None) -> str:
    if shape is None:
        return f"{'-':>10} {'-':>9} {'-':>9}"
    kept = shape.settings.get("retention.ms", "")
    retention = "compacted" if "compact" in shape.settings.get("cleanup.policy", "") else _time(kept)
    limit = shape.settings.get("max.message.bytes", "")
    return f"{shape.partitions:>10} {retention:>9} {_size(limit):>9}"


def _time(milliseconds: str) -> str:
    if not milliseconds.isdecimal():
        return "for ever" if milliseconds == "-1" else "?"
    hours = timedelta(milliseconds=int(milliseconds)) / timedelta(hours=1)
    return f"{hours / 24:g} d" if hours > 24 else f"{hours:g} h"


def _size(size: str) -> str:
    if not size.isdecimal():
        return "?"
    return f"{int(size) / _MIB:g} MiB" if int(size) >= _MIB else f"{int(size) / 1024:g} KiB"


def _sum(offsets: Mapping[TopicPartition, int], name: str) -> int:
    return sum(offset for place, offset in offsets.items() if place.topic == name)


def _groups(found: Cluster, name: str) -> Iterable[str]:
    for group in found.groups:
        places = [place for place in {*group.committed, *group.assigned} if place.topic == name and place in found.ends]
        if places:
            yield _lag(group, found, places)


def _lag(group: Group, found: Cluster, places: Sequence[TopicPartition]) -> str:
    """A group that has committed nothing in a partition has all of it before it."""
    at = {place: group.committed.get(place, found.begins[place]) for place in places}
    behind = sum(max(found.ends[place] - offset, 0) for place, offset in at.items())
    gone = sum(max(found.begins[place] - offset, 0) for place, offset in at.items())
    lost = f", {gone} of them deleted before they were read" if gone else ""
    return f"{group.name:40} lag {behind}{lost}{'' if group.members else ', nobody is in it'}"
