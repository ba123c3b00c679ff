"""Commands of enrolment, from an officer's application to the issued certificate (preparation slides, 1 to 10)."""

import hashlib
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from libs.contracts.base import Base64, Event, Exact, Part, UtcTime
from libs.contracts.ids import event_id_of
from libs.contracts.manifest import Name, Text, UserId
from libs.contracts.reasons import Reason
from libs.crypto.jcs import canonical

APPLICATION_DOMAIN = b"gpki.application-signature.v1"
TOKEN_APPLICATION_DOMAIN = b"gpki.token-application-signature.v1"
DEVICE_DOMAIN = b"gpki.device-signature.v1"
REVOCATION_DOMAIN = b"gpki.revocation-signature.v1"

EMAIL = r"^[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,190}$"


class Application(Exact):
    """An officer's application for a roaming certificate, as the registrar confirmed it; every value a string.

    `sealed_pin_sha256` is the hex SHA-256 of the PIN as it was sealed to the signer: whoever hands the application on
    cannot put a PIN of his own beside it. Null, and then not in what is signed, stands for what was signed before that
    was asked for: no key is made for it.
    """

    application: UUID
    user: UserId
    name: Text
    email: Annotated[str, StringConstraints(pattern=EMAIL)]
    office: Name
    algorithm: Literal["rsa-2048", "p-256"] = "rsa-2048"
    sealed_pin_sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None


class TokenApplication(Exact):
    """An officer's application for a certificate over the key of a token, as the registrar confirmed it.

    `csr_sha256` is the hex SHA-256 of the token's PKCS#10 request in DER.
    """

    application: UUID
    user: UserId
    name: Text
    email: Annotated[str, StringConstraints(pattern=EMAIL)]
    office: Name
    csr_sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class DeviceRegistration(Exact):
    """An officer's GPKI Mobile, as the registrar confirmed it. Keys are raw, in hex; a new one replaces the old."""

    registration: UUID
    user: UserId
    sealing_key: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    signing_key: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


def application_signature_input(application: Application) -> bytes:
    """What a registrar signs to confirm an application: APPLICATION_DOMAIN ‖ SHA-256(JCS(application))."""
    return _signature_input(APPLICATION_DOMAIN, application)


def token_application_signature_input(application: TokenApplication) -> bytes:
    """What a registrar signs to confirm it: TOKEN_APPLICATION_DOMAIN ‖ SHA-256(JCS(application))."""
    return _signature_input(TOKEN_APPLICATION_DOMAIN, application)


def confirmation_input(application: Application | TokenApplication) -> bytes:
    """What a registrar signs to confirm an application, of either medium."""
    if isinstance(application, TokenApplication):
        return token_application_signature_input(application)
    return application_signature_input(application)


def device_signature_input(registration: DeviceRegistration) -> bytes:
    """What a registrar signs to confirm a device: DEVICE_DOMAIN ‖ SHA-256(JCS(registration))."""
    return _signature_input(DEVICE_DOMAIN, registration)


def credential_id_of(application: Application | TokenApplication) -> UUID:
    """The credential that this application leads to; whoever seals its PIN computes it beforehand."""
    return event_id_of("credential", application.application)


def is_confirmed_pin(application: Application, sealed_pin: bytes) -> bool:
    """Whether this is the sealed PIN that the registrars signed."""
    return hashlib.sha256(sealed_pin).hexdigest() == application.sealed_pin_sha256


class AdministratorSignature(Part):
    """One administrator's signature; the key is a registrar's of `gpki.keys.v1`."""

    key_id: str
    signature: Base64


class SignedApplication(Part):
    """An application, signed by the registrar who registered it and by `second`, another person, who validated it.

    Both sign "gpki.application-signature.v1" ‖ SHA-256(JCS(application)). Without a second it is nobody's: null stands
    for what was signed before two people were asked for.
    """

    application: Application
    registrar_key: str
    signature: Base64
    second: AdministratorSignature | None = None


class ApplicationSubmitted(Event):
    """The officer's application with the PIN that the officer chose, sealed to the signer where it was typed."""

    signed: SignedApplication
    sealing_key_id: str
    sealed_pin: Annotated[Base64, Field(max_length=4096)]

    @property
    def key(self) -> str:
        return str(self.signed.application.application)

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.signed.application.application,)


class KeyRequested(Event):
    """Enrolment asks the signer for a key pair under this PIN."""

    signed: SignedApplication
    credential_id: UUID
    sealing_key_id: str
    sealed_pin: Base64

    @property
    def key(self) -> str:
        return str(self.signed.application.application)

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.signed.application.application,)


class CertificateRequested(Event):
    """The signer made the key pair; `csr` is PKCS#10 DER signed with the new key."""

    signed: SignedApplication
    credential_id: UUID
    csr: Base64

    @property
    def key(self) -> str:
        return str(self.signed.application.application)

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.signed.application.application,)


class SignedTokenApplication(Part):
    """A token application, and two registrars' signatures over `token_application_signature_input`."""

    application: TokenApplication
    registrar_key: str
    signature: Base64
    second: AdministratorSignature | None = None


class TokenApplicationSubmitted(Event):
    """A token's application; `csr` is PKCS#10 DER that the token signed with its own key."""

    signed: SignedTokenApplication
    csr: Annotated[Base64, Field(max_length=8192)]

    @property
    def key(self) -> str:
        return str(self.signed.application.application)

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.signed.application.application,)


class TokenCertificateRequested(Event):
    """Enrolment registered the officer; the authority certifies the token's key."""

    signed: SignedTokenApplication
    credential_id: UUID
    csr: Base64

    @property
    def key(self) -> str:
        return str(self.signed.application.application)

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.signed.application.application,)


class DeviceRegistrationSubmitted(Event):
    """A GPKI Mobile device of an officer, with two registrars' signatures over `device_signature_input`."""

    registration: DeviceRegistration
    registrar_key: str
    signature: Base64
    second: AdministratorSignature | None = None

    @property
    def key(self) -> str:
        return str(self.registration.registration)

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.registration.registration,)


RevocationReason = Literal["key-compromise", "affiliation-changed", "superseded", "cessation-of-operation"]


class Revocation(Exact):
    """A registrar's order to revoke a credential's certificate for good."""

    revocation: UUID
    credential_id: UUID
    reason: RevocationReason
    ordered_at: UtcTime


def revocation_signature_input(revocation: Revocation) -> bytes:
    """What a registrar signs to order a revocation: REVOCATION_DOMAIN ‖ SHA-256(JCS(revocation)).

    `ordered_at` stands in it as in this model's JSON: UTC with Z, and microseconds only when there are any.
    """
    return _signature_input(REVOCATION_DOMAIN, revocation)


class RevocationRequested(Event):
    """A revocation with the registrar's signature over "gpki.revocation-signature.v1" ‖ SHA-256(JCS(revocation))."""

    revocation: Revocation
    registrar_key: str
    signature: Base64

    @property
    def key(self) -> str:
        return str(self.revocation.revocation)

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.revocation.revocation,)


class ApplicationRefused(Event):
    """Enrolment, signer or authority refused an application; nothing was created.

    `detail` is for the registrar; `reason`, where there is one, is for the officer: its texts are in the catalogues.
    """

    application: UUID
    user: str
    stage: str
    detail: str
    reason: Reason | None = None

    @property
    def key(self) -> str:
        return str(self.application)

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.application, self.stage)


def _signature_input(domain: bytes, signed: Exact) -> bytes:
    return domain + hashlib.sha256(canonical(signed.model_dump(mode="json", exclude_none=True))).digest()
