"""A Merkle log that is kept in tiles, so that no root and no proof reads the whole of it.

A tile is 256 neighbouring nodes, all of one level: level 0 is the leaves, level 1 the roots of 256 leaves each, level 2
of 256 of those, and so on; the levels between are hashed anew when they are asked for. Only complete nodes are
kept, and those never change. The right edge of a tree and the way up from one leaf are one tile of each level: for a
hundred million leaves four tiles. (The layout is that of C2SP tlog-tiles; the tree is RFC 9162's.)
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from libs.crypto.merkle import MerkleError, node_hash, tree_root

HEIGHT: Final = 8
WIDTH: Final = 1 << HEIGHT
"""Nodes of one tile."""

Nodes: TypeAlias = Mapping[int, Mapping[int, bytes]]
"""Level of tiles → index → hash, of complete nodes."""


def levels_of(size: int) -> Iterator[tuple[int, int]]:
    """(level, complete nodes on it) of a log of `size` leaves, as far as there are any."""
    level = 0
    while size >> HEIGHT * level:
        yield level, size >> HEIGHT * level
        level += 1


def tile_start(level: int, leaf: int) -> int:
    """The first index, on `level`, of the tile that the way up from a leaf passes."""
    return leaf >> HEIGHT * (level + 1) << HEIGHT


def tiles_of(size: int, leaves: Iterable[int]) -> Iterator[tuple[int, int, int]]:
    """(level, first, last, not included) of the nodes from which these leaves of a log of `size` are proven.

    Of the last leaf of an older size: from which the log is proven to begin with it.
    """
    for level, count in levels_of(size):
        for start in sorted({tile_start(level, leaf) for leaf in (*leaves, size)}):
            if start < count:
                yield level, start, min(start + WIDTH, count)


def complete_above(below: Mapping[int, bytes], first: int, last: int) -> dict[int, bytes]:
    """The nodes `first` to `last` (not included) of a level, each over its 256 nodes of the level below."""
    return {index: tree_root(_run(below, index * WIDTH, (index + 1) * WIDTH)) for index in range(first, last)}


class TiledLog:
    """The tree over the first `size` leaves, from the nodes that are at hand.

    To prove something of a leaf it needs of each level the leaf's tile and that of the right edge. Pure; every method
    raises MerkleError when a node that it needs is missing.
    """

    def __init__(self, size: int, nodes: Nodes) -> None:
        self.size = size
        self._nodes = nodes

    def root(self) -> bytes:
        """The tree's root."""
        return self._range(0, self.size) if self.size else tree_root([])

    def peaks(self) -> list[bytes]:
        """The complete subtrees of the right edge, highest first: from these the tree grows on (`Frontier`)."""
        found, first = [], 0
        for height in reversed(range(self.size.bit_length())):
            if self.size >> height & 1:
                found.append(self._node(height, first))
                first += 1 << height
        return found

    def inclusion_path(self, index: int, *, above: int = 1) -> list[bytes]:
        """The audit path of a leaf (RFC 9162 section 2.1.3.1), nearest sibling first.

        With `above`, a power of two, only what lies above the run of so many leaves in which `index` is.
        """
        if not 0 <= index < self.size:
            raise MerkleError("index outside the tree")
        own = index - index % above
        path: list[bytes] = []
        first, last = 0, self.size
        while (first, last) != (own, min(own + above, self.size)):
            middle = first + _split(last - first)
            if index < middle:
                path.append(self._range(middle, last))
                last = middle
            else:
                path.append(self._range(first, middle))
                first = middle
        return path[::-1]

    def consistency_path(self, old: int) -> list[bytes]:
        """What proves that this tree begins with the tree of its first `old` leaves (RFC 9162 section 2.1.4.1)."""
        if not 0 <= old <= self.size:
            raise MerkleError("size outside the tree")
        if old in (0, self.size):
            return []
        path: list[bytes] = []
        first, last, known = 0, self.size, True
        while last != old:
            middle = first + _split(last - first)
            if old <= middle:
                path.append(self._range(middle, last))
                last = middle
            else:
                path.append(self._range(first, middle))
                first, known = middle, False
        if not known:  # else it is the old root itself, which the reader has
            path.append(self._range(first, last))
        return path[::-1]

    def _range(self, first: int, last: int) -> bytes:
        """The hash over leaves `first` to `last` (not included), as a split of the tree has made them."""
        width = last - first
        if width & (width - 1) == 0:
            return self._node(width.bit_length() - 1, first)
        middle = first + _split(width)
        return node_hash(self._range(first, middle), self._range(middle, last))

    def _node(self, height: int, first: int) -> bytes:
        """The complete node over 2^height leaves from `first` on."""
        level, above = divmod(height, HEIGHT)
        start = first >> HEIGHT * level
        return tree_root(_run(self._nodes.get(level, {}), start, start + (1 << above)))


def _split(width: int) -> int:
    """The largest power of two that is smaller."""
    return 1 << (width - 1).bit_length() - 1


def _run(nodes: Mapping[int, bytes], first: int, last: int) -> Sequence[bytes]:
    try:
        return [nodes[index] for index in range(first, last)]
    except KeyError as missing:
        raise MerkleError(f"node {missing} is not at hand") from None
