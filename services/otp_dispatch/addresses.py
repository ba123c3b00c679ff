"""The rule of the changed address: where codes go, and from when on they go elsewhere (design section 4.9).

A place is a mailbox or a device. One that comes later gets codes a day after it came, by the broker's time, however
often it is said; until then the mailbox of before does. A device that was replaced gets none: it may be in a thief's
hand, and mail remains. What comes with the first enrolment works at once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from libs.contracts.signing import Channel
from libs.contracts.state import User
from services.otp_dispatch.notice_text import Change

WAIT: Final = timedelta(hours=24)
"""Between the change of an address and the first code that goes there."""

ENROLMENT: Final = timedelta(hours=24)
"""An officer is being enrolled until the first code, and no longer than this after the first state: what is registered
meanwhile works at once, so that a phone is handed over with the certificate, and a mistyped address is mended."""

FIRST_VERSIONS: Final = 2
"""The states of a first enrolment, those of the application and of the certificate. Of an officer who is met at a later
one something earlier was lost, which compaction has taken."""

LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""When that came which was known before anybody kept when."""

TOLD: Final = 10
"""Earlier mailboxes that are told of a change, the latest; each was told of the change that ended it, too."""


@dataclass(frozen=True, slots=True)
class Place:
    """Somewhere that codes go or went; `version` is that of the state that brought it."""

    channel: Channel
    version: int
    value: str
    since: datetime
    works_from: datetime
    until: datetime | None = None

    @property
    def counts(self) -> bool:
        """Whether it ever got codes, or will if it stays."""
        return self.until is None or self.works_from < self.until


@dataclass(frozen=True, slots=True)
class Reachable:
    """The officer with the mailbox and the device that codes go to now; `new_from` is when a later one gets them."""

    user: User
    new_from: datetime | None = None


def moved(kept: Sequence[Place], before: User | None, user: User, *, at: datetime, begun: bool) -> tuple[Place, ...]:
    """The officer's places after this state, which is newer than `before`. `at` is the broker's time of it.

    `begun` says whether the officer was ever to be sent a code.
    """
    if not kept and before is not None:
        kept = tuple(Place(channel, before.version, value, LONG_AGO, LONG_AGO) for channel, value in _values(before))
    first = at if not kept else min(place.since for place in kept)
    if not kept:
        works_from = at if user.version <= FIRST_VERSIONS else at + WAIT
    else:
        works_from = at if not begun and at - first < ENROLMENT else at + WAIT
    places, wanted = list(kept), dict(_values(user))
    for number, place in enumerate(kept):
        if place.until is None and wanted.get(place.channel) != place.value:
            places[number] = replace(place, until=at)
    for channel, value in wanted.items():
        if not any(place.channel == channel and place.until is None for place in places):
            # What was taken back before it ever counted: codes went on going there.
            same = in_use(kept, channel, at)
            known = channel == "e-mail" and same is not None and same.value == value
            places.append(Place(channel, user.version, value, at, at if known else works_from))
    return tuple(places)


def in_use(places: Iterable[Place], channel: Channel, at: datetime) -> Place | None:
    """Which place of this channel gets codes at this time: the latest whose time has come, before it was replaced."""
    found = [one for one in places if one.channel == channel and one.works_from <= at and one.counts]
    return max(found, key=lambda one: one.version, default=None)


def reachable(user: User, places: Sequence[Place], now: datetime) -> Reachable:
    """Where this officer's codes may go now. An officer without a row is as registered."""
    if not places:
        return Reachable(user)
    mailbox, phone = in_use(places, "e-mail", now), in_use(places, "gpki-mobile", now)
    device = user.device if phone is not None and phone.until is None else None
    coming = [one.works_from for one in places if one.until is None and one.works_from > now]
    usable = user.model_copy(update={"email": "" if mailbox is None else mailbox.value, "device": device})
    return Reachable(usable, min(coming, default=None))


def changes(before: User | None, user: User) -> tuple[Change, ...]:
    """What an officer is told of; of a first application, and of the first certificate, nothing."""
    if before is None:
        return ()
    found: list[Change] = []
    if user.email != before.email:
        found.append("e-mail-changed")
    if _device_id(user) != _device_id(before):
        found.append("device-changed")
    if before.credential_id not in (None, user.credential_id):
        found.append("certificate-changed")
    return tuple(found)


def mailboxes(places: Iterable[Place], before: User) -> tuple[str, ...]:
    """Every mailbox until now, the latest first."""
    mails = sorted((one for one in places if one.channel == "e-mail"), key=lambda one: one.version, reverse=True)
    return tuple(dict.fromkeys([before.email, *(one.value for one in mails)]))[:TOLD]


def _values(user: User) -> Iterable[tuple[Channel, str]]:
    yield "e-mail", user.email
    if user.device is not None:
        yield "gpki-mobile", user.device.device_id


def _device_id(user: User) -> str | None:
    return None if user.device is None else user.device.device_id
