"""A checkpoint is made of a tile of each level and the new leaves; upon another log than was signed there is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.crypto.merkle import is_consistent, leaf_hash, root_from_path, tree_root
from libs.crypto.tiles import WIDTH, TiledLog, levels_of, tile_start
from services.posting.growth import Grown, Head, LogChangedError, NodesByLevel, grow

MANY = [leaf_hash(number.to_bytes(4)) for number in range(WIDTH * WIDTH + 3 * WIDTH)]


class Kept:
    """What the database would have: leaves, and the nodes that checkpoints have added."""

    def __init__(self) -> None:
        self.nodes: NodesByLevel = {}
        self.head = Head(0, tree_root([]))

    def edge(self, upto: int) -> NodesByLevel:
        """As `checkpoint_store.edge` reads it."""
        since = self.head.size
        found = {0: {place: MANY[place] for place in range(tile_start(0, since), upto)}}
        for level, _ in levels_of(since):
            if level:
                start = tile_start(level, since)
                found[level] = {index: one for index, one in self.nodes[level].items() if index >= start}
        return found

    def grow(self, upto: int) -> Grown:
        grown = grow(self.head, upto, self.edge(upto))
        for level, new in grown.new.items():
            assert not self.nodes.setdefault(level, {}).keys() & new.keys(), "no node is made twice"
            self.nodes[level] |= new
        self.head = Head(upto, grown.root)
        return grown


@given(st.lists(st.integers(1, 2 * WIDTH), min_size=1, max_size=4))
def test_each_checkpoint_proves_its_leaves_and_the_one_before(steps):
    proven(Kept(), steps)


def test_so_does_one_that_makes_the_first_node_of_another_level():
    kept = Kept()
    kept.grow(WIDTH * WIDTH - 300)
    proven(kept, [100, 200, 1, 2 * WIDTH])
    assert kept.nodes[2].keys() == {0}


def proven(kept: Kept, steps: list[int]) -> None:
    for step in steps:
        before, size = kept.head, kept.head.size + step
        grown = kept.grow(size)
        assert grown.root == tree_root(MANY[:size])
        assert is_consistent((before.size, before.root), (size, grown.root), grown.consistency)
        told: dict[int, bytes] = {}
        for tile in grown.tiles:
            assert tile.first % WIDTH == 0
            within = TiledLog(len(tile.leaves), {0: dict(enumerate(tile.leaves)), 1: {0: tree_root(tile.leaves)}})
            for place in {0, len(tile.leaves) // 2, len(tile.leaves) - 1}:
                path = [*within.inclusion_path(place), *tile.path]
                assert root_from_path(tile.leaves[place], tile.first + place, size, path) == grown.root
            told |= {tile.first + place: leaf for place, leaf in enumerate(tile.leaves)}
        assert {place: MANY[place] for place in range(before.size, size)}.items() <= told.items()


@pytest.mark.parametrize("place", [0, WIDTH - 1, WIDTH, WIDTH + 4])
def test_a_leaf_that_was_changed_gone_or_moved_since_it_was_signed_stops_the_signing(place):
    signed = WIDTH + 5
    for change in ("changed", "gone", "moved"):
        kept = Kept()
        kept.grow(signed)
        found = kept.edge(signed + 10)
        if place < WIDTH:
            # Below a complete node: that is what was kept of it, and what the signing goes by.
            found[1][0] = leaf_hash(b"another")
        elif change == "changed":
            found[0][place] = leaf_hash(b"another")
        elif change == "gone":
            del found[0][place]
        else:
            found[0][place], found[0][place - 1 if place > WIDTH else place + 1] = (
                found[0][place - 1 if place > WIDTH else place + 1],
                found[0][place],
            )
        with pytest.raises(LogChangedError):
            grow(kept.head, signed + 10, found)


def test_a_gap_in_what_is_new_stops_the_signing():
    kept = Kept()
    kept.grow(10)
    found = kept.edge(20)
    del found[0][15]
    with pytest.raises(LogChangedError):
        grow(kept.head, 20, found)
