"""What iGFMAS keeps of the signing log until it has the receipts of its documents: tiles and countersigned checkpoints.

Not thread-safe. A receipt needs a tile and a checkpoint of one size: whichever is the first of both.
"""

from libs.contracts.log import CheckpointCountersigned, LogTile
from libs.contracts.record import Inclusion
from libs.contracts.signing import Posted
from libs.crypto.notes import NoteError, read
from libs.crypto.tiles import WIDTH, TiledLog


class SigningLogSeen:
    """Takes events of the log in any order, as often as they come."""

    def __init__(self) -> None:
        self._notes: dict[int, str] = {}
        self._tiles: dict[int, dict[int, LogTile]] = {}

    def take(self, event: LogTile | CheckpointCountersigned) -> None:
        """Take in what was read. Whether the signatures hold is judged by who reads the receipt."""
        if isinstance(event, LogTile):
            self._tiles.setdefault(event.first, {})[event.size] = event
            return
        try:
            self._notes.setdefault(read(event.note).size, event.note)
        except NoteError:
            return

    def covers(self, posted: Posted) -> bool:
        """Whether there is a proof of a document's place by now."""
        return self._tile(posted.log_position) is not None

    def inclusion_of(self, posted: Posted) -> Inclusion | None:
        """The proof, if there is one."""
        tile = self._tile(posted.log_position)
        if tile is None:
            return None
        leaves = TiledLog(len(tile.leaves), {0: dict(enumerate(tile.leaves))})
        within = leaves.inclusion_path(posted.log_position - tile.first)
        return Inclusion((*within, *tile.path), self._notes[tile.size])

    def _tile(self, position: int) -> LogTile | None:
        first = position - position % WIDTH
        found = self._tiles.get(first, {})
        sizes = (size for size, tile in found.items() if size in self._notes and position - first < len(tile.leaves))
        return found.get(min(sizes, default=-1))
