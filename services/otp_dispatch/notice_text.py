"""What an officer is told of a change: what, when, and whom to call. Nothing secret, and no link."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from libs.contracts.texts import Language, notice_text
from services.otp_dispatch.message import MALAYSIA

Change = Literal[
    "e-mail-changed",
    "device-changed",
    "certificate-changed",
    "certificate-suspended",
    "certificate-lifted",
    "certificate-revoked",
    "pin-changed",
    "pin-unlocked",
]
"""Its texts are in `libs/contracts/texts/notices.*`."""

ENGLISH: Final = "-- English --"


@dataclass(frozen=True, slots=True)
class Told:
    """One change: `place` is the new mailbox or device as its owner knows it, `works_from` when it gets codes."""

    change: Change
    place: str = ""
    works_from: datetime | None = None


@dataclass(frozen=True, slots=True)
class NoticeText:
    """A subject and a plain-text body."""

    subject: str
    body: str


def notice_of(told: Sequence[Told], *, at: datetime) -> NoticeText:
    """The message in Malay, then English; `at` is when it was changed. The same for the same, whenever it is made."""
    titles = [
        ", ".join(notice_text(one.change, language, **_values(one, at)).title for one in told) for language in _BOTH
    ]
    parts = [_part(told, at, language) for language in _BOTH]
    return NoticeText(subject=f"GPKI: {' / '.join(titles)}", body=f"\n\n{ENGLISH}\n\n".join(parts) + "\n")


_BOTH: Final[tuple[Language, ...]] = ("ms", "en")


def _part(told: Sequence[Told], at: datetime, language: Language) -> str:
    texts = [notice_text(one.change, language, **_values(one, at)) for one in told]
    return "\n\n".join(f"{each.detail}\n{each.next_step}" for each in texts)


def _values(one: Told, at: datetime) -> dict[str, str]:
    return {
        "changed_at": _shown(at),
        "works_from": _shown(max(at, one.works_from or at)),
        "place": one.place,
    }


def _shown(at: datetime) -> str:
    return f"{at.astimezone(MALAYSIA):%H:%M, %d/%m/%Y}"
