"""The rule of the channel: where this officer's code may go, in the officer's order of preference."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, Final
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from libs.contracts.signing import Channel
from libs.contracts.state import Device, User
from libs.crypto.sealing import PURPOSE_NOTICE, PURPOSE_OTP_MESSAGE, seal, sealing_info
from services.otp_dispatch.message import OtpMessage, Payment, totals
from services.otp_dispatch.notice_text import NoticeText

CEILING_CURRENCY: Final = "MYR"

_ADDRESS: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,190}")
"""A plain address. Mail libraries parse anything else as they like, and then a code goes to somebody else."""

_HINT: Final = 4
"""Characters of a device's id that tell an officer's phone from the one before."""


@dataclass(frozen=True)
class Mailbox:
    """An officer's e-mail."""

    channel: ClassVar[Channel] = "e-mail"
    address: str

    @property
    def hint(self) -> str:
        """The mailbox as its owner knows it."""
        return masked(self.address)


@dataclass(frozen=True)
class Phone:
    """An officer's GPKI Mobile."""

    channel: ClassVar[Channel] = "gpki-mobile"
    device: Device

    @property
    def hint(self) -> str:
        """The phone as its owner knows it."""
        return f"GPKI Mobile {self.device.device_id[:_HINT]}"


Destination = Mailbox | Phone


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Up to what in MYR a code may go by one channel; None: up to anything.

    `request` is for the total of one request, `day` for that of an officer's requests of 24 hours.
    """

    request: Decimal | None = None
    day: Decimal | None = None

    @property
    def of_one(self) -> Decimal | None:
        """The highest total of one request: more than a day's never fits into a day."""
        return min((each for each in (self.request, self.day) if each is not None), default=None)


Ceilings = Mapping[Channel, Ceiling]

BOUNDS: Final[Mapping[Channel, tuple[Channel, ...]]] = {"gpki-mobile": ("gpki-mobile", "e-mail"), "e-mail": ("e-mail",)}
"""What a channel's ceiling is for: the channel, and what is a lower assurance; who has passed it is not sent there."""


def destinations(
    user: User, allowed: Collection[Channel], *, wanted: Channel | None, but: Collection[Channel] = ()
) -> tuple[Destination, ...]:
    """Where the code may go, best first; `wanted` leaves one channel, and `but` takes channels away."""
    found: list[Destination] = []
    for channel in user.channels:
        if channel not in allowed or channel in but or wanted not in (None, channel):
            continue
        if channel == "gpki-mobile" and user.device is not None:
            found.append(Phone(user.device))
        if channel == "e-mail" and is_plain(user.email):
            found.append(Mailbox(user.email))
    return tuple(found)


def is_plain(address: str) -> bool:
    """Whether a mail may go there at all."""
    return _ADDRESS.fullmatch(address) is not None


def too_low_for(documents: Sequence[Payment], ceilings: Ceilings) -> frozenset[Channel]:
    """The channels by which no code may go for these documents: their total is above a ceiling of one request.

    Any other currency counts as above: nobody here converts it. About 2 µs a document where there is a ceiling.
    """
    of_one = {channel: each.of_one for channel, each in ceilings.items() if each.of_one is not None}
    found = totals(documents) if of_one else []
    return frozenset(
        bounded
        for channel, ceiling in of_one.items()
        if any(each.currency != CEILING_CURRENCY or each.total > ceiling for each in found)
        for bounded in BOUNDS[channel]
    )


def sealed_to(device: Device, text: OtpMessage, *, request_id: UUID, reference_code: str) -> bytes:
    """What the officer reads in GPKI Mobile, for this device alone: JSON {subject, body, reference_code}, sealed."""
    content = {"subject": text.subject, "body": text.body, "reference_code": reference_code}
    info = sealing_info(PURPOSE_OTP_MESSAGE, str(request_id), device.device_id)
    public_key = X25519PublicKey.from_public_bytes(device.sealing_key)
    return seal(json.dumps(content, ensure_ascii=False).encode(), public_key, info)


def sealed_notice(device: Device, text: NoticeText, notice: UUID) -> bytes:
    """What GPKI Mobile shows of a change, for this device alone: JSON {subject, body}, sealed."""
    content = {"subject": text.subject, "body": text.body}
    info = sealing_info(PURPOSE_NOTICE, str(notice), device.device_id)
    public_key = X25519PublicKey.from_public_bytes(device.sealing_key)
    return seal(json.dumps(content, ensure_ascii=False).encode(), public_key, info)


def masked(address: str) -> str:
    """An address as a hint to its owner: the first letter and the domain."""
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}***@{domain}"
