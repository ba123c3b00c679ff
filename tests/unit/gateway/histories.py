"""Histories of requests as the chain tells them, for the timeline's and the status's tests."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4, uuid5

from libs.contracts.base import Event
from libs.contracts.cancelling import CancelAnswer, CancelAnswered
from libs.contracts.manifest import Document, Header, Manifest, SignedManifest
from libs.contracts.progress import Progressed, ReachedStage
from libs.contracts.reasons import Reason
from libs.contracts.signing import (
    AuthorisationFailed,
    Completed,
    MediumResolved,
    OtpDispatched,
    PostedDocument,
    Rejected,
    RejectedDocuments,
    Requested,
)
from services.gateway import timeline
from services.gateway.status import Told
from services.gateway.timeline import Advance, merged

BEGIN = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
USER = "800101145566"

Arrived = tuple[Event, datetime]


def header(count: int, request: str = "R1") -> Header:
    return Header(
        request=request, caller="igfmas", system="iGFMAS", user=USER, office="PTJ", action="sah", count=str(count)
    )


def new_header(count: int) -> Header:
    """Of a request that nobody else has."""
    return header(count, uuid4().hex)


def document(number: int) -> Document:
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    return Document(id=f"d{number:05d}", kind="b", title="B", payee="P", amount="1.00", currency="MYR", sha256=digest)


def resolved(head: Header) -> MediumResolved:
    manifest = Manifest(header=head, documents=tuple(document(number) for number in range(head.documents)))
    return MediumResolved(
        request_id=head.request_id,
        signed=SignedManifest(manifest=manifest, caller_key="ab" * 32, signature=b"signature"),
        requested_at=BEGIN,
        medium="roaming-otp",
        credential_id=UUID(int=1),
        channels=("e-mail",),
    )


def dispatched(head: Header, number: int = 1) -> OtpDispatched:
    return OtpDispatched(
        request_id=head.request_id,
        user=head.user,
        number=number,
        channel="e-mail",
        destination="p***@anm.example",
        reference_code=f"K7{number}",
        delivered_at=BEGIN,
        expires_at=BEGIN + timedelta(minutes=10),
        sealing_key_id="cd" * 32,
        challenge=b"challenge %d" % number,
    )


def failed(head: Header, attempt: str, left: int) -> AuthorisationFailed:
    return AuthorisationFailed(
        request_id=head.request_id,
        attempt=attempt,
        reason=Reason.OTP_INCORRECT,
        reference_code="K71",
        attempts_left=left,
        safe_to_retry=True,
    )


def signed(head: Header, number: int) -> Progressed:
    return _reached("signed", head, number)


def verified(head: Header, number: int) -> Progressed:
    return _reached("verified", head, number)


def posted(head: Header, number: int) -> Progressed:
    return _reached("posted", head, number)


def _reached(stage: ReachedStage, head: Header, number: int) -> Progressed:
    return Progressed(request_id=head.request_id, stage=stage, documents=(document(number).id,))


def record_id(number: int) -> UUID:
    return uuid5(UUID(int=2), str(number))


def rejected(head: Header, numbers: Sequence[int] | None, reason: Reason, **values: Any) -> Rejected:
    documents = None if numbers is None else tuple(document(number).id for number in numbers)
    return Rejected(
        **{
            "request_id": head.request_id,
            "header": head,
            "documents": documents,
            "stage": "crl_verifier",
            "reason": reason,
            "safe_to_retry": reason.safe_to_retry,
            **values,
        }
    )


def completed(head: Header, posts: Iterable[int], refused: Sequence[int] | None = ()) -> Completed:
    names = None if refused is None else tuple(document(number).id for number in refused)
    rejections = (
        ()
        if names == ()
        else (
            RejectedDocuments(
                documents=names, stage="crl_verifier", reason=Reason.CERTIFICATE_REVOKED, safe_to_retry=False
            ),
        )
    )
    return Completed(
        request_id=head.request_id,
        header=head,
        posted=tuple(PostedDocument(document_id=document(n).id, record_id=record_id(n)) for n in posts),
        rejected=rejections,
        completed_at=BEGIN,
    )


def cancel_answered(head: Header, answer: CancelAnswer, number: int = 1) -> CancelAnswered:
    return CancelAnswered(request_id=head.request_id, cancellation=UUID(int=number), answer=answer)


def history(head: Header, *, posts: int) -> list[Event]:
    """A request of which so many documents are posted and the rest refused one by one; the OTP was wrong twice."""
    count = head.documents
    events: list[Event] = [resolved(head), dispatched(head), failed(head, "a1", 4), dispatched(head, 2)]
    events.append(failed(head, "a2", 3))
    events += [signed(head, number) for number in range(count)]
    events += [verified(head, number) for number in range(posts)]
    events += [posted(head, number) for number in range(posts)]
    events += [rejected(head, [number], Reason.CERTIFICATE_REVOKED) for number in range(posts, count)]
    events.append(cancel_answered(head, "too-late"))
    events.append(completed(head, range(posts), range(posts, count)))
    return events


def stamped(events: Iterable[Event]) -> list[Arrived]:
    """Events with the broker's times, which do not change with the order of reading."""
    return [(event, BEGIN + timedelta(seconds=second)) for second, event in enumerate(events)]


_READERS = {
    Progressed: timeline.progressed,
    Rejected: timeline.rejected,
    MediumResolved: lambda arrived: [timeline.medium_resolved(*one) for one in arrived],
    OtpDispatched: lambda arrived: [timeline.otp_dispatched(*one) for one in arrived],
    AuthorisationFailed: lambda arrived: [timeline.authorisation_failed(*one) for one in arrived],
    CancelAnswered: lambda arrived: [timeline.cancel_answered(*one) for one in arrived],
    Completed: lambda arrived: [timeline.completed(*one) for one in arrived],
    Requested: lambda arrived: [
        timeline.requested(UUID(event.key), event.manifest.header, at) for event, at in arrived
    ],
}


def read(arrived: Sequence[Arrived]) -> list[Advance]:
    """What slices of these events, one per topic, add to the requests."""
    topics: dict[type[Event], list[Arrived]] = defaultdict(list)
    for event, at in arrived:
        topics[type(event)].append((event, at))
    return [advance for kind, events in topics.items() for advance in _READERS[kind](events)]  # type: ignore[operator]


def told(advances: Iterable[Advance]) -> Told:
    """One request as the database has it when it met these, in this order."""
    (one,) = merged(advances)
    return Told(
        request_id=one.request_id,
        header=one.header or {},
        medium=one.medium,
        seq=len(one.entries),
        reached={"signed": one.reached["signed"], "verified": one.reached["verified"], "posted": one.reached["posted"]},
        rows=[
            (entry.kind, entry.at, entry.data.model_dump_json())
            for entry in one.entries
            if entry.kind not in {"signed", "verified", "posted"}
        ],
    )
