"""The events of another code: the officer asks for one, and otp_dispatch says what came of that (slides' step 7)."""

from typing import Literal
from uuid import UUID

from libs.contracts.base import Event, UtcTime
from libs.contracts.manifest import SignedManifest
from libs.contracts.signing import Channel

ResendRefusal = Literal["too-many-codes", "too-late", "channel-unavailable", "held"]


class ResendRequested(Event):
    """Another code for this request; those that are live stay live. `resend` names this one ask.

    Beside the manifest stands what `medium-resolved` said of the request. `channel` None leaves the choice to the
    officer's registered preference. Believed only as far as the caller's signature over the root holds, and `caller`
    and `user` are those of the header.
    """

    request_id: UUID
    resend: UUID
    caller: str
    user: str
    channel: Channel | None
    signed: SignedManifest
    requested_at: UtcTime
    credential_id: UUID
    channels: tuple[Channel, ...]

    @property
    def key(self) -> str:
        return str(self.request_id)

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.request_id, self.resend)


class ResendAnswered(Event):
    """What came of one ask, said once: the code `number` was delivered (`otp-dispatched` says how), or why not.

    A refusal ends nothing: the request and its live codes are as they were. `codes_left` is how many more there can be.
    `held`: no code is sent to this officer before `held_until`.
    """

    request_id: UUID
    resend: UUID
    number: int | None
    refusal: ResendRefusal | None
    codes_left: int
    held_until: UtcTime | None = None

    @property
    def key(self) -> str:
        return str(self.request_id)

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.request_id, self.resend)
