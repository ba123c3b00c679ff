"""What waits for what: a stage says once that it has parked documents, so that the officer does not wonder."""

from uuid import UUID

from libs.contracts.base import Event, UtcTime
from libs.contracts.manifest import DocumentId
from libs.contracts.signing import Stage


class Waiting(Event):
    """These documents, or all of the request when `documents` is null, are parked at `stage` because of `why`.

    Said when they are parked first, and not at every look after; nothing is lost, and nothing needs to be done.
    `next_look` is when the stage looks again.
    """

    request_id: UUID
    documents: tuple[DocumentId, ...] | None
    stage: Stage
    why: str
    next_look: UtcTime

    @property
    def key(self) -> str:
        return str(self.request_id)

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.request_id, self.stage, self.why, *(self.documents or ("*",)))
