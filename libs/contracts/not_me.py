"""The event "not me": an officer's GPKI Mobile says that a code was not asked for by its officer."""

import hashlib
from datetime import datetime, timedelta
from typing import Annotated, Final
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import Field, StringConstraints

from libs.contracts.base import Base64, Event, Exact, UtcTime
from libs.contracts.manifest import UserId
from libs.contracts.state import User
from libs.crypto.jcs import canonical
from libs.crypto.signatures import verify

DOMAIN: Final = b"gpki.not-me.v1"

IN_TIME: Final = timedelta(minutes=5)
"""Between what the device says and the broker's time: who copied a statement cannot use it another day."""

HOLD: Final = timedelta(hours=1)
"""No code for the officer for so long after the statement; said again, the same statement holds no longer."""

NOT_OF_THE_REQUEST: Final = "not-me: not of the officer's request"
"""A device speaks for its officer's requests alone."""


class NotMeStatement(Exact):
    """What the device signs; `said_at` in whole seconds."""

    request_id: UUID
    user: UserId
    device_id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    reference_code: Annotated[str, StringConstraints(pattern=r"^[0-9A-Z]{3,8}$")]
    said_at: UtcTime


class NotMe(Event):
    """The officer did not ask for the code of this reference: the request ends, and no further code is sent for a time.

    Believed only as far as the signature of the officer's registered device holds.
    """

    statement: NotMeStatement
    signature: Annotated[Base64, Field(max_length=96)]

    @property
    def request_id(self) -> UUID:
        """The request that is to be stopped."""
        return self.statement.request_id

    @property
    def key(self) -> str:
        return str(self.request_id)

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.request_id, self.signature.hex())


def not_me_signature_input(statement: NotMeStatement) -> bytes:
    """What the device signs: DOMAIN ‖ SHA-256(JCS(statement)), `said_at` as in JSON: UTC with Z."""
    return DOMAIN + hashlib.sha256(canonical(statement.model_dump(mode="json"))).digest()


def disbelieved(event: NotMe, user: User | None, at: datetime) -> str | None:
    """Why this is not the word of the officer's device; None when it is. `at` is the broker's time of it."""
    said = event.statement
    device = None if user is None else user.device
    if user is None or device is None or (user.user, device.device_id) != (said.user, said.device_id):
        return "not-me: not of the officer's device"
    key = Ed25519PublicKey.from_public_bytes(device.signing_key)
    if not verify(key, event.signature, not_me_signature_input(said)):
        return "not-me: the signature does not hold"
    return None if abs(at - said.said_at) <= IN_TIME else "not-me: not of this time"
