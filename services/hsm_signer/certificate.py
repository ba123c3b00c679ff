"""Whether a user's certificate is good at this moment, before the key is used (design section 4.6)."""

from datetime import datetime

from libs.contracts.reasons import Reason
from libs.contracts.state import Certificate
from libs.crypto.certificates import certificate_facts


def certificate_refusal(certificate: Certificate | None, now: datetime) -> Reason | None:
    """Why this certificate may not be used now, None if it may. Status events count at once, whatever a CRL says."""
    if certificate is None:
        return Reason.CERTIFICATE_UNKNOWN
    if certificate.refusal is not None:
        return certificate.refusal
    facts = certificate_facts(certificate.certificate)
    if now < facts.not_before:
        return Reason.CERTIFICATE_NOT_YET_VALID
    if now > facts.not_after:
        return Reason.CERTIFICATE_EXPIRED
    return None
