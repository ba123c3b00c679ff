"""Dead letters as an operator sees them: what was buried, by whom, why, and what became of it since.

What became of a letter is a record of its own on the same topic, a resolution: the topic tells all, in its order.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, get_args

from libs.bus.dead_letter import PREFIX
from libs.bus.reader import Raw
from libs.contracts.cloudevents import Headers, Record

Deed = Literal["replayed", "discarded"]

_RESOLVES = PREFIX + "resolves"
_DEED = PREFIX + "resolution"
_OFFSET = re.compile(r"[0-9]{1,18}", re.ASCII)
_BY = PREFIX + "resolved-by"
_REASON = PREFIX + "resolution-reason"


@dataclass(frozen=True)
class Resolution:
    """What an operator did with a letter."""

    deed: Deed
    by: str
    reason: str
    at: datetime


@dataclass(frozen=True)
class Letter:
    """One dead letter. `number` is its offset on the dead-letter topic, which has one partition.

    `origin` is where the record lay (topic/partition/offset), `taken_at` the broker's time of it.
    """

    topic: str
    number: int
    service: str
    reason: str
    origin: str
    taken_at: str
    buried_at: datetime
    record: Record
    cut: bool
    """The record was larger than any topic takes: its hash is kept, its bytes are not."""
    resolutions: tuple[Resolution, ...] = field(default=())

    @property
    def name(self) -> str:
        """What the command line calls it: topic and number."""
        return f"{self.topic}:{self.number}"

    @property
    def state(self) -> str:
        """`open`, or the last deed."""
        return self.resolutions[-1].deed if self.resolutions else "open"


def resolution(letter: Letter, deed: Deed, *, by: str, reason: str) -> Record:
    """The record that says what was done with a letter."""
    said = {_RESOLVES: str(letter.number), _DEED: deed, _BY: by, _REASON: reason}
    return Record(f"{letter.topic}.dlq", None, b"", tuple((name, text.encode()) for name, text in said.items()))


def letters(topic: str, records: Iterable[Raw]) -> list[Letter]:
    """The letters among the records of a dead-letter topic, in its order, each with its resolutions."""
    found: dict[int, Letter] = {}
    done: dict[int, list[Resolution]] = {}
    for record in records:
        said = {name: bytes(value or b"").decode("utf-8", "replace") for name, value in record.headers}
        at = datetime.fromtimestamp(record.timestamp / 1000, UTC)
        if _OFFSET.fullmatch(said.get(_RESOLVES, "")) and (deed := _deed(said)):
            one = Resolution(deed, said.get(_BY, ""), said.get(_REASON, ""), at)
            done.setdefault(int(said[_RESOLVES]), []).append(one)
        else:
            found[record.offset] = _letter(topic, record, said, at)
    return [Letter(**(vars(letter) | {"resolutions": tuple(done.get(number, ()))})) for number, letter in found.items()]


def _deed(said: dict[str, str]) -> Deed | None:
    return next((deed for deed in get_args(Deed) if deed == said.get(_DEED)), None)


def _letter(topic: str, record: Raw, said: dict[str, str], at: datetime) -> Letter:
    kept: Headers = tuple((name, value or b"") for name, value in record.headers if not name.startswith(PREFIX))
    return Letter(
        topic=topic,
        number=record.offset,
        service=said.get(PREFIX + "service", ""),
        reason=said.get(PREFIX + "reason", ""),
        origin=f"{said.get(PREFIX + 'topic', '?')}/{said.get(PREFIX + 'partition', '?')}"
        f"/{said.get(PREFIX + 'offset', '?')}",
        taken_at=said.get(PREFIX + "appended-at", "?"),
        buried_at=at,
        record=Record(topic, record.key, record.value or b"", kept),
        cut=PREFIX + "sha256" in said,
    )
