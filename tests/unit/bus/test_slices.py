"""Batches are cut into runs of one topic of at most 25, in the order read."""

from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from libs.bus.delivery import decode
from libs.bus.slices import SLICE, slices
from tests.unit.bus.records import OUTSIDE, TOPIC, encoded, raw


@given(st.lists(st.booleans(), max_size=120))
def test_slices_are_the_batch_in_order_in_runs_of_one_topic(ours: list[bool]) -> None:
    topics = [TOPIC if own else OUTSIDE for own in ours]
    arrived = [decode(topic, raw(encoded(topic), offset=offset)) for offset, topic in enumerate(topics)]
    cut = list(slices(arrived))
    assert [each for part in cut for each in part] == arrived
    assert all(1 <= len(part) <= SLICE for part in cut)
    assert all(len({each.topic for each in part}) == 1 for part in cut)
    runs = [len(list(run)) for _, run in groupby(topics)]
    assert len(cut) == sum(-(-run // SLICE) for run in runs)


def test_the_slice_is_the_designs() -> None:
    assert SLICE == 25
