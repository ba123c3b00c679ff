"""What becomes of a cancel where the request ends: what is done stays done, everything else is rejected `cancelled`."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from libs.bus.delivery import Delivery
from libs.bus.outcomes import Done, Emit, Outcome, Poison, Rejected
from libs.bus.work import Recording, Work
from libs.contracts.cancelling import CancelAnswer, CancelAnswered, CancelRequested
from libs.contracts.manifest import Header
from libs.contracts.reasons import Reason
from libs.contracts.topics import Topic
from libs.storage import cancels
from libs.storage.pool import Connection

NOT_OF_THE_REQUEST = "the cancel is not of the request's caller and user"


class Cancellable(Protocol):
    """A request as the service that ends it keeps it."""

    @property
    def request_id(self) -> UUID: ...

    @property
    def header(self) -> Header: ...

    @property
    def end_reason(self) -> Reason | None: ...


R = TypeVar("R", bound=Cancellable)


@dataclass(frozen=True)
class Cancelling(Generic[R]):
    """The handler of `cancel-requested` where requests end.

    `answered` is the topic of the answers. `lock` takes a request's row until the transaction ends. `stop` ends what is
    not done of an open request whose row is locked; Done when all of it is.
    """

    answered: Topic
    lock: Callable[[Connection, UUID], Awaitable[R | None]]
    stop: Callable[[Connection, R], Awaitable[Rejected | Done]]

    async def requested(self, work: Work[CancelRequested]) -> None:
        """Cancel what is here; keep what comes before its request, or is for another service to answer."""
        await work.settle_each(self._requested)

    async def kept(self, connection: Connection, request: R) -> Rejected | Done:
        """Apply the cancels that came before this request, whose row is locked; Done when none did."""
        header = request.header
        asked = await cancels.take(connection, request.request_id, caller=header.caller, user=header.user)
        return await self._cancel(connection, request, asked) if asked else Done()

    async def _cancel(self, connection: Connection, request: R, asked: Sequence[UUID]) -> Rejected | Done:
        """End it as far as it has not ended or been done, and answer all who asked."""
        if request.end_reason is not None:
            return late(self.answered, request.request_id, asked, request.end_reason)
        stopped = await self.stop(connection, request)
        if isinstance(stopped, Done):
            return late(self.answered, request.request_id, asked, None)
        return Rejected(stopped.event, answers(self.answered, request.request_id, asked, "accepted"))

    async def _requested(self, recording: Recording[CancelRequested], delivery: Delivery[CancelRequested]) -> Outcome:
        event, connection = delivery.event, recording.connection
        await cancels.lock(connection, event.request_id)
        request = await self.lock(connection, event.request_id)
        if request is None:
            await cancels.keep(connection, event)
            return Done()
        if (request.header.caller, request.header.user) != (event.caller, event.user):
            return Poison(NOT_OF_THE_REQUEST)
        return await self._cancel(connection, request, [event.cancellation])


def late(topic: Topic, request_id: UUID, asked: Sequence[UUID], end_reason: Reason | None) -> Done:
    """The answer when nothing is left to end: what was cancelled before is cancelled."""
    return Done(answers(topic, request_id, asked, "accepted" if end_reason is Reason.CANCELLED else "too-late"))


def answers(topic: Topic, request_id: UUID, asked: Sequence[UUID], answer: CancelAnswer) -> tuple[Emit, ...]:
    """The same answer to each ask."""
    return tuple(
        Emit(topic, CancelAnswered(request_id=request_id, cancellation=cancellation, answer=answer))
        for cancellation in asked
    )
