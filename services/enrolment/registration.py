"""What becomes of an officer: by an application, and by a certificate."""

from dataclasses import dataclass, replace
from uuid import UUID

from libs.contracts.enrolment import Application, TokenApplication, credential_id_of
from libs.contracts.signing import Channel, Medium
from libs.contracts.state import Certificate, Device, User

AnyApplication = Application | TokenApplication


@dataclass(frozen=True, slots=True)
class Officer:
    """An officer and the version of the state that was published last; 0 before the first.

    `medium` is the credential's; without one, that of the last application.
    """

    user_id: str
    version: int
    name: str
    email: str
    office: str
    credential_id: UUID | None
    live: bool
    medium: Medium
    device: Device | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """An application that leads nowhere; `detail` is plain text for the registrar."""

    detail: str


def medium_of(application: AnyApplication) -> Medium:
    """The medium that an application is for."""
    return "token" if isinstance(application, TokenApplication) else "roaming-otp"


def apply(officer: Officer, application: AnyApplication) -> Officer | Refused:
    """The officer as the registrar confirmed him; the credential changes only with a certificate.

    A certificate that is not revoked is no reason against one of the other medium: the officer moves.
    """
    medium = medium_of(application)
    if officer.live and officer.medium == medium:
        return Refused("the officer has a certificate that is not revoked")
    confirmed = _confirmed(officer, application)
    return replace(confirmed, medium=medium) if officer.credential_id is None else confirmed


def certified(officer: Officer, application: AnyApplication, certificate: Certificate, *, is_new: bool) -> Officer:
    """The officer after news of the certificate that this application led to; new is what nothing was heard of before.

    A new certificate gives the officer its credential and medium, with what the registrar confirmed for it, which ends
    the right to sign with any other; a revoked one only ends the right to it, and one that is suspended, or good again,
    changes nothing: who moved away from it does not come back by it. The version rises when there is something new to
    say.
    """
    if certificate.status == "revoked":
        return replace(officer, live=False) if officer.credential_id == certificate.credential_id else officer
    if not is_new or officer.credential_id == certificate.credential_id:
        return officer
    return replace(
        _confirmed(officer, application),
        credential_id=credential_id_of(application),
        live=True,
        medium=medium_of(application),
    )


def user_state(officer: Officer) -> User:
    """The officer as every service knows him."""
    return User(
        user=officer.user_id,
        version=officer.version,
        name=officer.name,
        email=officer.email,
        office=officer.office,
        medium=officer.medium,
        channels=_channels(officer),
        credential_id=officer.credential_id,
        device=officer.device,
    )


def _channels(officer: Officer) -> tuple[Channel, ...]:
    """Where codes go, what the officer prefers first; a token needs none."""
    if officer.medium == "token":
        return ()
    return ("e-mail",) if officer.device is None else ("gpki-mobile", "e-mail")


def _confirmed(officer: Officer, application: AnyApplication) -> Officer:
    return replace(
        officer,
        version=officer.version + 1,
        name=application.name,
        email=application.email,
        office=application.office,
    )
