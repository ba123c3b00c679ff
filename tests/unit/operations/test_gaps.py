"""A gap is what a group had committed to read next and the log begins after; nothing else is one."""

from aiokafka import TopicPartition

from libs.contracts import topics
from services.operations.cluster import Cluster, Group
from services.operations.gaps import Gap, Missed, gaps_of, groups_of

SIGNED = [TopicPartition(topics.SIGNED.name, number) for number in range(3)]
USER = TopicPartition(topics.USER.name, 0)


def group(name: str, **committed: int) -> Group:
    return Group(name, 0, {SIGNED[int(place[1:])]: offset for place, offset in committed.items()}, frozenset())


def test_of_a_service_its_own_group_and_its_lanes_are_looked_at_and_nobody_else_s() -> None:
    names = ("hsm_signer", "hsm_signer.bulk", "hsm_signer.state", "hsm_signer2", "gateway", "igfmas")
    cluster = Cluster({}, groups=tuple(group(name) for name in names))
    assert [one.name for one in groups_of("hsm_signer", cluster)] == [
        "hsm_signer",
        "hsm_signer.bulk",
        "hsm_signer.state",
    ]
    assert groups_of("nobody", cluster) == []


def test_a_gap_is_where_a_committed_offset_lies_before_the_start_of_its_log() -> None:
    begins = {SIGNED[0]: 7, SIGNED[1]: 5, SIGNED[2]: 0}
    found = gaps_of([group("a", p0=3, p1=5, p2=0), group("a.lane", p1=4)], begins)
    assert found == [Gap("a", SIGNED[0], 3, 7), Gap("a.lane", SIGNED[1], 4, 5)]
    assert [gap.deleted for gap in found] == [4, 1]
    missed = Missed(topics.SIGNED, tuple(found), {"hsm_signer": [], "operations": []})
    assert (missed.deleted, missed.found) == (5, 0)


def test_what_was_never_read_or_is_no_topic_any_more_is_no_gap() -> None:
    assert gaps_of([group("a", p0=1)], {SIGNED[1]: 9, USER: 9}) == []
