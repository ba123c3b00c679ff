"""State topics: compacted, full state with a version; the highest version wins."""

from typing import Literal
from uuid import UUID

from libs.contracts.base import Base64, Event, Part, UtcTime
from libs.contracts.reasons import Reason
from libs.contracts.signing import Channel, Medium
from libs.contracts.suspension import SignedLifting

_REFUSALS = {"good": None, "suspended": Reason.CERTIFICATE_SUSPENDED, "revoked": Reason.CERTIFICATE_REVOKED}


class Device(Part):
    """An officer's GPKI Mobile: messages are sealed to one key (X25519), it proves itself by the other (Ed25519).

    `device_id` is the hex SHA-256 of the signing key's SubjectPublicKeyInfo; keys are raw, 32 bytes.
    """

    device_id: str
    sealing_key: Base64
    signing_key: Base64
    registered_at: UtcTime


class User(Event):
    """A registered officer. `credential_id` is null until a certificate was issued.

    `channels` are in the officer's order of preference; `device` is the one GPKI Mobile that is registered.
    """

    user: str
    version: int
    name: str
    email: str
    office: str
    medium: Medium
    channels: tuple[Channel, ...]
    credential_id: UUID | None
    device: Device | None = None

    @property
    def key(self) -> str:
        return self.user

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.user, self.version)


class Certificate(Event):
    """An officer's certificate and its status; revocation counts at once, whatever the CRL says.

    It is issued as version 1. What is good again after that was lifted: `lifting` is the order, of the version before.
    """

    credential_id: UUID
    user: str
    version: int
    medium: Medium
    status: Literal["good", "suspended", "revoked"]
    certificate: Base64
    issuer: Base64
    status_since: UtcTime
    lifting: SignedLifting | None = None

    @property
    def key(self) -> str:
        return str(self.credential_id)

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.credential_id, self.version)

    @property
    def refusal(self) -> Reason | None:
        """Why its status forbids to use it, None while it is good."""
        return _REFUSALS[self.status]


class Key(Event):
    """A public key of a caller, a producer or the signer's seal, as a certificate chain under the service root.

    `chain` runs from the key's own certificate up to, not including, the service root (DER).
    """

    key_id: str
    version: int
    purpose: Literal["caller", "registrar", "producer", "sealing"]
    owner: str
    chain: tuple[Base64, ...]
    retired_at: UtcTime | None

    @property
    def key(self) -> str:
        return self.key_id

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.key_id, self.version)
