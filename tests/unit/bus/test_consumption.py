"""What is committed and what is read again: never past a record that is not handled."""

from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from libs.bus.consumption import frontier
from libs.bus.delivery import Coordinates

P0, P1 = TopicPartition("t", 0), TopicPartition("t", 1)


def at(partition: int, *offsets: int) -> list[Coordinates]:
    return [Coordinates("t", partition, offset) for offset in offsets]


def test_all_handled_commits_the_next_offset_and_seeks_nothing() -> None:
    read = at(0, 5, 6, 7)
    assert frontier(read, read) == ({P0: 8}, {})


def test_nothing_handled_commits_nothing_and_seeks_to_the_first() -> None:
    assert frontier(at(0, 5, 6), ()) == ({}, {P0: 5})


def test_a_hole_stops_the_commit_and_is_sought_whatever_was_handled_after_it() -> None:
    assert frontier(at(0, 5, 6, 7, 8), at(0, 5, 7, 8)) == ({P0: 6}, {P0: 6})


def test_partitions_do_not_touch_each_other_and_gaps_of_compaction_are_none() -> None:
    read = [*at(0, 5, 9), *at(1, 100, 250)]
    assert frontier(read, [*at(0, 5, 9), *at(1, 250)]) == ({P0: 10}, {P1: 100})


def test_the_same_offset_of_a_topic_made_anew_is_another_record() -> None:
    read = [Coordinates("t", 0, 5, stamp=2)]
    assert frontier(read, [Coordinates("t", 0, 5, stamp=1)]) == ({}, {P0: 5})


@given(st.data())
def test_for_any_batch_the_committed_prefix_is_handled_and_what_is_not_is_read_again(data: st.DataObject) -> None:
    """I-1."""
    read: list[Coordinates] = []
    for partition in range(data.draw(st.integers(1, 4))):
        offsets = data.draw(st.sets(st.integers(0, 60), max_size=8))
        read += at(partition, *sorted(offsets))
    handled = {coordinates for coordinates in read if data.draw(st.booleans())}
    prefix, rest = frontier(read, handled)
    for coordinates in read:
        partition = TopicPartition(coordinates.topic, coordinates.partition)
        if coordinates.offset < prefix.get(partition, 0):
            assert coordinates in handled
        if coordinates not in handled:
            assert rest[partition] <= coordinates.offset
            assert prefix.get(partition, 0) <= coordinates.offset


def test_the_order_between_partitions_does_not_matter() -> None:
    read = [*at(0, 1, 2, 3), *at(1, 7, 8)]
    handled = {read[0], read[3]}
    mixed = [read[3], read[0], read[1], read[4], read[2]]
    assert frontier(mixed, handled) == frontier(read, handled)
