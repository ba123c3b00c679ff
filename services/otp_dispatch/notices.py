"""Notices of a change: mails, and what GPKI Mobile shows. Fixed with the change; a mail is sent when its timer is due.

The same mail each time: a crash between the relay's answer and the record repeats it under its Message-ID. Nobody who
wants a code waits for one: a relay that is away parks the notice, never the worker, and its mails are counted apart.
"""

import asyncio
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar
from uuid import UUID

import structlog

from libs.bus.delivery import Delivery
from libs.bus.outcomes import Done, Emit, Outcome, Park, Unavailable
from libs.bus.work import Recording, Work
from libs.contracts.base import Event
from libs.contracts.ids import event_id_of
from libs.contracts.notice import OfficerTold
from libs.contracts.state import Device
from libs.contracts.topics import Topic
from libs.runtime.clock import Clock
from libs.storage.queries import load_queries
from services.otp_dispatch.channels import is_plain, sealed_notice
from services.otp_dispatch.mail import letter
from services.otp_dispatch.notice_text import NoticeText
from services.otp_dispatch.relay import Deferred, Delivered, Refused
from services.otp_dispatch.under_way import Deliveries, UnderWay

FIRST_WAIT: Final = timedelta(minutes=1)
LONGEST_WAIT: Final = timedelta(hours=1)
"""Between two tries of a notice: doubling from the first to the longest."""

GIVE_UP: Final = timedelta(days=5)
"""After so long a mailbox that says "later" is left in peace, as relays do (RFC 5321 section 4.5.4.1)."""

LOOK_AGAIN: Final = timedelta(seconds=5)
"""Between two looks at a notice that the relay has and has not answered."""

_SQL = load_queries(Path(__file__).parent / "sql" / "notices.sql")

_MESSAGE_ID_BYTES: Final = 16

E = TypeVar("E", bound=Event)

log = structlog.get_logger()


class NoticeDue(Event):
    """The timer of one notice."""

    notice: UUID

    @property
    def key(self) -> str:
        return str(self.notice)

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.notice,)


NOTICE: Final = Topic("timer.otp_dispatch.notice", NoticeDue, "key")


@dataclass(frozen=True, slots=True)
class Notice:
    """One mail to one mailbox, as it was fixed."""

    notice_id: UUID
    user_id: str
    address: str
    subject: str
    body: str
    message_id: str
    made_at: datetime


class Notices:
    """Fixes notices and sends them."""

    def __init__(self, *, deliveries: Deliveries, sender: str, told: Topic, clock: Clock) -> None:
        self._deliveries = deliveries
        self._sender = sender
        self._domain = sender.rpartition("@")[2]
        self._told = told
        self._clock = clock

    async def fix(
        self,
        recording: Recording[E],
        delivery: Delivery[E],
        *,
        user: str,
        text: NoticeText,
        addresses: Iterable[str],
        device: Device | None,
    ) -> tuple[Emit, ...]:
        """Fix one notice a mailbox, and one for the device, in the transaction of what they tell of; settle with these.

        Of one cause each has one.
        """  # fmt: skip
        now, cause = self._clock(), delivery.event.uniqueness
        for address in filter(is_plain, addresses):
            notice = event_id_of("notice", *cause, address)
            message_id = f"<{secrets.token_hex(_MESSAGE_ID_BYTES)}@{self._domain}>"
            row = (notice, user, address, text.subject, text.body, message_id, now)
            if await recording.connection.fetchval(_SQL["put"], *row) is not None:
                await recording.set_timer(NOTICE, NoticeDue(notice=notice), request_id=notice, at=now)
        if device is None:
            return ()
        notice = event_id_of("notice", *cause, device.device_id)
        sealed = sealed_notice(device, text, notice)
        told = OfficerTold(notice=notice, user=user, device=device, told_at=delivery.appended_at, message=sealed)
        return (Emit(self._told, told),)

    async def tell(self, work: Work[NoticeDue]) -> None:
        """Give what is due to the relay, all at once, and record the answers. A relay that is away raises nothing."""
        async with work.reading() as connection:
            rows = await connection.fetch(_SQL["open"], [delivery.event.notice for delivery in work.deliveries])
        kept = {row["notice_id"]: Notice(**row) for row in rows}
        answers = await asyncio.gather(
            *(self._send(delivery, kept.get(delivery.event.notice)) for delivery in work.deliveries)
        )
        decided = {delivery.id: answer for delivery, answer in zip(work.deliveries, answers, strict=True)}
        async with work.recording(*work.deliveries) as recording:
            for delivery in recording.deliveries:
                answer = decided[delivery.id]
                if isinstance(answer, str):
                    await recording.connection.execute(_SQL["answered"], delivery.event.notice, answer, self._clock())
                recording.settle(delivery, Done() if isinstance(answer, str) else answer)

    async def _send(self, delivery: Delivery[NoticeDue], notice: Notice | None) -> str | Outcome:
        """What became of it, or when to look again."""
        if notice is None:
            return Done()  # a twin has recorded the answer meanwhile
        tries = 0 if delivery.parked is None else delivery.parked.tries
        content = letter(
            notice.subject,
            notice.body,
            sender=self._sender,
            to=notice.address,
            name=notice.message_id,
            date=notice.made_at,
        )
        try:
            answer = await self._deliveries.deliver(
                notice.message_id, content, sender=self._sender, recipient=notice.address
            )
        except Unavailable:
            return Park(wait(tries), "relay away")
        log.info("notice", notice=str(notice.notice_id), answer=type(answer).__name__)
        match answer:
            case Delivered():
                return "delivered"
            case Refused(code):
                return f"refused: {code}"
            case UnderWay():
                return Park(LOOK_AGAIN, "not answered for")
            case Deferred(code):
                late = self._clock() - notice.made_at > GIVE_UP
                return f"given up: {code}" if late else Park(wait(tries), f"mailbox {code}")


def wait(tries: int) -> timedelta:
    """For how long a notice is left alone after so many tries before."""
    return min(FIRST_WAIT * (1 << min(tries, 10)), LONGEST_WAIT)
