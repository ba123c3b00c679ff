"""How far a request is: what a timeline reads in place of each document's own event."""

from typing import Literal
from uuid import UUID

from libs.contracts.base import Event
from libs.contracts.manifest import DocumentId

ReachedStage = Literal["signed", "verified", "posted"]


class Progressed(Event):
    """These documents of one request reached a stage together.

    Recorded in the transaction in which they did, beside the event of each; a document stands in one of each stage.
    """

    request_id: UUID
    stage: ReachedStage
    documents: tuple[DocumentId, ...]

    @property
    def key(self) -> str:
        return str(self.request_id)

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.request_id, self.stage, self.documents[0])
