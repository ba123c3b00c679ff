"""Where a request stands: who has it, and for how long. Records in, one sentence out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TypeVar

from libs.contracts import topics
from libs.contracts.base import Event
from libs.contracts.signing import (
    AuthorisationFailed,
    AuthorisationSubmitted,
    Completed,
    MediumResolved,
    OtpDispatched,
    Posted,
    Rejected,
    Requested,
)
from libs.contracts.waiting import Waiting
from services.operations.terminal import shown
from services.operations.tracing import Seen, count, documents_of, in_order, outcome, tell

E = TypeVar("E", bound=Event)

OFFICER: Final = "the officer"
"""Has a request while nobody but a person can take it further."""

_NEXT: Final = {
    topics.TOKEN_SIGNED.name: "crl_verifier",
    topics.SIGNED.name: "crl_verifier",
    topics.VERIFIED.name: "posting",
}
"""Who has a document once this was said of it."""

_FURTHEST: Final = (topics.VERIFIED.name, topics.SIGNED.name, topics.TOKEN_SIGNED.name)


@dataclass
class _Held:
    """What one of the chain has: since when the oldest of it, and, for a person, what to do."""

    since: datetime
    documents: list[str] = field(default_factory=list)
    what: str = ""


def standing(seen: Iterable[Seen], now: datetime) -> str:
    """One sentence: completed, or who has what of it, for how long, and what that waits for.

    A later stage speaks for the ones before it. `seen` is not empty.
    """
    ordered = in_order(seen)
    ended = _first(ordered, Completed)
    if ended is not None:
        at, event = ended
        return f"Completed at {at:%Y-%m-%d %H:%M:%S}Z, {duration(at - ordered[0].at)} after it began: {outcome(event)}."
    whole = next(((at, one) for at, one in _all(ordered, Rejected) if one.documents is None), None)
    if whole is not None:
        at, refused = whole
        return (
            f"Not completed: {refused.stage} rejected it whole ({refused.reason}), "
            f"posting has that for {duration(now - at)} and has yet to publish `completed`."
        )
    return _of_open(ordered, now)


def _of_open(ordered: Sequence[Seen], now: datetime) -> str:
    resolved = _first(ordered, MediumResolved)
    reached = _reached(ordered)
    if resolved is None and not reached:
        asked = _first(ordered, Requested)
        if asked is None:
            only = ", ".join(sorted({one.name for one in ordered}))
            return f"Not begun: there is no `requested` of it that can be read, only {only}."
        return f"Not completed: medium_lookup has it for {duration(now - asked[0])}, and has not resolved its medium."
    names = sorted(documents_of(ordered if resolved is None else [one for one in ordered if one.event is resolved[1]]))
    ended = {one.document_id: at for at, one in _all(ordered, Posted)}
    for at, refused in _all(ordered, Rejected):
        ended |= dict.fromkeys(refused.documents or (), at)
    left = [name for name in names if name not in ended]
    if not left:
        return (
            f"Not completed: every document has its outcome, posting has that for "
            f"{duration(now - max(ended.values()))} and has yet to publish `completed`."
        )
    held = _holders(ordered, left, reached)
    parts = [_part(who, one, len(names), ordered, now) for who, one in held.items()]
    done = f"; {count(len(ended))} ended" if ended else ""
    return f"Not completed: {'; '.join(parts)}{done}."


def _holders(
    ordered: Sequence[Seen], left: Sequence[str], reached: Mapping[str, Mapping[str, datetime]]
) -> dict[str, _Held]:
    """Who has which of these documents, as the chain goes."""
    who, before = _before_signing(ordered, any_signed=bool(reached))
    found: dict[str, _Held] = {}
    for name in left:
        last = next((topic for topic in _FURTHEST if name in reached.get(topic, {})), None)
        if last is None:
            found.setdefault(who, before).documents.append(name)
            continue
        since = reached[last][name]
        one = found.setdefault(_NEXT[last], _Held(since))
        one.since = min(one.since, since)
        one.documents.append(name)
    chain = (who, "crl_verifier", "posting")
    return {each: found[each] for each in chain if each in found}


def _before_signing(ordered: Sequence[Seen], *, any_signed: bool) -> tuple[str, _Held]:
    """Who has what is not signed."""
    resolved = _first(ordered, MediumResolved)
    began = ordered[0].at if resolved is None else resolved[0]
    if resolved is not None and resolved[1].medium == "token":
        return OFFICER, _Held(began, what="signs with the own token")
    failed = _all(ordered, AuthorisationFailed)
    refused = {one.attempt for _, one in failed}
    tried = [at for at, one in _all(ordered, AuthorisationSubmitted) if one.attempt not in refused]
    if tried:
        return "hsm_signer", _Held(tried[-1] if any_signed else tried[0], what="PIN and OTP were submitted")
    if any_signed:  # its authorisation is kept for a day only
        return "hsm_signer", _Held(began)
    sent = _all(ordered, OtpDispatched)
    if not sent:
        return "otp_dispatch", _Held(began, what="no code was delivered")
    at, code = sent[-1]
    what = (
        f"PIN and OTP are not entered (reference {shown(code.reference_code)}, by {code.channel} to "
        f"{shown(code.destination)}, good until {code.expires_at:%Y-%m-%d %H:%M:%S}Z)"
    )
    if failed:
        at, what = max(at, failed[-1][0]), f"the last attempt failed, {failed[-1][1].reason}; {what}"
    return OFFICER, _Held(at, what=what)


def _part(who: str, held: _Held, total: int, ordered: Sequence[Seen], now: datetime) -> str:
    many = count(total) if len(held.documents) == total else f"{len(held.documents)} of {count(total)}"
    text = f"{who} has {many} for {duration(now - held.since)}" + (f", {held.what}" if held.what else "")
    waits = [
        (at, tell(one).shared)
        for at, one in _all(ordered, Waiting)
        if one.stage == who and (one.documents is None or not set(one.documents).isdisjoint(held.documents))
    ]
    return text + (f", {waits[-1][1]} (told {duration(now - waits[-1][0])} ago)" if waits else "")


def _reached(ordered: Sequence[Seen]) -> dict[str, dict[str, datetime]]:
    """Topic → document → when it was first told there; only topics on which something was."""
    found: dict[str, dict[str, datetime]] = {}
    for one in ordered:
        if one.topic.name in _NEXT:
            for name in tell(one.event).documents:
                found.setdefault(one.topic.name, {}).setdefault(name, one.at)
    return found


def _all(ordered: Iterable[Seen], kind: type[E]) -> list[tuple[datetime, E]]:
    return [(one.at, one.event) for one in ordered if isinstance(one.event, kind)]


def _first(ordered: Iterable[Seen], kind: type[E]) -> tuple[datetime, E] | None:
    return next(iter(_all(ordered, kind)), None)


def duration(length: timedelta) -> str:
    """In the two units that tell most; less than a second in ms."""
    seconds = max(length.total_seconds(), 0)
    if seconds < 1:
        return f"{round(seconds * 1000)} ms"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    units = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    first = next((place for place, (number, _) in enumerate(units) if number), 3)
    return " ".join(f"{number} {unit}" for number, unit in units[first : first + 2] if number)
