"""The event of a notice: an officer's GPKI Mobile is told of a change, sealed to it; mailboxes are told by mail."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from libs.contracts.base import Base64, Event, UtcTime
from libs.contracts.state import Device


class OfficerTold(Event):
    """What one device is told: JSON {subject, body}, sealed to it (HPKE; purpose `notice`, notice, device id).

    `device` may be the one that was replaced just now: by the key that stands here it still proves itself, for its
    notices alone. No address and no code is in here.
    """

    notice: UUID
    user: str
    device: Device
    told_at: UtcTime
    message: Annotated[Base64, Field(max_length=8192)]

    @property
    def key(self) -> str:
        return self.user

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.notice,)
