"""The rule of the status: what is known of a request, whatever of it arrived first."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from libs.contracts.document_signature import TOKEN
from libs.contracts.progress import ReachedStage
from libs.contracts.signing import Medium
from services.gateway.schemas import (
    Cancellation,
    Counts,
    Dispatch,
    Failure,
    Rejection,
    Resend,
    Result,
    SigningStatus,
    State,
    Wait,
)
from services.gateway.timeline import Documents, Kind, by_cause


@dataclass(frozen=True, slots=True)
class Told:
    """A request as the database has it: sums over what arrived, rows (kind, at, data) of all but documents."""

    request_id: UUID
    header: Mapping[str, str]
    medium: Medium | None
    seq: int
    reached: Mapping[ReachedStage, int]
    rows: Sequence[tuple[Kind, datetime, str]]

    @property
    def documents(self) -> int | None:
        """The number of documents; None when the header does not say, which nobody has validated then."""
        count = self.header.get("count", "")
        return int(count) if count.isascii() and count.isdigit() and len(count) <= 5 else None


def status_of(told: Told) -> SigningStatus:
    """The status. It depends on what arrived, never on the order. Off the loop: 2 µs a document once completed."""
    data: dict[Kind, list[str]] = {}
    for kind, _, text in sorted(told.rows, key=lambda row: row[1:]):
        data.setdefault(kind, []).append(text)
    dispatches = sorted(map(Dispatch.model_validate_json, data.get("otp-dispatched", ())), key=lambda one: one.number)
    rejections = by_cause(map(Rejection.model_validate_json, data.get("rejected", ())))
    result = next(map(Result.model_validate_json, data.get("completed", ())), None)
    given = {name for text in data.get("token-signed", ()) for name in Documents.model_validate_json(text).documents}
    counts = _counts(told, len(given), rejections, result)
    return SigningStatus(
        request_id=told.request_id,
        state="completed" if result else _state(told, counts, rejections, dispatches),
        seq=told.seq,
        request=told.header.get("request"),
        system=told.header.get("system"),
        action=told.header.get("action"),
        documents=told.documents,
        medium=told.medium,
        counts=counts,
        dispatches=tuple(dispatches),
        failures=tuple(map(Failure.model_validate_json, data.get("authorisation-failed", ()))),
        rejections=rejections,
        completed=result,
        cancellations=_cancellations(data),
        resends=_resends(data),
        waits=() if result else _waits(told, counts, rejections),
    )


def _waits(told: Told, counts: Counts, rejections: Sequence[Rejection]) -> tuple[Wait, ...]:
    """What was said to wait, as long as something may be left at that stage; which document it is, is not asked."""
    if any(one.documents is None for one in rejections):
        return ()
    answered = {
        "otp_dispatch": _last(told, "otp-dispatched"),
        "hsm_signer": _last(told, "authorisation-failed"),
    }
    refused: Counter[str] = Counter()
    for rejection in rejections:
        refused[rejection.stage] += len(rejection.documents or ())
    left = {
        "otp_dispatch": not any(told.reached.values()),
        "hsm_signer": told.documents is None or counts.signed + refused["hsm_signer"] < told.documents,
        "crl_verifier": counts.verified + refused["crl_verifier"] < counts.signed,
        "posting": counts.posted + refused["posting"] < counts.verified,
    }
    found: dict[tuple[object, ...], Wait] = {}
    for _, at, text in sorted((row for row in told.rows if row[0] == "waiting"), key=lambda row: row[1:]):
        one = Wait.model_validate_json(text)
        over = (answer := answered.get(one.stage)) is not None and answer >= at
        if left.get(one.stage, True) and not over:
            same = one.stage, one.why, one.documents is None
            found[same] = _joined(found.pop(same, one), one)
    return tuple(found.values())


def _joined(before: Wait, later: Wait) -> Wait:
    """Two of one cause: of all their documents, and when the stage looks again, as far as that was said."""
    names = None if later.documents is None else tuple(sorted({*(before.documents or ()), *later.documents}))
    return later.model_copy(update={"documents": names})


def _last(told: Told, kind: Kind) -> datetime | None:
    return max((at for found, at, _ in told.rows if found == kind), default=None)


def _cancellations(data: Mapping[Kind, Sequence[str]]) -> tuple[Cancellation, ...]:
    """What was asked, with its answer, which may have overtaken our own row; what nobody asked here stands last."""
    found: dict[UUID, Cancellation] = {}
    for text in (*data.get("cancel-requested", ()), *data.get("cancel-answered", ())):
        one = Cancellation.model_validate_json(text)
        found[one.cancellation] = one
    return tuple(found.values())


def _resends(data: Mapping[Kind, Sequence[str]]) -> tuple[Resend, ...]:
    """What was asked, with its answer; likewise."""
    found = {one.resend: one for one in map(Resend.model_validate_json, data.get("resend-requested", ()))}
    for answer in map(Resend.model_validate_json, data.get("resend-answered", ())):
        asked = found.get(answer.resend)
        found[answer.resend] = answer.model_copy(update={"channel": asked.channel if asked else None})
    return tuple(found.values())


def _state(told: Told, counts: Counts, rejections: Sequence[Rejection], dispatches: Sequence[Dispatch]) -> State:
    """The furthest that anything known implies: a later stage speaks for earlier ones that have yet to arrive."""
    if any(one.documents is None for one in rejections) or counts.posted + counts.rejected == told.documents:
        return "ending"
    if told.medium == TOKEN:
        # A document that was refused needs its signature no more; one is never refused without its signature.
        reached = max(counts.signed, counts.verified + counts.rejected, counts.posted + counts.rejected)
        return "signing" if reached == told.documents else "awaiting-token-signatures"
    if counts.rejected or any(told.reached.values()):
        return "signing"
    if told.medium is None:
        return "requested"
    return "awaiting-authorisation" if dispatches else "awaiting-otp"


def _counts(told: Told, given: int, rejections: Sequence[Rejection], result: Result | None) -> Counts:
    posted, refused = told.reached["posted"], len({name for one in rejections for name in one.documents or ()})
    if result is not None:
        # The truth about every document: one may have been refused late, or its `posted` be still to come.
        posted = len(result.posted)
        named = sum(len(one.documents or ()) for one in result.rejected)
        refused = named if told.documents is None else told.documents - posted
    # What is posted was signed and verified, whether or not those events were read yet: they come by another lane.
    return Counts(
        signed=max(told.reached["signed"] + given, posted),
        verified=max(told.reached["verified"], posted),
        posted=posted,
        rejected=refused,
    )
