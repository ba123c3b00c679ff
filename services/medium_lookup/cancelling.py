"""The rule of a cancel here: what ended is answered; what was handed on is for the next stage to answer."""

from dataclasses import dataclass

from libs.bus.cancelling import NOT_OF_THE_REQUEST, late
from libs.bus.outcomes import Done, Poison
from libs.contracts import topics
from libs.contracts.cancelling import CancelRequested
from libs.contracts.reasons import Reason


@dataclass(frozen=True)
class Judged:
    """A request that was judged: whose it is, as far as that can be said, and why it ended; None: it was handed on."""

    caller: str | None
    user: str | None
    end_reason: Reason | None


def judge(event: CancelRequested, judged: Judged) -> Done | Poison:
    """What becomes of a cancel whose request was judged before it came."""
    if judged.end_reason is None:
        return Done()
    if (judged.caller, judged.user) != (event.caller, event.user):
        return Poison(NOT_OF_THE_REQUEST)
    return late(topics.CANCEL_ANSWERED, event.request_id, [event.cancellation], judged.end_reason)
