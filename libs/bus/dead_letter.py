"""Dead letters: the record as it came, with its coordinates and the reason beside it; and when there are too many."""

from collections import deque
from hashlib import sha256

from libs.bus.delivery import Delivery, Undecodable
from libs.contracts.base import Event
from libs.contracts.cloudevents import Record, size
from libs.contracts.ids import event_id_of
from libs.contracts.topics import MAX_DEAD_LETTER_BYTES
from libs.storage.ledger import Outcome

IN_A_ROW = 20
"""Dead letters one after another that stop a consumer of topics that only we write: it would drain the topic away."""

WINDOW = 100
RATIO = 0.5
"""Or this part of the last WINDOW records."""

PREFIX = "x-dead-letter-"
"""Of the headers that are ours; a sender's own of this name are dropped."""

_ROOM = 4096
"""Bytes for what is added to the record, and for the broker's own framing."""


def dead_letter(refused: Delivery[Event] | Undecodable, why: str, *, service: str) -> Outcome:
    """The dead letter of a record that `service` cannot process; `why` names no value of it.

    The same record makes the same dead letter.

    A record that is larger than any topic of ours takes (it was compressed) is named by its hash instead of kept.
    """
    coordinates, record = refused.coordinates, refused.record
    added = {
        "topic": coordinates.topic,
        "partition": str(coordinates.partition),
        "offset": str(coordinates.offset),
        "appended-at": refused.appended_at.isoformat(),
        "service": service,
        "reason": why,
    }
    kept = tuple((name, value) for name, value in record.headers if not name.startswith(PREFIX))
    key, value = record.key, record.value
    if size(record) > MAX_DEAD_LETTER_BYTES - _ROOM:
        added["sha256"] = sha256(value).hexdigest()
        key, value, kept = None, b"", ()
    headers = (*kept, *((PREFIX + name, text.encode()) for name, text in added.items()))
    return Outcome(
        event_id=event_id_of("dead-letter", coordinates.id),
        cause=refused.cause,
        record=Record(refused.topic.dead_letter, key, value, headers),
    )


class DeadLetterLimit:
    """Counts what became of records, one by one; `reached` once too many of them were dead letters."""

    def __init__(self) -> None:
        self._last: deque[bool] = deque(maxlen=WINDOW)
        self._in_a_row = 0

    def count(self, *, dead: bool) -> None:
        """One more record."""
        self._last.append(dead)
        self._in_a_row = self._in_a_row + 1 if dead else 0

    @property
    def reached(self) -> bool:
        """Whether the consumer must stop and a person must look."""
        return self._in_a_row >= IN_A_ROW or (len(self._last) == WINDOW and sum(self._last) >= RATIO * WINDOW)
