"""The signing log as the outside sees it: checkpoints, the same countersigned, and the leaves below them."""

from typing import Annotated, Final

from pydantic import Field, StringConstraints

from libs.contracts.base import Base64, Event, Exact

MAX_TILE: Final = 256
"""Leaves of a tile (libs/crypto/tiles.py)."""

MAX_GROWTH: Final = 100 * MAX_TILE
"""Leaves that one checkpoint takes in; of more, after the log's HSM was away, another one follows at once."""

MAX_PATH: Final = 64
"""Hashes of a path: a log of 2^63 leaves has no longer one."""

LOG_KEY_FILE: Final = "log.vkey"
WITNESS_KEY_FILE: Final = "witness.vkey"
"""In the PKI directory: the verifier keys of the log and of its witness, which whoever judges checkpoints pins."""

Note = Annotated[str, StringConstraints(pattern=r"^[^\n]+\n[0-9]+\n[^\n]+\n", max_length=4_096)]
"""A signed note (libs/crypto/notes.py): origin, size and root are its first three lines. Judged by who reads it."""

Path = Annotated[tuple[Base64, ...], Field(max_length=MAX_PATH)]


class LogCheckpoint(Event):
    """posting says how long the signing log is, and its root; the note is signed by the log's key in the HSM.

    `consistency` proves that it begins with the checkpoint before, of size `previous` (RFC 9162 section 2.1.4): who
    keeps no more than the last checkpoint can hold the next one against it.
    """

    note: Note
    previous: int
    consistency: Path

    @property
    def key(self) -> str:
        return origin_of(self.note)

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (_text(self.note),)


class CheckpointCountersigned(Event):
    """monitor has computed this root from `posted`: the same note with its signature behind the log's."""

    note: Note

    @property
    def key(self) -> str:
        return origin_of(self.note)

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (_text(self.note),)


class LogTile(Event):
    """The leaves of one tile in the tree of a checkpoint of `size`, and what lies above them.

    A leaf at `position` is leaf `position - first` of these; its audit path is that within the tile, and then `path`.
    The last tile of a checkpoint may be short, and comes again, longer, with the next one.
    """

    size: int
    first: int
    leaves: Annotated[tuple[Base64, ...], Field(min_length=1, max_length=MAX_TILE)]
    path: Path

    @property
    def key(self) -> str:
        return str(self.first)

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.size, self.first)


class CheckpointProof(Exact):
    """What a witness is shown that has missed a part of `posted`: a checkpoint, and that it continues an earlier one.

    `consistency` proves that its tree begins with that of the first `previous` leaves; `peaks` are the complete
    subtrees of its right edge, highest first, from which the tree grows on.
    """

    note: Note
    previous: int
    consistency: Path
    peaks: Path


def origin_of(note: str) -> str:
    """The name of a note's log."""
    return note.partition("\n")[0]


def _text(note: str) -> str:
    """What is signed: the same checkpoint signed twice is one event, another root of the same size is another."""
    return note.rpartition("\n\n")[0]
