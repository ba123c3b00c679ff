"""The rule: who gets a code, until when it is tried, and how long it lives."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from libs.bus.outcomes import OVERTAKEN, Done, Outcome, Park, Poison, Rejected
from libs.bus.trust import vouches
from libs.contracts import signing
from libs.contracts.manifest import Header
from libs.contracts.reasons import Reason
from libs.contracts.resending import ResendRefusal, ResendRequested
from libs.contracts.signing import DELIVERY_WITHIN, MAX_LIVE_CHALLENGES, RESERVE_WITHIN, Channel, MediumResolved
from libs.contracts.state import User
from libs.crypto.service_certificates import ServiceIdentity
from services.otp_dispatch.addresses import Place, Reachable, reachable
from services.otp_dispatch.channels import Ceilings, Destination, destinations, too_low_for
from services.otp_dispatch.message import OtpMessage, otp_message

FIRST_WAIT: Final = timedelta(seconds=5)
LONGEST_WAIT: Final = timedelta(seconds=10)
"""Between two tries of a mailbox that says "later": doubling from the first to the longest. An officer waits there."""

Asked = MediumResolved | ResendRequested
"""What asks for a code: the request itself for its first, the officer for another."""


@dataclass(frozen=True)
class Ready:
    """A request whose user may get a code now, by one of `options`, the best first.

    `root` was computed here; a mailbox is tried until `deadline`. `new_from` is when a newer address gets codes,
    `total` in MYR what counts against the ceilings of the day, where there is one.
    """

    event: Asked
    root: bytes
    options: tuple[Destination, ...]
    deadline: datetime
    new_from: datetime | None = None
    total: Decimal = Decimal(0)

    @property
    def header(self) -> Header:
        """The header of its manifest."""
        return self.event.signed.manifest.header

    @property
    def resend(self) -> UUID | None:
        """The ask that its code answers; None for the first code."""
        return self.event.resend if isinstance(self.event, ResendRequested) else None

    def by(self, channel: str) -> Destination | None:
        """Where a code goes that was reserved for this channel."""
        return next((one for one in self.options if one.channel == channel), None)

    def message(self, *, otp: str, reference: str, expires_at: datetime) -> OtpMessage:
        """What the officer reads, on whichever channel. About 2 µs a document."""
        return otp_message(
            otp=otp,
            reference=reference,
            action=self.header.action,
            system=self.header.system,
            office=self.header.office,
            documents=self.event.signed.manifest.documents,
            expires_at=expires_at,
        )


@dataclass(frozen=True)
class Failed:
    """No code: `refusal` for who asked for another one, `reason` for the request whose first it would be."""

    refusal: ResendRefusal
    reason: Reason = Reason.OTP_UNDELIVERABLE
    detail: str = ""
    held_until: datetime | None = None


@dataclass(frozen=True)
class History:
    """The codes of a request so far: the highest number, and the last expiry of those that were delivered.

    `ended`: the request was refused here, because its first code could not be delivered, and no other was.
    """

    highest: int = 0
    expires_at: datetime | None = None
    ended: bool = False

    @property
    def left(self) -> int:
        """How many more there can be; the first has its number, whether it is reserved or not."""
        return 0 if self.ended else max(0, MAX_LIVE_CHALLENGES - max(1, self.highest))


def judge(
    event: Asked,
    *,
    identity: ServiceIdentity | None,
    key_known: bool,
    user: User | None,
    appended_at: datetime,
    waited: bool,
    now: datetime,
    history: History,
    ceilings: Ceilings,
    places: Sequence[Place] = (),
) -> Ready | Failed | Outcome:
    """Decide before anything is reserved. `identity` is what the caller's key stands for, None if it is not usable.

    `key_known` says whether our copy of the state has that key at all, `waited` that the request was parked before,
    `ceilings` up to what a code may go by which channel, `places` where the user's codes go and went.
    About 6 µs a document: call it off the event loop.
    """
    if isinstance(event, MediumResolved) and event.medium != "roaming-otp":
        return Done()
    header = event.signed.manifest.header
    root = event.signed.manifest.commitment().root
    genuine = vouches(identity, caller=header.caller, root=root, signature=event.signed.signature)
    if not genuine or identity is None or identity.unit != header.system or not _is_of(event, header):
        may_come = not key_known and not waited
        return Park(OVERTAKEN, "caller-key-unknown") if may_come else Poison(Reason.CALLER_SIGNATURE_INVALID)
    deadline = _deadline(event, appended_at, history)
    if now >= deadline:
        return Failed("too-late", detail="not delivered in time")
    if user is None:
        unknown = Failed("channel-unavailable", Reason.USER_UNKNOWN)
        return unknown if waited else Park(OVERTAKEN, Reason.USER_UNKNOWN)
    documents = event.signed.manifest.documents
    capped = too_low_for(documents, ceilings)
    ready = _ready(event, root, user, reachable(user, places, now), deadline, capped=capped)
    if isinstance(ready, Failed) or all(each.day is None for each in ceilings.values()):
        return ready
    return replace(ready, total=sum((Decimal(one.amount) for one in documents), Decimal(0)))


def wait(tries: int, *, now: datetime, deadline: datetime) -> timedelta:
    """For how long a mailbox that said "later" is left alone, after so many tries before; never past the deadline."""
    return min(FIRST_WAIT * (1 << min(tries, 10)), LONGEST_WAIT, max(deadline - now, timedelta()))


def rejected(header: Header, failed: Failed) -> Rejected:
    """The end of a request that cannot be delivered."""
    return Rejected(
        signing.Rejected(
            request_id=header.request_id,
            header=header,
            documents=None,
            stage="otp_dispatch",
            reason=failed.reason,
            detail=failed.detail,
            held_until=failed.held_until,
            safe_to_retry=failed.reason.safe_to_retry,
        )
    )


def _is_of(event: Asked, header: Header) -> bool:
    """Whether what stands beside the manifest is what the caller signed."""
    if isinstance(event, ResendRequested) and (event.caller, event.user) != (header.caller, header.user):
        return False
    return header.request_id == event.request_id


def _deadline(event: Asked, appended_at: datetime, history: History) -> datetime:
    """Until when this code may be delivered.

    Another code is of use as long as the signer keeps the request open for those that were delivered. Whether it was
    authorised or cancelled meanwhile is not known here: such a code opens nothing.
    """
    if isinstance(event, ResendRequested):
        if history.ended:
            return appended_at
        if history.expires_at is not None:
            return history.expires_at + RESERVE_WITHIN
    # The broker's time bounds it too: nobody keeps a request open by writing a later `requested_at`.
    return min(event.requested_at, appended_at) + DELIVERY_WITHIN


def undeliverable(detail: str, new_from: datetime | None) -> Failed:
    """No code there where codes go now; with a newer address it is a matter of time."""
    if new_from is not None:
        return Failed("channel-unavailable", Reason.OTP_ADDRESS_NEW, detail, held_until=new_from)
    return Failed("channel-unavailable", detail=detail)


def not_allowed(what: str, refused: Sequence[Destination]) -> Failed:
    """No code: this is above the ceiling of every channel that the officer has."""
    detail = f"{what} is too high for {' and '.join(one.channel for one in refused)}"
    return Failed("channel-unavailable", Reason.OTP_CHANNEL_NOT_ALLOWED, detail)


def _ready(
    event: Asked, root: bytes, registered: User, now: Reachable, deadline: datetime, *, capped: Collection[Channel]
) -> Ready | Failed:
    def found(user: User, but: Collection[Channel]) -> tuple[Destination, ...]:
        wanted: Channel | None = event.channel if isinstance(event, ResendRequested) else None
        return destinations(user, event.channels, wanted=wanted, but=but)

    options = found(now.user, capped)
    if options:
        return Ready(event, root, options, deadline, now.new_from)
    if found(registered, capped):
        return undeliverable("the address is too new", now.new_from)
    if refused := found(now.user, ()):
        return not_allowed("the total", refused)
    return Failed("channel-unavailable", detail="no channel that this officer has")
