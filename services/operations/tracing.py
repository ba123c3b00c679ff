"""One request's way through the chain, as lines: records in, text out. Nothing sealed and no address goes out."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from libs.contracts import topics
from libs.contracts.base import Event
from libs.contracts.cancelling import CancelAnswered
from libs.contracts.resending import ResendAnswered, ResendRequested
from libs.contracts.signing import (
    AuthorisationFailed,
    AuthorisationSubmitted,
    Completed,
    MediumResolved,
    OtpDispatched,
    Posted,
    Rejected,
    Requested,
    Signed,
    Verified,
)
from libs.contracts.token_route import TokenSigned
from libs.contracts.topics import Topic
from libs.contracts.waiting import Waiting
from services.operations.terminal import shown

SERVICES: Final = frozenset(
    {"medium_lookup", "otp_dispatch", "gateway", "hsm_signer", "crl_verifier", "posting", "operations"}
)
"""Who may say that a record is its own; whoever says something else is told as `outside`."""

NAMED: Final = 1
"""Documents that a line names; of more it tells the number."""

_ORDER: Final = {name: number for number, name in enumerate(topics.TOPICS)}


@dataclass(frozen=True, slots=True)
class Seen:
    """One record of a request: topic, the broker's append time, what its producer calls itself, `ce_id`.

    `event` is None when the record is none of its topic.
    """

    topic: Topic
    at: datetime
    source: str
    id: str
    event: Event | None

    @property
    def service(self) -> str:
        """The producing service."""
        name = self.source.rpartition("/")[2]
        return name if name in SERVICES else "outside"

    @property
    def name(self) -> str:
        """The event as the design's table calls it."""
        return self.topic.name.removeprefix("gpki.signing.").removesuffix(".v1")


@dataclass(frozen=True, slots=True)
class Told:
    """What a line says of an event: what others of its kind may share, what is its own, and its documents."""

    shared: str = ""
    own: str = ""
    documents: tuple[str, ...] = ()


def in_order(seen: Iterable[Seen]) -> list[Seen]:
    """By the broker's time; within a millisecond as the chain goes."""
    return sorted(seen, key=lambda one: (one.at, _ORDER[one.topic.name]))


def request_of(event: Event) -> UUID | None:
    """The request that an event is of, if it says."""
    return getattr(event, "request_id", None)


def documents_of(seen: Iterable[Seen]) -> set[str]:
    """Every document that a record names as one of the request's, whoever wrote it."""
    names: set[str] = set()
    for one in seen:
        match one.event:
            case Requested(manifest=manifest):
                names |= {document["id"] for document in manifest.documents if "id" in document}
            case MediumResolved(signed=signed):
                names |= {document.id for document in signed.manifest.documents}
            case Rejected(documents=some) | Waiting(documents=some):
                names |= set(some or ())
            case Completed(posted=posted):
                names |= {one.document_id for one in posted}
            case _:
                pass
    return names


def lines(seen: Sequence[Seen], *, every: bool) -> list[str]:
    """One line per event in the order of the broker's time, and a record that came again told as such.

    Events of documents that differ in nothing else are one line, which stands where the first of them does and tells
    the time of the last; `every` gives each its own.
    """
    rows: dict[tuple[object, ...], list[tuple[Seen, Told]]] = {}
    known: set[tuple[str, str]] = set()
    for number, one in enumerate(in_order(seen)):
        told = tell(one.event)
        again = bool(one.id) and (one.topic.name, one.id) in known
        known.add((one.topic.name, one.id))
        together = () if told.documents and not every else (number,)
        rows.setdefault((one.name, one.service, told.shared, again, *together), []).append((one, told))
    first = min((one.at for one in seen), default=datetime.fromtimestamp(0, UTC))
    return [_line(row, first, again=bool(kind[3])) for kind, row in rows.items()]


def _line(row: Sequence[tuple[Seen, Told]], first: datetime, *, again: bool) -> str:
    one, told = row[0]
    documents = list(dict.fromkeys(name for _, each in row for name in each.documents))
    after = f"+{_ms(one.at, first)}" + (f"..{_ms(row[-1][0].at, first)}" if len(row) > 1 else "")
    what = ", ".join(documents) if len(documents) <= NAMED else f"{len(documents)} documents"
    own = told.own if len(row) == 1 else ""
    text = "; ".join(filter(None, (what, told.shared, own, "again" if again else "")))
    at = f"{one.at:%Y-%m-%d %H:%M:%S}.{one.at.microsecond // 1000:03}Z"
    return f"{at}  {after + ' ms':>15}  {one.service:13}  {one.name:28}  {text}".rstrip()


def _ms(at: datetime, first: datetime) -> int:
    return round((at - first).total_seconds() * 1000)


def tell(event: Event | None) -> Told:
    """What an operator needs to know of an event. Never anything sealed, a signature, a code, or a whole address."""
    if event is None:
        return Told("cannot be read")
    return _TELLING.get(type(event), lambda _: Told())(event)


def _requested(event: Requested) -> Told:
    action = shown(event.manifest.header.get("action", ""))
    return Told(own=f"{action}, {count(len(event.manifest.documents))}")


def _medium_resolved(event: MediumResolved) -> Told:
    header = event.signed.manifest.header
    return Told(own=f"{event.medium} ({', '.join(event.channels)}); {header.action}, {count(header.documents)}")


def _otp_dispatched(event: OtpDispatched) -> Told:
    return Told(
        own=f"no. {event.number} by {event.channel} to {shown(event.destination)}, "
        f"reference {shown(event.reference_code)}, until {event.expires_at:%H:%M:%S}Z"
    )


def _authorisation_submitted(event: AuthorisationSubmitted) -> Told:
    return Told(own=f"attempt {event.attempt[:8]}")


def _authorisation_failed(event: AuthorisationFailed) -> Told:
    left = "" if event.attempts_left is None else f", {event.attempts_left} left"
    reference = f", reference {shown(event.reference_code)}" if event.reference_code else ""
    return Told(own=f"attempt {shown(event.attempt[:8])}: {event.reason}{left}{reference}")


def _resend_requested(event: ResendRequested) -> Told:
    return Told(own=f"by {event.channel}" if event.channel else "")


def _resend_answered(event: ResendAnswered) -> Told:
    answer = f"refused: {event.refusal}" if event.refusal else f"no. {event.number}"
    return Told(own=f"{answer}, {event.codes_left} left")


def _cancel_answered(event: CancelAnswered) -> Told:
    return Told(own=event.answer)


def _token_signed(event: TokenSigned) -> Told:
    return Told(documents=(event.entry.id,))


def _signed(event: Signed) -> Told:
    return Told(event.authorisation.channel, documents=(event.entry.id,))


def _verified(event: Verified) -> Told:
    numbers = "+".join(str(crl.number) for crl in event.crls)
    return Told(f"CRL {numbers}" if numbers else "", documents=(event.entry.id,))


def _posted(event: Posted) -> Told:
    return Told(own=f"position {event.log_position}, record {event.record_id}", documents=(event.document_id,))


def _rejected(event: Rejected) -> Told:
    why = f"{event.stage}: {event.reason}" + (f" ({shown(event.detail)})" if event.detail else "")
    return Told(why + ("; all documents" if event.documents is None else ""), documents=event.documents or ())


def _waiting(event: Waiting) -> Told:
    why = f"{event.stage} waits: {shown(event.why)}" + ("; all documents" if event.documents is None else "")
    return Told(why, f"looks again at {event.next_look:%H:%M:%S}Z", event.documents or ())


def _completed(event: Completed) -> Told:
    return Told(own=outcome(event))


_TELLING: Final[dict[type[Event], Callable[[Any], Told]]] = {
    Requested: _requested,
    MediumResolved: _medium_resolved,
    OtpDispatched: _otp_dispatched,
    AuthorisationSubmitted: _authorisation_submitted,
    AuthorisationFailed: _authorisation_failed,
    ResendRequested: _resend_requested,
    ResendAnswered: _resend_answered,
    CancelAnswered: _cancel_answered,
    TokenSigned: _token_signed,
    Signed: _signed,
    Verified: _verified,
    Posted: _posted,
    Rejected: _rejected,
    Waiting: _waiting,
    Completed: _completed,
}


def outcome(event: Completed) -> str:
    """How many were posted and rejected, and why."""
    named = sum(len(one.documents or ()) for one in event.rejected)
    rest = None if event.header is None else event.header.documents - len(event.posted) - named
    whys = []
    for one in event.rejected:
        number = rest if one.documents is None else len(one.documents)
        whys.append(f"{'all' if number is None else number} {one.reason} at {one.stage}")
    rejected = f", rejected: {', '.join(whys)}" if whys else ", 0 rejected"
    return f"{len(event.posted)} posted{rejected}"


def count(documents: int) -> str:
    """So many documents."""
    return f"{documents} document{'' if documents == 1 else 's'}"
