"""Orders that take an officer's certificate out of use for a time, and give it back: one registrar takes, two give."""

import hashlib
from typing import Annotated
from uuid import UUID

from pydantic import Field

from libs.contracts.base import Base64, Event, Exact, Part, UtcTime
from libs.contracts.enrolment import AdministratorSignature
from libs.crypto.jcs import canonical

SUSPENSION_DOMAIN = b"gpki.suspension-signature.v1"
LIFTING_DOMAIN = b"gpki.lifting-signature.v1"


class Suspension(Exact):
    """A registrar's order to suspend a credential's certificate until two registrars lift that."""

    suspension: UUID
    credential_id: UUID
    ordered_at: UtcTime


class Lifting(Exact):
    """Two registrars' order to lift a suspension; good for a day from `ordered_at`.

    `version` is that of the suspended state in `gpki.certificate.v1`, as both have seen it: each further suspension
    makes another, which this order does not lift, and no order ever fits twice.
    """

    lifting: UUID
    credential_id: UUID
    version: Annotated[int, Field(gt=0, lt=2**53)]
    ordered_at: UtcTime


def suspension_signature_input(suspension: Suspension) -> bytes:
    """What a registrar signs to suspend: SUSPENSION_DOMAIN ‖ SHA-256(JCS(suspension))."""
    return _signature_input(SUSPENSION_DOMAIN, suspension)


def lifting_signature_input(lifting: Lifting) -> bytes:
    """What each registrar signs to lift a suspension: LIFTING_DOMAIN ‖ SHA-256(JCS(lifting))."""
    return _signature_input(LIFTING_DOMAIN, lifting)


class SignedLifting(Part):
    """A lifting and the signatures of two different people over `lifting_signature_input`."""

    lifting: Lifting
    signatures: tuple[AdministratorSignature, AdministratorSignature]


class SuspensionRequested(Event):
    """A suspension with the registrar's signature over "gpki.suspension-signature.v1" ‖ SHA-256(JCS(suspension))."""

    suspension: Suspension
    registrar_key: str
    signature: Base64

    @property
    def key(self) -> str:
        return str(self.suspension.credential_id)

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.suspension.suspension,)


class LiftingRequested(Event):
    """A lifting that two registrars signed; the authority follows it, and says it on with the state that it makes."""

    signed: SignedLifting

    @property
    def key(self) -> str:
        return str(self.signed.lifting.credential_id)

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.signed.lifting.lifting,)


def _signature_input(domain: bytes, signed: Exact) -> bytes:
    return domain + hashlib.sha256(canonical(signed.model_dump(mode="json"))).digest()
