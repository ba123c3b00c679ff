"""What the authority publishes of a certificate or key: full state with a version, the same whenever it is said."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from libs.contracts.enrolment import Application, ApplicationRefused, TokenApplication
from libs.contracts.signing import Medium
from libs.contracts.state import Certificate, Key
from libs.contracts.suspension import SignedLifting
from services.certificate_authority.issuance import Profile, Refused
from services.certificate_authority.store import ServiceKey

STAGE = "certificate_authority"

_PURPOSES: dict[Profile, Literal["caller", "registrar", "producer"]] = {
    Profile.CALLER: "caller",
    Profile.REGISTRAR: "registrar",
    Profile.PRODUCER: "producer",
}


def good(credential_id: UUID, user: str, medium: Medium, der: bytes, issuer: x509.Certificate) -> Certificate:
    """Version 1: the certificate was issued."""
    return Certificate(
        credential_id=credential_id,
        user=user,
        version=1,
        medium=medium,
        status="good",
        certificate=der,
        issuer=issuer.public_bytes(Encoding.DER),
        status_since=x509.load_der_x509_certificate(der).not_valid_before_utc,
    )


def suspended(state: Certificate, version: int, since: datetime) -> Certificate:
    """A further version: it may not be used until two registrars lift that."""
    return state.model_copy(update={"version": version, "status": "suspended", "status_since": since})


def lifted(state: Certificate, version: int, at: datetime, by: SignedLifting) -> Certificate:
    """A further version: it is good again, with the order that says so to whoever does not believe us."""
    return state.model_copy(update={"version": version, "status_since": at, "lifting": by})


def revoked(state: Certificate, version: int, at: datetime) -> Certificate:
    """The last version: it was revoked."""
    return state.model_copy(update={"version": version, "status": "revoked", "status_since": at})


def key_state(key: ServiceKey) -> Key:
    """Version 1: certified, directly under the service root. Version 2, the last: another key took its place."""
    return Key(
        key_id=key.key_id,
        version=1 if key.retired_at is None else 2,
        purpose=_PURPOSES[key.profile],
        owner=key.owner,
        chain=(key.certificate,),
        retired_at=key.retired_at,
    )


def refusal(application: Application | TokenApplication, refused: Refused) -> ApplicationRefused:
    """The registrar's application was refused; nothing was issued."""
    return ApplicationRefused(
        application=application.application, user=application.user, stage=STAGE, detail=refused.detail
    )
