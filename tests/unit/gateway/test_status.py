"""The status of a request follows from what arrived, never from the order, nor from how it was cut into slices."""

import itertools
from collections.abc import Sequence
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.base import Event
from libs.contracts.reasons import Reason
from services.gateway import timeline
from services.gateway.schemas import Counts, SigningStatus
from services.gateway.status import status_of
from services.gateway.timeline import Advance, merged
from tests.unit.gateway.histories import (
    BEGIN,
    Arrived,
    cancel_answered,
    completed,
    dispatched,
    document,
    failed,
    header,
    history,
    posted,
    read,
    record_id,
    rejected,
    resolved,
    signed,
    stamped,
    told,
    verified,
)

HEAD = header(4)
WHOLE = stamped(history(HEAD, posts=3))


def after(*events: Event) -> SigningStatus:
    """The status when these were read one by one."""
    return status_of(told([advance for one in stamped(events) for advance in read([one])]))


def cut(arrived: Sequence[Arrived], ends: Sequence[int]) -> list[Sequence[Arrived]]:
    bounds = [0, *sorted(ends), len(arrived)]
    return [arrived[begin:end] for begin, end in itertools.pairwise(bounds)]


@given(st.permutations(WHOLE), st.lists(st.integers(0, len(WHOLE)), max_size=6))
def test_no_order_and_no_slicing_of_the_events_changes_the_status(order: list[Arrived], ends: list[int]) -> None:
    expected = status_of(told(read(WHOLE)))
    found = status_of(told([advance for part in cut(order, ends) for advance in read(part)]))
    assert found.model_copy(update={"seq": 0}) == expected.model_copy(update={"seq": 0})


@given(st.permutations(WHOLE[:-1]))
def test_no_order_changes_the_status_before_the_end_either(order: list[Arrived]) -> None:
    found = status_of(told([advance for one in order for advance in read([one])]))
    assert (found.state, found.counts) == ("ending", Counts(signed=4, verified=3, posted=3, rejected=1))


def test_the_end_says_everything_document_by_document() -> None:
    status = status_of(told(read(WHOLE)))
    assert (status.state, status.documents, status.counts) == (
        "completed",
        4,
        Counts(signed=4, verified=3, posted=3, rejected=1),
    )
    assert status.completed is not None
    assert [one.record_id for one in status.completed.posted] == [record_id(n) for n in range(3)]
    assert status.completed.rejected[0].documents == (document(3).id,)
    assert (status.request, status.system, status.action, status.medium) == ("R1", "iGFMAS", "sah", "roaming-otp")
    assert [one.number for one in status.dispatches] == [1, 2]
    assert [(one.attempt, one.attempts_left) for one in status.failures] == [("a1", 4), ("a2", 3)]
    assert [one.documents for one in status.rejections] == [(document(3).id,)]


STATES: dict[str, tuple[list[Event], str]] = {
    "a code overtook the medium": ([dispatched(HEAD)], "requested"),
    "the medium is known": ([resolved(HEAD)], "awaiting-otp"),
    "a code was delivered": ([resolved(HEAD), dispatched(HEAD)], "awaiting-authorisation"),
    "a wrong code ends nothing": ([resolved(HEAD), dispatched(HEAD), failed(HEAD, "a", 4)], "awaiting-authorisation"),
    "a document is signed": ([resolved(HEAD), dispatched(HEAD), signed(HEAD, 0)], "signing"),
    "verified overtook signed": ([resolved(HEAD), verified(HEAD, 0)], "signing"),
    "posted overtook all": ([resolved(HEAD), posted(HEAD, 0)], "signing"),
    "one is refused by name": ([resolved(HEAD), rejected(HEAD, [1], Reason.SIGNATURE_INVALID)], "signing"),
    "all are refused by name": ([resolved(HEAD), rejected(HEAD, range(4), Reason.SIGNATURE_INVALID)], "ending"),
    "all are posted or refused": (
        [resolved(HEAD), *(posted(HEAD, n) for n in range(3)), rejected(HEAD, [3], Reason.ALREADY_POSTED)],
        "ending",
    ),
    "the rest is refused": ([resolved(HEAD), posted(HEAD, 0), rejected(HEAD, None, Reason.EXPIRED)], "ending"),
    "it ended": ([completed(HEAD, range(4))], "completed"),
}


@pytest.mark.parametrize("what", STATES)
def test_the_state_is_the_furthest_that_anything_implies(what: str) -> None:
    events, state = STATES[what]
    assert after(*events).state == state


@pytest.mark.parametrize("overtaken", [False, True])
def test_a_cancel_is_shown_once_with_its_answer_whichever_came_first(overtaken: bool) -> None:
    first, second = (timeline.cancel_requested(HEAD.request_id, str(UUID(int=n)), BEGIN) for n in (1, 2))
    answer = read(stamped([resolved(HEAD), cancel_answered(HEAD, "accepted")]))
    shown = status_of(told([*answer, first, second] if overtaken else [first, second, *answer])).cancellations
    assert [(one.cancellation.int, one.answer) for one in shown] == [(1, "accepted"), (2, None)]


def test_a_document_that_is_refused_twice_counts_once() -> None:
    status = after(
        resolved(HEAD),
        rejected(HEAD, [0, 1], Reason.SIGNATURE_INVALID),
        rejected(HEAD, [1, 2], Reason.POISON, stage="posting"),
    )
    assert status.counts.rejected == 3
    assert [one.documents for one in status.rejections] == [
        (document(0).id, document(1).id),
        (document(1).id, document(2).id),
    ]


def test_the_end_outweighs_late_and_missing_news_of_single_documents() -> None:
    late = after(completed(HEAD, range(3), [3]), rejected(HEAD, [0], Reason.POISON))
    assert late.counts == Counts(signed=3, verified=3, posted=3, rejected=1)
    assert after(completed(HEAD, (), None)).counts.rejected == 4


def test_a_header_that_nobody_validated_is_shown_as_far_as_it_goes_and_gives_way_to_one_of_ours() -> None:
    event = resolved(HEAD)
    careless = {**HEAD.model_dump(), "user": "800101145567", "count": "٤", "office": "x" * 201, "more": "y"}
    unchecked = _requested(careless)
    for arrived in ([unchecked, *read(stamped([event]))], [*read(stamped([event])), unchecked]):
        assert told(arrived).header == HEAD.model_dump()
    (alone,) = merged([unchecked])
    assert alone.header is not None
    assert set(alone.header) == {"request", "caller", "system", "user", "action", "count"}
    assert status_of(told([_requested(careless)])).documents is None


def _requested(head: dict[str, str]) -> Advance:
    return timeline.requested(HEAD.request_id, head, BEGIN)


def test_a_slice_of_documents_is_one_row_per_request_with_the_ids_in_it() -> None:
    other = header(2, "R2")
    events = stamped([signed(HEAD, 0), signed(other, 1), signed(HEAD, 2)])
    rows = {one.request_id: one for one in read(events)}
    assert {request: len(one.entries) for request, one in rows.items()} == {HEAD.request_id: 1, other.request_id: 1}
    (row,) = rows[HEAD.request_id].entries
    assert row.data.model_dump() == {"documents": (document(0).id, document(2).id)}
    assert (row.kind, row.at) == ("signed", events[2][1])
    assert rows[HEAD.request_id].reached["signed"] == 2


def test_refusals_of_one_cause_are_one_row_and_other_causes_others() -> None:
    events = [
        *(rejected(HEAD, [number], Reason.CERTIFICATE_REVOKED) for number in (2, 0)),
        rejected(HEAD, [1], Reason.SIGNATURE_INVALID),
        rejected(HEAD, None, Reason.EXPIRED, header=None),
    ]
    (advance,) = read(stamped(events))
    assert [entry.data.model_dump()["documents"] for entry in advance.entries] == [
        (document(0).id, document(2).id),
        None,
        (document(1).id,),
    ]
    assert advance.vouched
