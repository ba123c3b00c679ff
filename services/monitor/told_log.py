"""The signing log as `posted` tells it: leaf by leaf, from whichever partition, put together in the log's order. Pure.

Of the part that is in order the peaks of its tree are held, and nothing is read of posting's tables.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from libs.crypto.merkle import Frontier


@dataclass(frozen=True, slots=True)
class Told:
    """A leaf that is not in order yet, and where it was read."""

    leaf: bytes
    partition: int
    offset: int
    at: datetime


class ToldLog(Frontier):
    """The tree of the leaves that are in order, and those told beyond."""

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        super().__init__(size, peaks)
        self._waiting: dict[int, Told] = {}

    def take(self, position: int, told: Told) -> bool:
        """Take in what `posted` says of a position; False when it said otherwise before.

        What is in order already is not compared: its leaf is not held any more.
        """
        if position < self.size:
            return True
        before = self._waiting.setdefault(position, told)
        return before.leaf == told.leaf

    def advance(self, size: int) -> bool:
        """Put leaves in order until there are `size`; False, and nothing done, while one of them was not told."""
        if any(position not in self._waiting for position in range(self.size, size)):
            return False
        while self.size < size:
            self.append(self._waiting.pop(self.size).leaf)
        return True

    def waiting(self) -> Mapping[int, int]:
        """How many leaves wait, by the partition that told them."""
        counts: dict[int, int] = {}
        for told in self._waiting.values():
            counts[told.partition] = counts.get(told.partition, 0) + 1
        return counts

    def oldest(self) -> datetime | None:
        """When the oldest of them was told."""
        return min((told.at for told in self._waiting.values()), default=None)

    def read_again(self, positions: Mapping[int, int]) -> Iterator[tuple[int, int]]:
        """(partition, offset) from which a reader that has only size and peaks must begin; `positions` are the ends."""
        begin = dict(positions)
        for told in self._waiting.values():
            begin[told.partition] = min(begin[told.partition], told.offset)
        yield from sorted(begin.items())
