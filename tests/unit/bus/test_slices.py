"""Batches are cut into runs of one topic of a bounded length, in the order read."""

from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from libs.bus.delivery import decode
from libs.bus.slices import DOCUMENT_SLICE, SLICE, slices
from tests.unit.bus.records import OUTSIDE, TOPIC, encoded, raw


@given(st.lists(st.booleans(), max_size=250), st.sampled_from([SLICE, DOCUMENT_SLICE]))
def test_slices_are_the_batch_in_order_in_runs_of_one_topic(ours: list[bool], size: int) -> None:
    topics = [TOPIC if own else OUTSIDE for own in ours]
    arrived = [decode(topic, raw(encoded(topic), offset=offset)) for offset, topic in enumerate(topics)]
    cut = list(slices(arrived, size))
    assert [each for part in cut for each in part] == arrived
    assert all(1 <= len(part) <= size for part in cut)
    assert all(len({each.topic for each in part}) == 1 for part in cut)
    runs = [len(list(run)) for _, run in groupby(topics)]
    assert len(cut) == sum(-(-run // size) for run in runs)


def test_the_slice_is_the_designs() -> None:
    assert SLICE == 25
