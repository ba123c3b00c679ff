"""The rule of the timeline: what a slice of events adds to each request."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from libs.contracts.base import Part, UtcTime
from libs.contracts.cancelling import CancelAnswered
from libs.contracts.manifest import DocumentId, Header
from libs.contracts.progress import Progressed, ReachedStage
from libs.contracts.resending import ResendAnswered
from libs.contracts.signing import (
    AuthorisationFailed,
    Channel,
    Completed,
    Medium,
    MediumResolved,
    OtpDispatched,
    Rejected,
)
from libs.contracts.waiting import Waiting
from services.gateway.schemas import Cancellation, Dispatch, Failure, NotPosted, Rejection, Resend, Result, Wait

Kind = Literal[
    "requested",
    "medium-resolved",
    "otp-dispatched",
    "authorisation-submitted",
    "authorisation-failed",
    "token-signed",
    ReachedStage,
    "rejected",
    "cancel-requested",
    "cancel-answered",
    "not-me",
    "resend-requested",
    "resend-answered",
    "waiting",
    "completed",
]

MAX_HEADER_VALUE: Final = 200
"""Characters; a header that nobody has validated yet is kept no longer than this, value by value."""


class Documents(Part):
    """Data of a row for a slice of documents."""

    documents: tuple[DocumentId, ...]


class Resolved(Part):
    """Data of `medium-resolved`."""

    medium: Medium
    channels: tuple[Channel, ...]


class Attempt(Part):
    """Data of `authorisation-submitted`."""

    attempt: str


class Nothing(Part):
    """Data of a row that says all by its kind."""


class Moment(Part):
    """`data` of one server-sent event, of its kind. `at` is the broker's time of the last event in it.

    `reached` counts the documents of the request that had reached this stage then; None where the kind is no stage.
    """

    at: UtcTime
    reached: int | None
    data: (
        Documents
        | Resolved
        | Dispatch
        | Attempt
        | Failure
        | Rejection
        | Result
        | Resend
        | Wait
        | Cancellation
        | Nothing
    )


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the timeline. `at` is the broker's time of the last event in it."""

    kind: Kind
    at: datetime
    data: Part


@dataclass(slots=True)
class Advance:
    """What a slice adds to one request: rows, documents that reached a stage, and what it tells of the request.

    A `vouched` header was checked by a service of ours; the other has its caller's signature only.
    """

    request_id: UUID
    entries: list[Entry] = field(default_factory=list)
    header: Mapping[str, str] | None = None
    vouched: bool = False
    medium: Medium | None = None
    reached: Counter[ReachedStage] = field(default_factory=Counter)


def requested(request_id: UUID, header: Mapping[str, str], at: datetime) -> Advance:
    """`requested`, whose caller's signature holds; nobody has validated the header."""
    known = {
        name: text for name, text in header.items() if name in Header.model_fields and len(text) <= MAX_HEADER_VALUE
    }
    return Advance(request_id, [Entry("requested", at, Nothing())], header=known)


def medium_resolved(event: MediumResolved, at: datetime) -> Advance:
    """`medium-resolved`."""
    entry = Entry("medium-resolved", at, Resolved(medium=event.medium, channels=event.channels))
    header = event.signed.manifest.header.model_dump()
    return Advance(event.request_id, [entry], header=header, vouched=True, medium=event.medium)


def otp_dispatched(event: OtpDispatched, at: datetime) -> Advance:
    """`otp-dispatched`, without the challenge."""
    return Advance(event.request_id, [Entry("otp-dispatched", at, Dispatch.model_validate(event.model_dump()))])


def authorisation_submitted(request_id: UUID, attempt: str, at: datetime) -> Advance:
    """What this service published itself."""
    return Advance(request_id, [Entry("authorisation-submitted", at, Attempt(attempt=attempt))])


def authorisation_failed(event: AuthorisationFailed, at: datetime) -> Advance:
    """`authorisation-failed`."""
    return Advance(event.request_id, [Entry("authorisation-failed", at, Failure.model_validate(event.model_dump()))])


def token_signed(request_id: UUID, documents: tuple[DocumentId, ...], at: datetime) -> Advance:
    """What this service published itself: signatures of these documents, in one call."""
    return Advance(request_id, [Entry("token-signed", at, Documents(documents=documents))])


def cancel_requested(request_id: UUID, cancellation: str, at: datetime) -> Advance:
    """What this service published itself."""
    asked = Cancellation(cancellation=UUID(cancellation), answer=None)
    return Advance(request_id, [Entry("cancel-requested", at, asked)])


def cancel_answered(event: CancelAnswered, at: datetime) -> Advance:
    """`cancel-answered`."""
    return Advance(event.request_id, [Entry("cancel-answered", at, Cancellation.model_validate(event.model_dump()))])


def not_me(request_id: UUID, _: str, at: datetime) -> Advance:
    """What this service published itself, for the officer's device."""
    return Advance(request_id, [Entry("not-me", at, Nothing())])


def resend_requested(request_id: UUID, resend: str, at: datetime, *, channel: Channel | None) -> Advance:
    """What this service published itself."""
    return Advance(request_id, [Entry("resend-requested", at, Resend(resend=UUID(resend), channel=channel))])


def resend_answered(event: ResendAnswered, at: datetime) -> Advance:
    """`resend-answered`."""
    return Advance(event.request_id, [Entry("resend-answered", at, Resend.model_validate(event.model_dump()))])


def waiting(events: Iterable[tuple[Waiting, datetime]]) -> list[Advance]:
    """`waiting`: one row per request, stage and reason in the slice; the first look of them all is next."""
    causes: dict[tuple[object, ...], list[tuple[Waiting, datetime]]] = {}
    for event, at in events:
        causes.setdefault((event.request_id, event.stage, event.why, event.documents is None), []).append((event, at))
    return [_wait(same) for same in causes.values()]


def progressed(events: Iterable[tuple[Progressed, datetime]]) -> list[Advance]:
    """`progressed`: one row per request and stage, however many of its documents are in the slice."""
    stages: dict[tuple[UUID, ReachedStage], tuple[list[DocumentId], datetime]] = {}
    for event, at in events:
        ids, last = stages.setdefault((event.request_id, event.stage), ([], at))
        ids.extend(event.documents)
        stages[event.request_id, event.stage] = ids, max(last, at)
    return [
        Advance(request_id, [Entry(stage, last, Documents(documents=tuple(ids)))], reached=Counter({stage: len(ids)}))
        for (request_id, stage), (ids, last) in stages.items()
    ]


def rejected(events: Iterable[tuple[Rejected, datetime]]) -> list[Advance]:
    """One row per request and cause: a stage may refuse document by document."""
    requests: dict[UUID, list[tuple[Rejected, datetime]]] = {}
    for event, at in events:
        requests.setdefault(event.request_id, []).append((event, at))
    advances = []
    for request_id, arrived in requests.items():
        last = max(at for _, at in arrived)
        causes = by_cause(Rejection.model_validate(event.model_dump(exclude={"header"})) for event, _ in arrived)
        header = next((event.header.model_dump() for event, _ in arrived if event.header), None)
        entries = [Entry("rejected", last, rejection) for rejection in causes]
        advances.append(Advance(request_id, entries, header=header, vouched=header is not None))
    return advances


def by_cause(rejections: Iterable[Rejection]) -> tuple[Rejection, ...]:
    """One rejection per cause, in an order of their own; each document stands once in it."""
    causes: dict[tuple[object, ...], list[Rejection]] = {}
    for one in rejections:
        cause = (one.stage, one.reason, one.detail, one.safe_to_retry, one.documents is None)
        causes.setdefault(cause, []).append(one)
    return tuple(_together(same) for _, same in sorted(causes.items()))


def completed(event: Completed, at: datetime) -> Advance:
    """`completed`: from now on it is the truth about every document."""
    rejected = tuple(NotPosted.model_validate(one.model_dump()) for one in event.rejected)
    result = Result(posted=event.posted, rejected=rejected, completed_at=event.completed_at)
    header = None if event.header is None else event.header.model_dump()
    return Advance(event.request_id, [Entry("completed", at, result)], header=header, vouched=header is not None)


def merged(advances: Iterable[Advance]) -> list[Advance]:
    """One per request; a statement can move a row only once."""
    requests: dict[UUID, Advance] = {}
    for one in advances:
        whole = requests.setdefault(one.request_id, Advance(one.request_id))
        whole.entries += one.entries
        whole.reached += one.reached
        whole.medium = whole.medium or one.medium
        if one.header is not None and (whole.header is None or one.vouched > whole.vouched):
            whole.header, whole.vouched = one.header, one.vouched
    return list(requests.values())


def _wait(same: Sequence[tuple[Waiting, datetime]]) -> Advance:
    first = same[0][0]
    names = sorted({name for event, _ in same for name in event.documents or ()})
    data = Wait(
        documents=None if first.documents is None else tuple(names),
        stage=first.stage,
        why=first.why,
        next_look=min(event.next_look for event, _ in same),
    )
    return Advance(first.request_id, [Entry("waiting", max(at for _, at in same), data)])


def _together(same: Sequence[Rejection]) -> Rejection:
    if same[0].documents is None:
        return same[0]
    names = sorted({name for one in same for name in one.documents or ()})
    return same[0].model_copy(update={"documents": tuple(names)})
