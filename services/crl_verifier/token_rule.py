"""The rule of a token's signature: good only for this request, by the certificate that is its officer's now."""

from dataclasses import dataclass
from uuid import UUID

from libs.contracts.document_signature import TOKEN
from libs.contracts.reasons import Reason
from libs.contracts.state import Certificate, User
from libs.contracts.token_route import TokenSigned
from services.crl_verifier.verification import Answer, Judged, decide


@dataclass(frozen=True, slots=True)
class NotYetKnown:
    """Our copy of the state does not have what it should; if it stays so, this is the reason."""

    reason: Reason


def judge(
    event: TokenSigned,
    judged: Judged | Reason,
    *,
    credential_id: UUID,
    certificate: Certificate | None,
    user: User | None,
) -> Answer | NotYetKnown:
    """The answer to a signature over the root of its request, which was resolved to `credential_id`.

    `certificate` is the state of exactly the certificate that signed, `user` the officer's: whoever has moved to
    another certificate signs with the old one no more.
    """
    answer = decide(event, judged, certificate, TOKEN)
    if isinstance(judged, Judged) and certificate is None:
        return NotYetKnown(Reason.CERTIFICATE_UNKNOWN)
    if certificate is None or isinstance(answer, Reason):
        return answer
    if certificate.credential_id != credential_id:
        return Reason.CERTIFICATE_MISMATCH
    if user is None or user.credential_id != credential_id:
        return NotYetKnown(Reason.CERTIFICATE_MISMATCH)
    return answer
