"""One slice of verified documents in its transaction: admitted, posted, refused, counted, logged, in one lock order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never
from uuid import UUID

from libs.bus.delivery import Delivery
from libs.bus.outcomes import OVERTAKEN, Done, Emit, Outcome, Park, Rejected
from libs.bus.work import Recording
from libs.contracts import signing, topics
from libs.contracts.document_signature import check_registration, medium_of
from libs.contracts.reasons import Reason
from libs.contracts.signing import Posted, Verified
from libs.storage import state
from libs.storage.pool import Connection
from services.posting import store
from services.posting.admission import Examined, contradiction
from services.posting.desk import Asked, Desk, emit_completed
from services.posting.store import Refusal

SAH_WAIT = timedelta(seconds=60)
"""How long a `peraku` waits for its `sah` to be posted."""

SAH_STEP = timedelta(seconds=5)
"""Between two looks for it."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Our refusal of a document. With a detail, it contradicts what is posted: asking again changes nothing."""

    reason: Reason
    detail: str = ""

    @property
    def safe_to_retry(self) -> bool:
        """Whether the same document may simply be requested again."""
        return self.reason.safe_to_retry and not self.detail


@dataclass(slots=True)
class Paper:
    """A verified document while it is decided; without a verdict at the end, it was decided before."""

    delivery: Delivery[Verified]
    examined: Examined | Reason
    verdict: Examined | Refused | Park | None = None

    @property
    def event(self) -> Verified:
        """What was verified."""
        return self.delivery.event

    @property
    def document(self) -> tuple[str, str]:
        """What it is to its system, whatever the request."""
        return self.event.header.system, self.event.entry.id


async def sit(recording: Recording[Verified], papers: Sequence[Paper], posted_at: datetime) -> None:
    """Decide about every paper and settle its delivery.

    Locks in this order, which is the same for all: requests by id, records by (action, document), the log. A twin
    therefore waits and never deadlocks; the log's lock, which all share, is held for an append and the commit.
    """
    connection = recording.connection
    desk = await Desk.open(connection, [Asked(p.event.request_id, p.event.header, (p.event.entry.id,)) for p in papers])
    pending = [paper for paper in papers if desk.is_open(paper.event.request_id, paper.event.entry.id)]
    await _admit(connection, pending)
    # `sah` first: a `peraku` of the same slice may rest upon it.
    await _post(desk, [paper for paper in pending if paper.event.header.action == "sah"], posted_at)
    perakus = [paper for paper in pending if paper.event.header.action == "peraku"]
    await _demand_sah(connection, [paper for paper in perakus if isinstance(paper.verdict, Examined)])
    await _post(desk, perakus, posted_at)
    await desk.refuse(
        Refusal(p.event.request_id, p.event.entry.id, "posting", p.verdict.reason, p.verdict.safe_to_retry)
        for p in pending
        if isinstance(p.verdict, Refused)
    )
    emit_completed(recording, await desk.close(posted_at))
    leaves = [(p.verdict.record_id, p.verdict.leaf_hash) for p in pending if isinstance(p.verdict, Examined)]
    positions = await store.append(connection, leaves)
    for paper in papers:
        recording.settle(paper.delivery, _outcome(paper, positions, posted_at))
    recording.say_progress(topics.PROGRESSED, "posted")
    recording.say_waiting(topics.WAITING, "posting", {Reason.SAH_NOT_POSTED})


async def _admit(connection: Connection, papers: Sequence[Paper]) -> None:
    fingerprints = {paper.examined.fingerprint for paper in papers if isinstance(paper.examined, Examined)}
    registered = await state.certificates_by_fingerprint(connection, fingerprints)
    for paper in papers:
        if isinstance(paper.examined, Reason):
            paper.verdict = Refused(paper.examined)
            continue
        certificate, medium = registered.get(paper.examined.fingerprint), medium_of(paper.event.authorisation)
        reason = check_registration(paper.event, certificate, medium)
        if reason is None:
            paper.verdict = paper.examined
        elif reason is Reason.CERTIFICATE_UNKNOWN and _waited(paper) < OVERTAKEN:
            paper.verdict = Park(OVERTAKEN, reason)
        else:
            paper.verdict = Refused(reason)


async def _demand_sah(connection: Connection, perakus: Sequence[Paper]) -> None:
    certified = await store.certified(connection, {paper.document for paper in perakus})
    for paper in perakus:
        sah = certified.get(paper.document)
        if sah is not None:
            conflict = contradiction(paper.event, sah)
            if conflict is not None:
                paper.verdict = Refused(Reason.SAH_NOT_POSTED, conflict)
        elif _waited(paper) < SAH_WAIT:
            paper.verdict = Park(SAH_STEP, Reason.SAH_NOT_POSTED)
        else:
            paper.verdict = Refused(Reason.SAH_NOT_POSTED)


async def _post(desk: Desk, papers: Sequence[Paper], posted_at: datetime) -> None:
    admitted = [(paper, paper.verdict) for paper in papers if isinstance(paper.verdict, Examined)]
    won = await desk.post([(paper.event, examined) for paper, examined in admitted], posted_at)
    for paper, examined in admitted:
        if examined.record_id not in won:
            paper.verdict = Refused(Reason.ALREADY_POSTED)


def _outcome(paper: Paper, positions: Mapping[UUID, int], posted_at: datetime) -> Outcome:
    event = paper.event
    match paper.verdict:
        case Examined(record_id=record_id, leaf_hash=leaf_hash):
            posted = Posted(
                request_id=event.request_id,
                document_id=event.entry.id,
                record_id=record_id,
                log_position=positions[record_id],
                leaf_hash=leaf_hash,
                posted_at=posted_at,
            )
            return Done((Emit(topics.POSTED, posted),))
        case Refused(reason, detail) as refused:
            rejected = signing.Rejected(
                request_id=event.request_id,
                header=event.header,
                documents=(event.entry.id,),
                stage="posting",
                reason=reason,
                detail=detail,
                safe_to_retry=refused.safe_to_retry,
            )
            return Rejected(rejected)
        case Park() as park:
            return park
        case None:
            return Done()  # decided before: the first outcome counts
        case _:
            assert_never(paper.verdict)


def _waited(paper: Paper) -> timedelta:
    parked = paper.delivery.parked
    return parked.now - parked.created_at if parked else timedelta(0)
