"""What `posted` told is put together in the log's order, from any order, and begun again where it must be."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.crypto.merkle import leaf_hash, tree_root
from services.monitor.told_log import Told, ToldLog

AT = datetime(2026, 11, 28, tzinfo=UTC)
LEAVES = [leaf_hash(bytes([number])) for number in range(200)]


def told(position: int, *, partition: int = 0, leaf: bytes | None = None) -> Told:
    return Told(leaf or LEAVES[position], partition, 1_000 + position, AT + timedelta(seconds=position))


def advanced(log: ToldLog, size: int) -> bool:
    """Whether so much was told; it is in order then."""
    tree = log.grown(size)
    return tree is not None and log.advance(tree) == []


@given(st.permutations(range(60)), st.lists(st.integers(0, 60), max_size=6))
def test_whatever_the_order_the_root_is_the_trees(order, sizes):
    log = ToldLog()
    for position in order:
        assert log.take(position, told(position, partition=position % 4))
    for size in sorted(sizes):
        assert advanced(log, size)
        assert log.root() == tree_root(LEAVES[: log.size])
        assert ToldLog(log.size, log.peaks).root() == log.root()
        assert log.oldest() == (AT + timedelta(seconds=log.size) if log.size < 60 else None)


@pytest.mark.parametrize("missing", [0, 3, 9])
def test_nothing_is_put_in_order_before_all_of_it_was_told(missing):
    log = ToldLog()
    for position in range(10):
        if position != missing:
            log.take(position, told(position))
    assert not advanced(log, 10)
    assert log.size == 0
    log.take(missing, told(missing))
    assert advanced(log, 10)
    assert log.root() == tree_root(LEAVES[:10])


FALSE = leaf_hash(b"another")


@pytest.mark.parametrize("first", [LEAVES[2], FALSE])
def test_of_two_leaves_of_a_position_the_proven_one_is_put_in_order_whichever_came_first(first):
    """I-43."""
    second = FALSE if first == LEAVES[2] else LEAVES[2]
    log = ToldLog()
    for position in (0, 1, 3):
        assert log.take(position, told(position))
    assert log.take(2, told(2, leaf=first))
    assert log.take(2, told(2, leaf=first)), "a repeat is nothing new"
    assert not log.is_disputed(4)
    assert not log.take(2, told(2, partition=1, leaf=second))
    assert log.take(2, told(2, leaf=second)), "nor is one of the other"
    assert (log.is_disputed(4), log.is_disputed(2)) == (True, False)
    assert dict(log.read_again({0: 2_000, 1: 2_000})) == {0: 1_000, 1: 1_002}
    assert log.waiting() == {0: 4, 1: 1}
    log.settle({2: leaf_hash(b"a third")})
    log.settle({2: LEAVES[2]})
    tree = log.grown(4)
    assert tree is not None
    assert tree.root() == tree_root(LEAVES[:4])
    assert log.size == 0, "nothing is in order before somebody says so"
    assert [(position, other.leaf) for position, other in log.advance(tree)] == [(2, FALSE)]
    assert (log.root(), log.waiting(), log.is_disputed(9)) == (tree_root(LEAVES[:4]), {}, False)


def test_what_a_later_log_does_not_have_is_forgotten_and_hides_nothing():
    """I-43: what is younger than its checkpoint waits, also of the same position."""
    log = ToldLog()
    log.take(7, Told(FALSE, 2, 17, AT))
    log.take(7, Told(LEAVES[7], 3, 18, AT + timedelta(minutes=2)))
    log.take(10**12, Told(FALSE, 2, 19, AT))
    log.take(3, Told(LEAVES[3], 1, 20, AT))
    gone = log.forget(5, AT + timedelta(minutes=1))
    assert [(position, one.offset) for position, one in gone] == [(7, 17), (10**12, 19)]
    assert dict(log.read_again(dict.fromkeys(range(4), 100))) == {0: 100, 1: 20, 2: 100, 3: 18}
    assert log.oldest() == AT
    assert not log.is_disputed(8)


def test_what_the_log_s_tiles_contradict_makes_room_and_what_they_do_not_name_waits():
    """I-43: none of the others' leaves, and not the true one that was told among them."""
    log = ToldLog()
    for number in range(1_000):
        log.take(2, Told(leaf_hash(b"false %d" % number), 1, number, AT))
    log.take(2, told(2))
    log.take(3, Told(FALSE, 1, 2_000, AT))
    log.take(9, Told(FALSE, 1, 2_001, AT))
    gone = log.disprove(dict(enumerate(LEAVES[:5])))
    assert (len(gone), {place for place, _ in gone}) == (1_001, {2, 3})
    assert log.waiting() == {0: 1, 1: 1}
    assert not log.is_disputed(10)
    assert log.take(3, told(3)), "the true one, when it comes"
    for position in (0, 1):
        log.take(position, told(position))
    assert advanced(log, 4)
    assert log.root() == tree_root(LEAVES[:4])


def test_reading_begins_again_before_the_first_leaf_that_is_not_in_order():
    log = ToldLog()
    for position, partition in ((0, 0), (1, 1), (5, 1), (7, 1), (3, 2)):
        log.take(position, told(position, partition=partition))
    assert advanced(log, 2)
    assert dict(log.read_again({0: 2_000, 1: 2_001, 2: 2_002, 3: 2_003})) == {0: 2_000, 1: 1_005, 2: 1_003, 3: 2_003}
    assert log.waiting() == {1: 2, 2: 1}
