"""What was seen of our requests on Kafka: the only ground on which anything is called posted, refused or lost."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from libs.contracts import topics
from libs.contracts.base import Event
from libs.contracts.manifest import Document
from libs.contracts.signing import (
    AuthorisationFailed,
    Completed,
    OtpDispatched,
    Posted,
    Rejected,
    Signed,
    Verified,
)
from libs.contracts.topics import Topic

Millis = int
"""The broker's append time (LogAppendTime), milliseconds since 1970."""

STAGES: Final = ("requested", "medium_lookup", "otp_dispatch", "gateway", "hsm_signer", "crl_verifier", "posting")
"""Service by service; `requested` is iGFMAS's own."""


@dataclass
class DocumentSeen:
    """One document of one request: each of the sets has one member when all is well."""

    entry: Document
    signatures: set[bytes] = field(default_factory=set)
    records: set[tuple[UUID, int]] = field(default_factory=set)
    """(record id, position in the signing log)."""
    refusals: list[Rejected] = field(default_factory=list)
    signed_at: Millis | None = None
    verified: Verified | None = None
    verified_at: Millis | None = None
    posted: Posted | None = None
    posted_at: Millis | None = None


@dataclass
class RequestSeen:
    """One request of ours."""

    request_id: UUID
    action: str
    documents: dict[str, DocumentSeen]
    requested_at: Millis | None = None
    resolved_at: Millis | None = None
    dispatched: dict[int, tuple[Millis, OtpDispatched]] = field(default_factory=dict)
    submitted_at: list[Millis] = field(default_factory=list)
    failures: dict[str, AuthorisationFailed] = field(default_factory=dict)
    rejections: list[Rejected] = field(default_factory=list)
    completed: dict[bytes, Completed] = field(default_factory=dict)
    """By content: more than one is a contradiction."""
    completed_at: Millis | None = None

    @property
    def ended(self) -> Completed | None:
        """The end of the request, once it was seen."""
        return next(iter(self.completed.values()), None)

    @property
    def settled(self) -> bool:
        """Whether the end was seen, with `verified` and `posted` of all that it lists: each has a topic of its own."""
        if self.ended is None:
            return False
        listed = (self.documents.get(item.document_id) for item in self.ended.posted)
        return all(one is None or (one.verified is not None and one.posted is not None) for one in listed)


class Observation:
    """Collects the records of our own requests; what others do on the same stack is not looked at. Not thread-safe."""

    def __init__(self) -> None:
        self.requests: dict[UUID, RequestSeen] = {}
        self.dead: list[str] = []
        """Topic of each dead letter seen."""
        self.strangers: list[str] = []
        """What was said of our requests about documents that they do not have."""

    def expect(self, request_id: UUID, action: str, entries: Iterable[Document]) -> RequestSeen:
        """Name a request of ours, before it is published; published again, it keeps what was seen of it meanwhile."""
        seen = self.requests.get(request_id)
        if seen is None:
            seen = RequestSeen(request_id, action, {entry.id: DocumentSeen(entry) for entry in entries})
            self.requests[request_id] = seen
        return seen

    def see(self, topic: Topic, request_id: UUID, event: Event | None, at: Millis) -> None:
        """Take one record of a request; `event` is None on topics whose value tells nothing more than its key.

        Seeing the same record again changes nothing; of two times the earlier one counts.
        """
        seen = self.requests.get(request_id)
        if seen is None:
            return
        match event:
            case Signed() | Verified():
                self._see_document(seen, event.entry.id, event, at)
            case Posted():
                self._see_document(seen, event.document_id, event, at)
            case Rejected():
                seen.rejections.append(event)
                for name in event.documents or seen.documents:
                    self._see_document(seen, name, event, at)
            case _:
                _see_request(seen, topic, event, at)

    def _see_document(self, seen: RequestSeen, name: str, event: Event, at: Millis) -> None:
        document = seen.documents.get(name)
        if document is None:
            self.strangers.append(f"{type(event).__name__} of {name}, which {seen.request_id} does not have")
            return
        match event:
            case Verified():  # before Signed, of which it is one
                document.verified, document.verified_at = event, _earlier(document.verified_at, at)
            case Signed():
                document.signatures.add(hashlib.sha256(event.cms).digest())
                document.signed_at = _earlier(document.signed_at, at)
            case Posted():
                document.records.add((event.record_id, event.log_position))
                document.posted, document.posted_at = event, _earlier(document.posted_at, at)
            case Rejected():
                document.refusals.append(event)
            case _:
                raise TypeError(f"{type(event).__name__} is not of a document")

    def all_documents(self) -> list[tuple[RequestSeen, DocumentSeen]]:
        """Every document of every request, as it was asked for."""
        return [(request, document) for request in self.requests.values() for document in request.documents.values()]

    def counts(self) -> dict[str, int]:
        """Documents that reached each stage, and `refused`: for the display."""
        per_stage = dict.fromkeys((*STAGES, "refused"), 0)
        for request, document in self.all_documents():
            reached = (
                request.requested_at,
                request.resolved_at,
                request.dispatched or None,
                request.submitted_at or None,
                document.signed_at,
                document.verified_at,
                document.posted_at,
                document.refusals or None,
            )
            for stage, at in zip(per_stage, reached, strict=True):
                per_stage[stage] += at is not None
        return per_stage


def _see_request(seen: RequestSeen, topic: Topic, event: Event | None, at: Millis) -> None:
    match event:
        case None if topic is topics.MEDIUM_RESOLVED:
            seen.resolved_at = _earlier(seen.resolved_at, at)
        case None if topic is topics.REQUESTED:
            seen.requested_at = _earlier(seen.requested_at, at)
        case None:
            seen.submitted_at.append(at)
        case OtpDispatched():
            seen.dispatched.setdefault(event.number, (at, event))
        case AuthorisationFailed():
            seen.failures.setdefault(event.attempt, event)
        case Completed():
            seen.completed_at = _earlier(seen.completed_at, at)
            seen.completed.setdefault(hashlib.sha256(event.model_dump_json().encode()).digest(), event)
        case _:
            raise TypeError(f"{type(event).__name__} is not of a request")


def _earlier(known: Millis | None, at: Millis) -> Millis:
    return at if known is None else min(known, at)
