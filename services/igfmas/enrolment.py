"""Officers and their applications, as two registrars (MyGPKI) confirm them; the PIN travels sealed to the signer."""

from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Literal, TypedDict
from uuid import UUID

from libs.contracts.enrolment import (
    AdministratorSignature,
    Application,
    ApplicationSubmitted,
    DeviceRegistration,
    DeviceRegistrationSubmitted,
    Revocation,
    RevocationRequested,
    SignedApplication,
    SignedTokenApplication,
    TokenApplication,
    TokenApplicationSubmitted,
    application_signature_input,
    credential_id_of,
    device_signature_input,
    revocation_signature_input,
    token_application_signature_input,
)
from libs.contracts.state import Certificate
from libs.contracts.suspension import (
    Lifting,
    LiftingRequested,
    SignedLifting,
    Suspension,
    SuspensionRequested,
    lifting_signature_input,
    suspension_signature_input,
)
from libs.gpki_client import Caller, SealingKey
from libs.gpki_client.device import Device


class TwoSignatures(TypedDict):
    """What stands beside a content that two registrars signed."""

    registrar_key: str
    signature: bytes
    second: AdministratorSignature


@dataclass(frozen=True)
class Registrars:
    """Who registers an officer, and who validates it: two people, of whom neither has the other's key."""

    registering: Caller
    validating: Caller

    def sign(self, content: bytes) -> TwoSignatures:
        """The signatures of both: the demonstration plays the two of them."""
        second = AdministratorSignature(key_id=self.validating.key_id, signature=self.validating.sign(content))
        first = self.registering
        return {"registrar_key": first.key_id, "signature": first.sign(content), "second": second}


@dataclass(frozen=True)
class Officer:
    """Someone who signs. The PIN is known to the officer only: the demonstration plays the officer."""

    application: UUID
    user: str
    name: str
    role: str
    email: str
    office: str
    algorithm: Literal["rsa-2048", "p-256"]
    pin: str = field(repr=False)

    @property
    def credential_id(self) -> UUID:
        """The credential that the application leads to."""
        return credential_id_of(self._application(b""))

    def application_submitted(self, registrars: Registrars, sealing_key: SealingKey) -> ApplicationSubmitted:
        """The confirmed application with the sealed PIN. Raises SecretsError for an impossible PIN."""
        sealed_pin = sealing_key.seal_pin(self.pin, user=self.user, credential_id=self.credential_id)
        application = self._application(sealed_pin)
        return ApplicationSubmitted(
            signed=SignedApplication(
                application=application, **registrars.sign(application_signature_input(application))
            ),
            sealing_key_id=sealing_key.key_id,
            sealed_pin=sealed_pin,
        )

    def _application(self, sealed_pin: bytes) -> Application:
        return Application(
            application=self.application,
            user=self.user,
            name=self.name,
            email=self.email,
            office=self.office,
            algorithm=self.algorithm,
            sealed_pin_sha256=sha256(sealed_pin).hexdigest(),
        )


def token_application_of(officer: Officer, csr: bytes, registrars: Registrars) -> TokenApplicationSubmitted:
    """The confirmed application of an officer whose key is in a token; `csr` is the token's own request (PKCS #10)."""
    application = TokenApplication(
        application=officer.application,
        user=officer.user,
        name=officer.name,
        email=officer.email,
        office=officer.office,
        csr_sha256=sha256(csr).hexdigest(),
    )
    signatures = registrars.sign(token_application_signature_input(application))
    signed = SignedTokenApplication(application=application, **signatures)
    return TokenApplicationSubmitted(signed=signed, csr=csr)


def revocation_of(
    credential_id: UUID, registrar: Caller, *, revocation: UUID, ordered_at: datetime
) -> RevocationRequested:
    """The registrar's order to revoke a certificate for good: the officer has left the office."""
    order = Revocation(
        revocation=revocation, credential_id=credential_id, reason="cessation-of-operation", ordered_at=ordered_at
    )
    return RevocationRequested(
        revocation=order, registrar_key=registrar.key_id, signature=registrar.sign(revocation_signature_input(order))
    )


def suspension_of(
    credential_id: UUID, registrar: Caller, *, suspension: UUID, ordered_at: datetime
) -> SuspensionRequested:
    """The registrar's order to suspend a certificate: something must be looked into first."""
    order = Suspension(suspension=suspension, credential_id=credential_id, ordered_at=ordered_at)
    return SuspensionRequested(
        suspension=order, registrar_key=registrar.key_id, signature=registrar.sign(suspension_signature_input(order))
    )


def lifting_of(
    suspended: Certificate, registrars: Registrars, *, lifting: UUID, ordered_at: datetime
) -> LiftingRequested:
    """The registrars' order to lift the suspension that both have before them."""
    order = Lifting(
        lifting=lifting, credential_id=suspended.credential_id, version=suspended.version, ordered_at=ordered_at
    )
    content = lifting_signature_input(order)
    first, second = (
        AdministratorSignature(key_id=one.key_id, signature=one.sign(content))
        for one in (registrars.registering, registrars.validating)
    )
    return LiftingRequested(signed=SignedLifting(lifting=order, signatures=(first, second)))


def device_registration_of(
    user: str, device: Device, registrars: Registrars, *, registration: UUID
) -> DeviceRegistrationSubmitted:
    """The officer's GPKI Mobile, as the registrars confirm it: this device's keys, seen where the officer stands."""
    confirmed = DeviceRegistration(
        registration=registration, user=user, sealing_key=device.sealing_key, signing_key=device.signing_key
    )
    return device_registered(confirmed, registrars)


def device_registered(confirmed: DeviceRegistration, registrars: Registrars) -> DeviceRegistrationSubmitted:
    """This registration with the signatures of both."""
    return DeviceRegistrationSubmitted(registration=confirmed, **registrars.sign(device_signature_input(confirmed)))
