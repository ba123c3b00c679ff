"""The rule of an admitted request: with which medium its user signs, or why not."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from uuid import UUID

from libs.bus.admission import Refused
from libs.contracts.document_signature import TOKEN
from libs.contracts.manifest import Header
from libs.contracts.reasons import Reason
from libs.contracts.signing import Channel, Medium
from libs.contracts.state import Certificate, User
from libs.contracts.token_route import MAX_TOKEN_DOCUMENTS


@dataclass(frozen=True)
class Resolved:
    """The medium of the request's user."""

    medium: Medium
    credential_id: UUID
    channels: tuple[Channel, ...]


@dataclass(frozen=True)
class NotYetKnown:
    """Our copy of the state does not have what it should; if it stays so, this is the reason."""

    reason: Reason


def resolve(  # noqa: PLR0911 (each return is one answer of a closed list)
    header: Header, user: User | None, certificates: Mapping[UUID, Certificate], media: Collection[Medium]
) -> Resolved | Refused | NotYetKnown:
    """The medium, from our copy of the state; `media` are those that may be signed with here."""
    if user is None:
        return NotYetKnown(Reason.USER_UNKNOWN)
    if user.medium not in media:
        return Refused(Reason.MEDIUM_UNSUPPORTED, header)
    if user.credential_id is None:
        # The officer may have been certified a moment ago, and know it before our copy does.
        return NotYetKnown(Reason.USER_HAS_NO_CERTIFICATE)
    certificate = certificates.get(user.credential_id)
    if certificate is None:
        return NotYetKnown(Reason.CERTIFICATE_UNKNOWN)
    if (certificate.user, certificate.medium) != (user.user, user.medium):
        return Refused(Reason.CERTIFICATE_MISMATCH, header)
    if certificate.refusal is not None:
        # Of another certificate, or of a suspension that was lifted, the officer may know before our copy, too.
        return NotYetKnown(certificate.refusal)
    if user.medium == TOKEN and header.documents > MAX_TOKEN_DOCUMENTS:
        return Refused(Reason.TOO_MANY_DOCUMENTS, header)
    return Resolved(user.medium, user.credential_id, user.channels)
