"""The rule of a cancel at medium_lookup: only what ended here is answered here, and only to its own."""

from uuid import UUID

import pytest

from libs.bus.outcomes import Done, Poison
from libs.contracts.cancelling import CancelAnswered, CancelRequested
from libs.contracts.reasons import Reason
from services.medium_lookup.cancelling import Judged, judge

CANCEL = CancelRequested(request_id=UUID(int=1), cancellation=UUID(int=2), caller="igfmas", user="800101145566")


@pytest.mark.parametrize(
    ("reason", "answer"),
    [(Reason.CANCELLED, "accepted"), (Reason.USER_UNKNOWN, "too-late"), (Reason.MANIFEST_INVALID, "too-late")],
)
def test_what_ended_here_is_answered_by_how_it_ended(reason: Reason, answer: str) -> None:
    outcome = judge(CANCEL, Judged("igfmas", "800101145566", reason))
    assert isinstance(outcome, Done)
    ((event,),) = [[emit.event for emit in outcome.emits]]
    assert isinstance(event, CancelAnswered)
    assert (event.request_id, event.cancellation, event.answer) == (CANCEL.request_id, CANCEL.cancellation, answer)


def test_what_was_handed_on_is_not_answered_here() -> None:
    assert judge(CANCEL, Judged("igfmas", "800101145566", None)) == Done()
    assert judge(CANCEL, Judged("igfmas", "800101145567", None)) == Done()


@pytest.mark.parametrize("whose", [("igfmas", "800101145567"), ("espkws", "800101145566"), (None, None)])
def test_nobody_elses_cancel_is_answered(whose: tuple[str | None, str | None]) -> None:
    assert isinstance(judge(CANCEL, Judged(*whose, Reason.USER_UNKNOWN)), Poison)
