"""The answer to cancels, by whichever service ends the request."""

from collections.abc import Sequence
from uuid import UUID

from libs.bus.outcomes import Emit
from libs.contracts.cancelling import CancelAnswer, CancelAnswered
from libs.contracts.topics import Topic


def answers(topic: Topic, request_id: UUID, asked: Sequence[UUID], answer: CancelAnswer) -> tuple[Emit, ...]:
    """The same answer to each ask."""
    return tuple(
        Emit(topic, CancelAnswered(request_id=request_id, cancellation=cancellation, answer=answer))
        for cancellation in asked
    )
