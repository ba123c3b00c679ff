"""What is done to the PIN of a credential that exists: changed by its officer, unlocked by two administrators."""

import hashlib
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from libs.contracts.base import Base64, Event, Exact, UtcTime
from libs.contracts.enrolment import AdministratorSignature
from libs.contracts.manifest import UserId
from libs.contracts.reasons import Reason
from libs.crypto.jcs import canonical

PIN_CHANGE_DOMAIN = b"gpki.pin-change-signature.v1"
PIN_UNLOCK_DOMAIN = b"gpki.pin-unlock-signature.v1"

Sha256Hex = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class PinChange(Exact):
    """An officer's wish for another PIN, as GPKI Mobile signs it.

    The device's key is the second factor, in the place of an OTP that it would show: an officer without a device has
    no other way than a new certificate, since an OTP by e-mail must not change a PIN (design section 4.8).
    `sealed_sha256` is the hex SHA-256 of both PINs as they were sealed to the signer.
    """

    change: UUID
    user: UserId
    credential_id: UUID
    device_id: Sha256Hex
    sealing_key_id: Sha256Hex
    sealed_sha256: Sha256Hex


def pin_change_signature_input(change: PinChange) -> bytes:
    """What the device signs (Ed25519): PIN_CHANGE_DOMAIN ‖ SHA-256(JCS(change))."""
    return _signature_input(PIN_CHANGE_DOMAIN, change)


class PinChangeSubmitted(Event):
    """A change with the device's signature; `sealed` holds the PIN that was and the PIN that is to be."""

    change: PinChange
    sealed: Annotated[Base64, Field(max_length=4096)]
    signature: Base64

    @property
    def key(self) -> str:
        return str(self.change.credential_id)

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.change.change,)


class PinUnlock(Exact):
    """Two administrators' order to give a locked PIN its tries again; good for a day from `ordered_at`."""

    unlock: UUID
    credential_id: UUID
    ordered_at: UtcTime


def pin_unlock_signature_input(order: PinUnlock) -> bytes:
    """What each administrator signs: PIN_UNLOCK_DOMAIN ‖ SHA-256(JCS(order))."""
    return _signature_input(PIN_UNLOCK_DOMAIN, order)


class PinUnlockOrdered(Event):
    """An order and the signatures of two different people."""

    order: PinUnlock
    signatures: tuple[AdministratorSignature, AdministratorSignature]

    @property
    def key(self) -> str:
        return str(self.order.credential_id)

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.order.unlock,)


class PinAnswered(Event):
    """What became of a change or an unlock; `answers` is its id. `attempts_left` is said with `pin-incorrect` alone."""

    answers: UUID
    credential_id: UUID
    user: str
    result: Literal["changed", "unlocked", "refused"]
    reason: Reason | None = None
    attempts_left: int | None = None

    @property
    def key(self) -> str:
        return str(self.credential_id)

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.answers,)


def _signature_input(domain: bytes, signed: Exact) -> bytes:
    return domain + hashlib.sha256(canonical(signed.model_dump(mode="json"))).digest()
