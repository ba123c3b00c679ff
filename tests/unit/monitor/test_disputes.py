"""Of two leaves that were told of a position, the log's is the one that a tile proves of a root that the log signed."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.log import LogTile
from libs.crypto.merkle import leaf_hash, node_hash
from libs.crypto.tiles import WIDTH, TiledLog, complete_above, levels_of
from services.monitor.disputes import proven

LEAVES = [leaf_hash(number.to_bytes(4)) for number in range(700)]


def tree(size: int) -> TiledLog:
    nodes = {0: dict(enumerate(LEAVES[:size]))}
    for level, count in levels_of(size):
        if level:
            nodes[level] = complete_above(nodes[level - 1], 0, count)
    return TiledLog(size, nodes)


def tile(size: int, first: int) -> LogTile:
    """As posting tells it."""
    path = tree(size).inclusion_path(first, above=WIDTH)
    return LogTile(size=size, first=first, leaves=tuple(LEAVES[first : min(first + WIDTH, size)]), path=tuple(path))


@given(st.integers(1, 700))
def test_the_tiles_of_a_checkpoint_prove_every_leaf_of_it(size):
    """I-43."""
    tiles = [tile(size, first) for first in range(0, size, WIDTH)]
    assert proven(tiles, {(size, tree(size).root())}) == dict(enumerate(LEAVES[:size]))
    assert proven(tiles, {(size, leaf_hash(b"another root")), (size + 1, tree(size).root())}) == {}


GOOD = tile(600, 256)
FORGED: dict[str, dict[str, Any]] = {
    "another leaf": {"leaves": (*GOOD.leaves[:7], leaf_hash(b"another"), *GOOD.leaves[8:])},
    "another place": {"first": 0},
    "a place within a tile": {"first": 257},
    "a place outside": {"first": 1024},
    "a negative one": {"first": -256},
    "another size": {"size": 601},
    "a node of the tree as a leaf": {"leaves": (*GOOD.leaves[:-2], node_hash(*GOOD.leaves[-2:]))},
    "a leaf less": {"leaves": GOOD.leaves[:-1]},
    "no hashes": {"leaves": (b"", *GOOD.leaves[1:])},
    "no path": {"path": ()},
    "a longer path": {"path": (*GOOD.path, bytes(32))},
}


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_tile_proves_nothing(what):
    """I-43: who has posting's account makes tiles too."""
    roots = {(size, tree(size).root()) for size in (600, 601)}
    assert proven([GOOD.model_copy(update=FORGED[what]), GOOD], roots) == proven([GOOD], roots)
    assert proven([GOOD.model_copy(update=FORGED[what])], roots) == {}
