"""What records tell the monitor: narrow views of events, which pass over a signature's 5 KB and take nothing apart."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any, Final, TypeAlias, TypeVar
from uuid import UUID

from aiokafka import TopicPartition
from pydantic import AwareDatetime, TypeAdapter, ValidationError
from pydantic_core import to_json

from libs.bus.reader import Raw
from libs.contracts import topics
from libs.contracts.base import UtcTime
from libs.contracts.manifest import Amount, Currency, DocumentId, Header
from libs.contracts.reasons import Reason
from libs.contracts.signing import Stage

Place: TypeAlias = "tuple[TopicPartition, int]"
"""Where a record lies: partition and offset."""

Key: TypeAlias = "tuple[UUID, str]"
"""A document of a request."""

KUALA_LUMPUR: Final = timezone(timedelta(hours=8), "Asia/Kuala_Lumpur")
"""Fixed since 1982, without summer time: the days of the daily file."""

T = TypeVar("T")


@dataclass(slots=True)
class _OfRequest:
    request_id: UUID


@dataclass(slots=True)
class _Entry:
    id: DocumentId
    amount: Amount
    currency: Currency


@dataclass(slots=True)
class _Manifest:
    header: Header
    documents: list[_Entry]


@dataclass(slots=True)
class _Signed:
    manifest: _Manifest


@dataclass(slots=True)
class _MediumResolved:
    request_id: UUID
    signed: _Signed


@dataclass(slots=True)
class _Posted:
    request_id: UUID
    document_id: DocumentId
    posted_at: AwareDatetime


@dataclass(slots=True)
class _Rejected:
    request_id: UUID
    documents: list[DocumentId] | None


@dataclass(slots=True)
class _Refusal:
    documents: list[DocumentId] | None
    stage: Stage
    reason: Reason


@dataclass(slots=True)
class _Completed:
    request_id: UUID
    header: Header | None
    posted: list[Any]
    rejected: list[_Refusal]
    completed_at: UtcTime


def _view(kind: type[T]) -> Callable[[bytes], T]:
    return TypeAdapter(kind).validate_json


_of_request, _key = _view(_OfRequest), TypeAdapter(DocumentId).validate_python
_medium_resolved, _posted = _view(_MediumResolved), _view(_Posted)
_rejected, _completed = _view(_Rejected), _view(_Completed)


@dataclass(slots=True)
class Document:
    """What is known of a document: when the broker took `signed`, `token-signed` and `rejected`; posting's own time."""

    signed_at: datetime | None = None
    token_signed_at: datetime | None = None
    posted_at: datetime | None = None
    rejected_at: datetime | None = None


@dataclass(slots=True)
class Request:
    """What is known of a request; `ended_at` is when all that had no outcome was rejected by one word.

    `documents` is the manifest's [[id, amount, currency], …], `refusals` what `completed` says: [[ids or null, stage,
    reason], …]; both as JSON. `posted` is how many it lists, `day` the day of its completion in Kuala Lumpur.
    """

    header: str | None = None
    documents: bytes | None = None
    began_at: datetime | None = None
    ended_at: datetime | None = None
    completed_at: datetime | None = None
    posted: int | None = None
    refusals: bytes | None = None
    day: date | None = None


@dataclass(slots=True)
class Batch:
    """What was read and is not written yet, with the offsets behind it. Of what comes twice the first counts."""

    documents: dict[Key, Document] = field(default_factory=dict)
    requests: dict[UUID, Request] = field(default_factory=dict)
    offsets: dict[TopicPartition, int] = field(default_factory=dict)
    unread: int = 0
    """Records that are no event of their producer: those who act on them bury them, the monitor passes over them."""
    newest: datetime | None = None
    """The broker's time of the latest record."""
    recorded_before: timedelta | None = None
    """By how much a `posted` was recorded later than the broker says that it took it, at most; usually below 0."""

    def take(self, records: Mapping[TopicPartition, Iterable[Raw]], forged: Collection[Place] = ()) -> None:
        """Take in what was polled, but for what is forged. Never raises."""
        for partition, polled in records.items():
            take, last = _TAKING[partition.topic], None
            for record in polled:
                try:
                    if (partition, record.offset) in forged:
                        self.unread += 1
                    else:
                        take(self, record)
                except (ValidationError, OverflowError):  # of a day that no calendar here has
                    self.unread += 1
                self.offsets[partition] = record.offset + 1
                last = record
            if last is not None:
                self.newest = max(self.newest or taken_at(last), taken_at(last))

    def __len__(self) -> int:
        return len(self.documents) + len(self.requests)

    def _document(self, key: Key) -> Document:
        found = self.documents.get(key)
        if found is None:
            found = self.documents[key] = Document()
        return found

    def _request(self, request_id: UUID) -> Request:
        return self.requests.setdefault(request_id, Request())

    def signed(self, record: Raw) -> None:
        """The HSM signed one document."""
        document = self._document((_of_request(record.value or b"").request_id, _key(_text(record.key))))
        document.signed_at = document.signed_at or taken_at(record)

    def token_signed(self, record: Raw) -> None:
        """A token did."""
        document = self._document((_of_request(record.value or b"").request_id, _key(_text(record.key))))
        document.token_signed_at = document.token_signed_at or taken_at(record)

    def posted(self, record: Raw) -> None:
        """One document was posted."""
        event = _posted(record.value or b"")
        document = self._document((event.request_id, event.document_id))
        document.posted_at = document.posted_at or event.posted_at
        early = event.posted_at - taken_at(record)
        self.recorded_before = early if self.recorded_before is None else max(self.recorded_before, early)

    def rejected(self, record: Raw) -> None:
        """Documents were rejected, or all that have no outcome."""
        event = _rejected(record.value or b"")
        if event.documents is None:
            request = self._request(event.request_id)
            request.ended_at = request.ended_at or taken_at(record)
        for name in event.documents or ():
            document = self._document((event.request_id, name))
            document.rejected_at = document.rejected_at or taken_at(record)

    def medium_resolved(self, record: Raw) -> None:
        """A request has come into the chain, with its manifest."""
        event = _medium_resolved(record.value or b"")
        request = self._request(event.request_id)
        request.began_at = request.began_at or taken_at(record)
        request.header = request.header or event.signed.manifest.header.model_dump_json()
        entries = [(entry.id, entry.amount, entry.currency) for entry in event.signed.manifest.documents]
        request.documents = request.documents or to_json(entries)

    def completed(self, record: Raw) -> None:
        """A request has ended."""
        event = _completed(record.value or b"")
        request = self._request(event.request_id)
        if request.completed_at is None:
            request.completed_at = event.completed_at
            request.day = event.completed_at.astimezone(KUALA_LUMPUR).date()
            request.posted = len(event.posted)
            request.refusals = to_json([(each.documents, each.stage, each.reason) for each in event.rejected])
        if request.header is None and event.header is not None:
            request.header = event.header.model_dump_json()


_TAKING: Final[Mapping[str, Callable[[Batch, Raw], None]]] = {
    topics.MEDIUM_RESOLVED.name: Batch.medium_resolved,
    topics.SIGNED.name: Batch.signed,
    topics.TOKEN_SIGNED.name: Batch.token_signed,
    topics.POSTED.name: Batch.posted,
    topics.REJECTED.name: Batch.rejected,
    topics.COMPLETED.name: Batch.completed,
}

READ: Final = tuple(_TAKING)
"""The topics that the monitor reads."""


def _text(key: bytes | None) -> str:
    return (key or b"").decode("utf-8", "replace")


def taken_at(record: Raw) -> datetime:
    """When the broker took it."""
    return datetime.fromtimestamp(record.timestamp / 1000, UTC)
