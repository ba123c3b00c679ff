"""The account of a run: every document that was asked for is posted, refused, or lost; and how long each stage took."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from math import ceil
from typing import Final

from libs.contracts.reasons import Reason
from libs.contracts.signing import Completed
from services.igfmas.observation import Millis, Observation, RequestSeen

END_TO_END: Final = "authorised_to_posted"
"""From `authorisation-submitted` to `posted`: what the officer waits for after PIN and OTP."""


@dataclass(frozen=True)
class Stage:
    """Latency of one stage: from the record that it took to the record that it gave, by the broker's clock."""

    count: int
    p50_ms: int | None
    p99_ms: int | None


@dataclass(frozen=True)
class Account:
    """Documents by what became of them. `contradictions` has a text for whatever should be impossible."""

    requested: int
    posted: int
    refused: int
    lost: int
    duplicated: int
    contradictions: tuple[str, ...]


def account_of(observation: Observation) -> Account:
    """Count what was seen. A document signed twice, for `sah` and for `peraku`, counts twice: they are two requests.

    Requested is what was found on the topic, not what was meant to be sent. Lost has neither `posted` nor `rejected`.
    Duplicated has more than one signature or record in a request, or is posted twice for the same action.
    """
    requested = posted = refused = lost = 0
    doubled: set[tuple[str, str]] = set()
    records_of_action: Counter[tuple[str, str]] = Counter()
    positions: Counter[int] = Counter()
    contradictions: list[str] = []
    for request, document in observation.all_documents():
        name = document.entry.id
        records_of_action[request.action, name] += len({record for record, _ in document.records})
        positions.update({position for _, position in document.records})
        if request.requested_at is None:
            contradictions.append(f"{name}: was sent, and is not on the topic")
            continue
        requested += 1
        posted += document.posted is not None
        refused += document.posted is None and bool(document.refusals)
        lost += document.posted is None and not document.refusals
        if len(document.signatures) > 1 or len(document.records) > 1:
            doubled.add((request.action, name))
    doubled |= {key for key, records in records_of_action.items() if records > 1}
    contradictions += [f"log position {position} stands twice" for position, n in positions.items() if n > 1]
    contradictions += observation.strangers
    for request in observation.requests.values():
        contradictions += _contradictions(request)
    return Account(requested, posted, refused, lost, len(doubled), tuple(contradictions))


def stages_of(observation: Observation) -> dict[str, Stage]:
    """Latencies by service, and of the whole; for what was posted in between, not for what waited for an officer."""
    taken: dict[str, list[Millis]] = {
        name: [] for name in ("medium_lookup", "otp_dispatch", "hsm_signer", "crl_verifier", "posting", END_TO_END)
    }
    for request in observation.requests.values():
        _take(taken["medium_lookup"], request.requested_at, request.resolved_at)
        first = request.dispatched.get(1)
        _take(taken["otp_dispatch"], request.resolved_at, first and first[0])
        for document in request.documents.values():
            before = [at for at in request.submitted_at if document.signed_at is not None and at <= document.signed_at]
            authorised_at = max(before, default=None)
            _take(taken["hsm_signer"], authorised_at, document.signed_at)
            _take(taken["crl_verifier"], document.signed_at, document.verified_at)
            _take(taken["posting"], document.verified_at, document.posted_at)
            _take(taken[END_TO_END], authorised_at, document.posted_at)
    return {name: Stage(len(times), percentile(times, 50), percentile(times, 99)) for name, times in taken.items()}


def percentile(values: list[int], percent: int) -> int | None:
    """The nearest-rank percentile; None of nothing."""
    return sorted(values)[ceil(percent / 100 * len(values)) - 1] if values else None


def _take(into: list[Millis], begin: Millis | None, end: Millis | None) -> None:
    if begin is not None and end is not None:
        into.append(max(0, end - begin))


def _contradictions(request: RequestSeen) -> list[str]:
    """What `completed` says against what was seen document by document."""
    if request.ended is None:
        return [f"{request.request_id}: not completed"]
    if len(request.completed) > 1:
        return [f"{request.request_id}: completed twice, differently"]
    said = {item.document_id: item.record_id for item in request.ended.posted}
    seen = {name: document.posted.record_id for name, document in request.documents.items() if document.posted}
    wrong = [] if said == seen else [f"{request.request_id}: completed lists other documents than were posted"]
    refused = _refused_by(request.ended, set(request.documents) - set(said))
    listed = [*said, *refused]
    if len(listed) > len(set(listed)) or set(listed) != set(request.documents):
        wrong.append(f"{request.request_id}: completed does not list every document either as posted or as rejected")
    for name, reason in refused.items():
        of = request.documents.get(name)
        if of is not None and reason not in {refusal.reason for refusal in of.refusals}:
            wrong.append(f"{name}: completed says rejected as {reason}, which was not said before")
    return wrong


def _refused_by(ended: Completed, rest: Collection[str]) -> dict[str, Reason]:
    """Documents of the request that its end lists as rejected, and why; `rest` are those that it does not post."""
    refused: dict[str, Reason] = {}
    for item in sorted(ended.rejected, key=lambda item: item.documents is None):  # what names all others comes last
        for name in rest if item.documents is None else item.documents:
            refused.setdefault(name, item.reason)
    return refused
