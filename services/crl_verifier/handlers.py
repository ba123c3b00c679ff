"""`signed` in: a document is verified, refused, or waits for a CRL."""

from libs.bus.delivery import Delivery
from libs.bus.outcomes import OVERTAKEN, Outcome, Park, Poison
from libs.bus.work import Work
from libs.contracts.document_signature import ROAMING
from libs.contracts.reasons import Reason
from libs.contracts.signing import Signed
from libs.contracts.state import Certificate
from libs.storage import state
from services.crl_verifier.answers import outcome_of, tell
from services.crl_verifier.judging import Judging
from services.crl_verifier.verification import Judged, decide


class Handlers:
    """The handler of what the signer signed."""

    def __init__(self, judging: Judging) -> None:
        self._judging = judging

    async def signed(self, work: Work[Signed]) -> None:
        """Verify, refuse or park each document."""
        judged = await self._judging(work.deliveries)
        async with work.recording(*work.deliveries) as recording:
            fingerprints = {answer.fingerprint for answer in judged.values() if isinstance(answer, Judged)}
            registered = await state.certificates_by_fingerprint(recording.connection, fingerprints)
            for delivery in recording.deliveries:
                answer = judged[delivery.id]
                certificate = registered.get(answer.fingerprint) if isinstance(answer, Judged) else None
                recording.settle(delivery, _outcome(delivery, answer, certificate))
            tell(recording)


def _outcome(delivery: Delivery[Signed], judged: Judged | Reason, registered: Certificate | None) -> Outcome:
    event = delivery.event
    if event.header.request_id != event.request_id:
        return Poison("the header is not of this request")
    if isinstance(judged, Judged) and registered is None and delivery.parked is None:
        return Park(OVERTAKEN, Reason.CERTIFICATE_UNKNOWN)
    answer = decide(event, judged, registered, ROAMING)
    return outcome_of(delivery, answer, authorisation=event.authorisation)
