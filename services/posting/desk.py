"""The requests that one transaction decides about: a document's first outcome counts, the last one ends the request."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self, TypeVar
from uuid import UUID

from libs.bus.outcomes import Emit
from libs.bus.work import Recording
from libs.contracts import topics
from libs.contracts.manifest import Header
from libs.contracts.signing import Completed, Rejected, Verified
from libs.storage.pool import Connection
from services.posting import store
from services.posting.admission import Examined
from services.posting.store import ALL, Key, Refusal, Request

E = TypeVar("E", Verified, Rejected)


@dataclass(frozen=True, slots=True)
class Asked:
    """What an event asks about: documents of a request."""

    request_id: UUID
    header: Header | None
    documents: tuple[str, ...]


class Desk:
    """Locked requests, what is decided of them, and what is decided now. Lives for one transaction."""

    def __init__(self, connection: Connection, requests: dict[UUID, Request], decided: set[Key]) -> None:
        self._connection = connection
        self._requests = requests
        self._decided = decided

    @classmethod
    async def open(cls, connection: Connection, asked: Sequence[Asked]) -> Self:
        """Lock the requests and read what is decided of these documents: in this order, so that nothing is missed."""
        headers: dict[UUID, Header | None] = {}
        for each in asked:
            headers[each.request_id] = headers.get(each.request_id) or each.header
        requests = await store.lock_requests(connection, headers)
        documents = {(each.request_id, document) for each in asked for document in each.documents}
        decided = await store.decided(connection, documents) if documents else set()
        return cls(connection, requests, decided)

    def is_open(self, request_id: UUID, document_id: str) -> bool:
        """Whether nothing is decided of a document, neither by name nor by the end of its request."""
        return self._requests[request_id].completed_at is None and (request_id, document_id) not in self._decided

    async def post(self, documents: Sequence[tuple[Verified, Examined]], posted_at: datetime) -> set[UUID]:
        """Write the records; returns the ids of those written, the others are posted already by another request."""
        won = await store.insert_records(self._connection, documents, posted_at)
        for event, examined in documents:
            if examined.record_id in won:
                self._requests[event.request_id].posted += 1
        return won

    async def refuse(self, refusals: Iterable[Refusal]) -> None:
        """Write refusals of open documents; ALL refuses, and ends, what is left of a request. In order: first wins."""
        open_ones = [refusal for refusal in refusals if self.is_open(refusal.request_id, refusal.document_id)]
        for request_id, document_id in await store.refuse(self._connection, open_ones):
            request = self._requests[request_id]
            if document_id != ALL:
                request.refused += 1
            elif request.documents is None:
                request.documents = request.posted + request.refused
            else:
                request.refused = request.documents - request.posted

    async def close(self, now: datetime) -> dict[UUID, Completed]:
        """Write the counts; returns the requests that end with this transaction."""
        ended = [request for request in self._requests.values() if request.accounted and request.completed_at is None]
        for request in ended:
            request.completed_at = now
        await store.write_counts(self._connection, self._requests.values())
        return {request.request_id: await self._completed(request, now) for request in ended}

    async def _completed(self, request: Request, now: datetime) -> Completed:
        return Completed(
            request_id=request.request_id,
            header=request.header,
            posted=await store.posted_documents(self._connection, request.request_id),
            rejected=await store.refused_documents(self._connection, request.request_id),
            completed_at=now,
        )


def emit_completed(recording: Recording[E], completed: Mapping[UUID, Completed]) -> None:
    """Record `completed` of the requests that ended, each following from a delivery of its request."""
    causes = {delivery.event.request_id: delivery for delivery in recording.deliveries}
    for request_id, event in completed.items():
        recording.emit(causes[request_id], (Emit(topics.COMPLETED, event),))
