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


@given(st.permutations(range(60)), st.lists(st.integers(0, 60), max_size=6))
def test_whatever_the_order_the_root_is_the_trees(order, sizes):
    log = ToldLog()
    for position in order:
        assert log.take(position, told(position, partition=position % 4))
    for size in sorted(sizes):
        assert log.advance(size)
        assert log.root() == tree_root(LEAVES[: log.size])
        assert ToldLog(log.size, log.peaks).root() == log.root()
        assert log.oldest() == (AT + timedelta(seconds=log.size) if log.size < 60 else None)


@pytest.mark.parametrize("missing", [0, 3, 9])
def test_nothing_is_put_in_order_before_all_of_it_was_told(missing):
    log = ToldLog()
    for position in range(10):
        if position != missing:
            log.take(position, told(position))
    assert not log.advance(10)
    assert log.size == 0
    log.take(missing, told(missing))
    assert log.advance(10)
    assert log.root() == tree_root(LEAVES[:10])


def test_two_leaves_of_one_position_are_told_and_the_first_counts():
    log = ToldLog()
    assert log.take(0, told(0))
    assert log.take(0, told(0)), "a repeat is nothing new"
    assert not log.take(0, told(0, leaf=leaf_hash(b"another")))
    assert log.advance(1)
    assert log.root() == LEAVES[0]


def test_reading_begins_again_before_the_first_leaf_that_is_not_in_order():
    log = ToldLog()
    for position, partition in ((0, 0), (1, 1), (5, 1), (7, 1), (3, 2)):
        log.take(position, told(position, partition=partition))
    log.advance(2)
    assert dict(log.read_again({0: 2_000, 1: 2_001, 2: 2_002, 3: 2_003})) == {0: 2_000, 1: 1_005, 2: 1_003, 3: 2_003}
    assert log.waiting() == {1: 2, 2: 1}
