"""What GPKI Mobile is answered. Answers change by addition only."""

from uuid import UUID

from libs.contracts.base import Base64, Part, UtcTime


class Message(Part):
    """A message that only its device can open (HPKE), with its request and the number of its code."""

    request_id: UUID
    number: int
    reference_code: str
    delivered_at: UtcTime
    expires_at: UtcTime
    message: Base64


class Messages(Part):
    """A device's messages, the newest last."""

    messages: tuple[Message, ...]


class Notice(Part):
    """What a device was told of a change, which only it can open (HPKE); inside is JSON {subject, body}."""

    notice: UUID
    told_at: UtcTime
    message: Base64


class Notices(Part):
    """A device's notices, the newest last."""

    notices: tuple[Notice, ...]
