"""How the signing log has grown since its last checkpoint: the tree, made of a tile of each level. Pure."""

from dataclasses import dataclass
from typing import TypeAlias

from libs.contracts.log import LogTile
from libs.crypto.merkle import MerkleError
from libs.crypto.tiles import WIDTH, TiledLog, complete_above, levels_of, tile_start

NodesByLevel: TypeAlias = "dict[int, dict[int, bytes]]"
"""Level of tiles → index → hash."""


@dataclass(frozen=True)
class Head:
    """The checkpoint that was signed last; before the first one, the empty log."""

    size: int
    root: bytes


class LogChangedError(Exception):
    """The log in the database is not the one that was signed: nothing more is signed before a person has looked."""


@dataclass(frozen=True)
class Grown:
    """The log beyond the last checkpoint: the tree, the nodes that are new in it, and what to tell of it."""

    tree: TiledLog
    root: bytes
    new: NodesByLevel
    consistency: tuple[bytes, ...]
    tiles: tuple[LogTile, ...]


def grow(head: Head, size: int, found: NodesByLevel) -> Grown:
    """The tree of `size` leaves, from the nodes of the right edge and the leaves since. Pure CPU, 1 µs a new leaf.

    Raises LogChangedError when what is at hand does not make the root that was signed last, or is not all there.
    """
    nodes = {level: dict(found.get(level, {})) for level, _ in levels_of(size)}
    new: NodesByLevel = {}
    try:
        if TiledLog(head.size, nodes).root() != head.root:
            raise LogChangedError(f"its first {head.size} positions do not make the root that was signed")
        counts = dict(levels_of(head.size))
        for level, count in levels_of(size):
            if level:
                new[level] = complete_above(nodes[level - 1], counts.get(level, 0), count)
                nodes[level] |= new[level]
        tree = TiledLog(size, nodes)
        return Grown(tree, tree.root(), new, tuple(tree.consistency_path(head.size)), _tiles(tree, nodes[0], head.size))
    except MerkleError as error:
        raise LogChangedError(str(error)) from None


def _tiles(tree: TiledLog, leaves: dict[int, bytes], since: int) -> tuple[LogTile, ...]:
    """Those that have grown."""
    return tuple(
        LogTile(
            size=tree.size,
            first=first,
            leaves=tuple(leaves[place] for place in range(first, min(first + WIDTH, tree.size))),
            path=tuple(tree.inclusion_path(first, above=WIDTH)),
        )
        for first in range(tile_start(0, since), tree.size, WIDTH)
    )
