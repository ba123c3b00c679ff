"""The events of a cancel: a request is taken back, and whoever ends it says what came of that (design section 2)."""

from typing import Literal
from uuid import UUID

from libs.contracts.base import Event

CancelAnswer = Literal["accepted", "too-late"]


class CancelRequested(Event):
    """The officer takes the request back: what is not signed yet shall never be. `cancellation` names this one ask.

    Believed only as far as `caller` and `user` are those of the request; of anybody else's it ends nothing.
    """

    request_id: UUID
    cancellation: UUID
    caller: str
    user: str

    @property
    def key(self) -> str:
        return str(self.request_id)

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.request_id, self.cancellation)


class CancelAnswered(Event):
    """What came of one ask, said once, by the service that owns the request's end.

    `accepted`: the request ended by cancelling; what was signed before stays signed and is posted, the rest is
    rejected. `too-late`: it had ended otherwise, or all of it was signed; nothing changed.
    """

    request_id: UUID
    cancellation: UUID
    answer: CancelAnswer

    @property
    def key(self) -> str:
        return str(self.request_id)

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.request_id, self.cancellation)
