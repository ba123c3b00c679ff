"""The signing log as `posted` tells it: leaf by leaf, from whichever partition, put together in the log's order. Pure.

Of the part that is in order the peaks of its tree are held, and nothing is read of posting's tables. Whoever has
posting's account can tell leaves that the log does not have: what it says of one position is kept side by side.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

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
        self._others: dict[int, dict[bytes, Told]] = {}

    def take(self, position: int, told: Told) -> bool:
        """Take in what `posted` says of a position; False when it is another leaf than any that was told of it.

        What is in order already is not compared: its leaf is not held any more.
        """
        if position < self.size:
            return True
        before = self._waiting.setdefault(position, told)
        if before.leaf == told.leaf:
            return True
        others = self._others.setdefault(position, {})
        return others.setdefault(told.leaf, told) is not told

    def grown(self, size: int) -> Frontier | None:
        """The tree of the first `size` leaves, of each position the leaf that was told first; None while one was not.

        Nothing is put in order by it: `advance` does, once the tree is known to be the log's.
        """
        tree = Frontier(self.size, self.peaks)
        for position in range(self.size, size):
            if (told := self._waiting.get(position)) is None:
                return None
            tree.append(told.leaf)
        return tree

    def advance(self, tree: Frontier) -> list[tuple[int, Told]]:
        """Put the leaves of this tree in order, one of `grown`; returns the others that were told of its positions."""
        refused = []
        for position in range(self.size, tree.size):
            del self._waiting[position]
            refused += [(position, other) for other in self._others.pop(position, {}).values()]
        self.size, self.peaks = tree.size, tree.peaks
        return refused

    def is_disputed(self, size: int) -> bool:
        """Whether two leaves were told of one of the first `size` positions."""
        return any(position < size for position in self._others)

    def settle(self, leaves: Mapping[int, bytes]) -> None:
        """Of disputed positions prefer the leaf that is proven to be the log's, if `posted` told that one too."""
        for position in self._others.keys() & leaves.keys():
            if (true := self._others[position].pop(leaves[position], None)) is not None:
                first, self._waiting[position] = self._waiting[position], true
                self._others[position][first.leaf] = first

    def disprove(self, leaves: Mapping[int, bytes]) -> list[tuple[int, Told]]:
        """Drop what was told of these positions and is not the leaf that is proven to be the log's; returns that."""
        places = self._waiting.keys() & leaves.keys()
        gone = [(place, told) for place in sorted(places) for told in self._of(place) if told.leaf != leaves[place]]
        self._drop(gone)
        return gone

    def forget(self, size: int, before: datetime) -> list[tuple[int, Told]]:
        """Drop what was told before this time of positions that a log of `size`, signed later, does not have."""
        places = [position for position in self._waiting if position >= size]
        gone = [(place, told) for place in places for told in self._of(place) if told.at < before]
        self._drop(gone)
        return gone

    def waiting(self) -> Mapping[int, int]:
        """How many leaves wait, by the partition that told them."""
        return Counter(told.partition for told in self._all())

    def oldest(self) -> datetime | None:
        """When the oldest of them was told."""
        return min((told.at for told in self._waiting.values()), default=None)

    def read_again(self, positions: Mapping[int, int]) -> Iterator[tuple[int, int]]:
        """(partition, offset) from which a reader that has only size and peaks must begin; `positions` are the ends."""
        begin = dict(positions)
        for told in self._all():
            begin[told.partition] = min(begin[told.partition], told.offset)
        yield from sorted(begin.items())

    def _of(self, position: int) -> list[Told]:
        return [self._waiting[position], *self._others.get(position, {}).values()]

    def _drop(self, gone: Sequence[tuple[int, Told]]) -> None:
        leaves: dict[int, set[bytes]] = {}
        for place, told in gone:
            leaves.setdefault(place, set()).add(told.leaf)
        for place, dropped in leaves.items():
            kept = [told for told in self._of(place) if told.leaf not in dropped]
            del self._waiting[place]
            self._others.pop(place, None)
            for told in kept:
                self.take(place, told)

    def _all(self) -> Iterator[Told]:
        return chain(self._waiting.values(), *(others.values() for others in self._others.values()))
