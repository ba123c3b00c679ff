"""`token-signed` in: a token's signature is verified, refused, or waits; the first outcome of a document counts."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final, assert_never
from uuid import UUID

from libs.bus.delivery import Delivery
from libs.bus.outcomes import OVERTAKEN, Done, Outcome, Park, Poison
from libs.bus.work import Work
from libs.contracts.manifest import root_of_document
from libs.contracts.reasons import Reason
from libs.contracts.signing import Authorisation
from libs.contracts.state import Certificate, User
from libs.contracts.token_route import TokenSigned
from libs.storage import state
from libs.storage.pool import Connection
from services.crl_verifier import token_store as store
from services.crl_verifier.answers import outcome_of, tell
from services.crl_verifier.judging import Judging
from services.crl_verifier.token_rule import NotYetKnown, judge
from services.crl_verifier.verification import Answer, CannotTell, Good, Judged

REQUEST_WAIT: Final = timedelta(minutes=1)
"""How long a signature that has overtaken its `medium-resolved` is parked; then it is a dead letter.

It is not refused: nobody here knows then whose request it is, and a refusal might end a document of another route.
"""

AUTHORISATION: Final = Authorisation(channel="token", reference_code="")

Signature = Delivery[TokenSigned]


class TokenSignatures:
    """The handler of `token-signed`. Any number of replicas: documents are decided under their request's row lock."""

    def __init__(self, judging: Judging) -> None:
        self._judging = judging

    async def handle(self, work: Work[TokenSigned]) -> None:
        """Verify, refuse or park each document."""
        judged = await self._judging(work.deliveries)
        roots = await asyncio.to_thread(_roots, work.deliveries)
        async with work.recording(*work.deliveries) as recording:
            known = await _known(recording.connection, recording.deliveries, judged)
            for delivery in recording.deliveries:
                outcome = known.decide(delivery, judged[delivery.id], roots[delivery.id])
                recording.settle(delivery, outcome)
            await store.mark(recording.connection, known.changed)
            tell(recording)


class _Known:
    """Locked requests with their documents, and our copy of the state; lives for one transaction."""

    def __init__(
        self,
        requests: Mapping[UUID, store.Request],
        documents: dict[store.Key, store.State],
        certificates: Mapping[bytes, Certificate],
        users: Mapping[str, User | None],
    ) -> None:
        self._requests = requests
        self._documents = documents
        self._certificates = certificates
        self._users = users
        self.changed: dict[store.Key, store.State] = {}

    def decide(self, delivery: Signature, judged: Judged | Reason, root: bytes | None) -> Outcome:
        """What becomes of one signature, with what was decided before it in this transaction."""
        event = delivery.event
        request = self._requests.get(event.request_id)
        if request is None:
            waited = delivery.parked.now - delivery.parked.created_at if delivery.parked else timedelta()
            return Park(OVERTAKEN, "request-unknown") if waited < REQUEST_WAIT else Poison("the request is not known")
        if root != request.root:
            return Poison("header, entry and path are not of this request")
        key = event.request_id, event.entry.id
        late = delivery.appended_at >= request.expires_at  # the timer rejects it
        if self._documents[key] in {"verified", "rejected"} or late:
            return Done()
        answer = judge(
            event,
            judged,
            credential_id=request.credential_id,
            certificate=self._certificates.get(judged.fingerprint) if isinstance(judged, Judged) else None,
            user=self._users[event.header.user],
        )
        if isinstance(answer, NotYetKnown):
            if delivery.parked is None or delivery.parked.why != answer.reason:
                return Park(OVERTAKEN, answer.reason)
            answer = answer.reason
        self._mark(key, _state(answer))
        return outcome_of(delivery, answer, authorisation=AUTHORISATION)

    def _mark(self, key: store.Key, state: store.State) -> None:
        self._documents[key] = self.changed[key] = state


def _state(answer: Answer) -> store.State:
    match answer:
        case Good():
            return "verified"
        case CannotTell():
            return "waiting"
        case Reason():
            return "rejected"
        case _:
            assert_never(answer)


async def _known(
    connection: Connection, deliveries: Sequence[Signature], judged: Mapping[UUID, Judged | Reason]
) -> _Known:
    """Lock first, then read: in this order, so that nothing is missed."""
    events = [delivery.event for delivery in deliveries]
    requests = await store.lock_requests(connection, (event.request_id for event in events))
    documents = await store.documents(connection, {(event.request_id, event.entry.id) for event in events})
    fingerprints = {answer.fingerprint for answer in judged.values() if isinstance(answer, Judged)}
    certificates = await state.certificates_by_fingerprint(connection, fingerprints)
    users = {user: await state.user(connection, user) for user in {event.header.user for event in events}}
    return _Known(requests, documents, certificates, users)


def _roots(deliveries: Sequence[Signature]) -> dict[UUID, bytes | None]:
    """The root that each proves; None for an index or path that no tree of its size has."""
    return {delivery.id: _root(delivery.event) for delivery in deliveries}


def _root(event: TokenSigned) -> bytes | None:
    try:
        return root_of_document(event.header, event.entry, event.index, event.path)
    except ValueError:
        return None
