"""What becomes of a signed document by the answer to it: `verified`, `rejected`, or a wait for a CRL."""

from datetime import timedelta
from typing import Final, TypeVar, assert_never

from libs.bus.delivery import Delivery
from libs.bus.outcomes import Done, Emit, Outcome, Park, Rejected
from libs.bus.work import Recording
from libs.contracts import signing, topics
from libs.contracts.manifest import Header
from libs.contracts.reasons import Reason
from libs.contracts.signing import Authorisation, Signed, Verified
from libs.contracts.token_route import TokenSigned
from libs.crypto.path import UnknownReason
from services.crl_verifier.verification import Answer, CannotTell, Good

STAGE: Final = "crl_verifier"

FIRST_WAIT = timedelta(seconds=5)
LONGEST_WAIT = timedelta(seconds=15)
"""Between two looks at a document without a current CRL, doubling from the first to the longest, without end:
what waited long goes on soon after there is one."""

S = TypeVar("S", Signed, TokenSigned)


def outcome_of(delivery: Delivery[S], answer: Answer, *, authorisation: Authorisation) -> Outcome:
    """The outcome of an answer. `authorisation` is how the officer was authenticated."""
    event = delivery.event
    match answer:
        case Good(certificate_path, crls, verified_at):
            verified = Verified(
                **(dict(event) | {"authorisation": authorisation}),
                certificate_path=certificate_path,
                crls=crls,
                signed_at=delivery.appended_at,
                verified_at=verified_at,
            )
            return Done((Emit(topics.VERIFIED, verified),))
        case CannotTell(why):
            tries = delivery.parked.tries + 1 if delivery.parked else 0
            return Park(min(FIRST_WAIT * 2 ** min(tries, 10), LONGEST_WAIT), why)
        case Reason():
            return rejected(event.header, answer, event.entry.id)
        case _:
            assert_never(answer)


def rejected(header: Header, reason: Reason, *documents: str) -> Rejected:
    """These documents will not be posted."""
    event = signing.Rejected(
        request_id=header.request_id,
        header=header,
        documents=documents,
        stage=STAGE,
        reason=reason,
        safe_to_retry=reason.safe_to_retry,
    )
    return Rejected(event)


def tell(recording: Recording[S]) -> None:
    """Say of what was settled just now what is verified, and what waits for a CRL for the first time."""
    recording.say_progress(topics.PROGRESSED, "verified")
    recording.say_waiting(topics.WAITING, STAGE, frozenset(UnknownReason))
