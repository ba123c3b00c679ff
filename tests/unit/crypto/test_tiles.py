"""Proofs of a log in tiles are those of RFC 9162, from no more than a tile a level; what they prove cannot be bent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.crypto import tiles
from libs.crypto.merkle import Frontier, MerkleError, is_consistent, leaf_hash, root_from_path, tree_root
from libs.crypto.tiles import WIDTH, TiledLog, complete_above, levels_of, tile_start, tiles_of
from tests.unit.crypto.test_merkle import LEAVES, ROOTS, rfc_path, rfc_root

MANY = [leaf_hash(number.to_bytes(4)) for number in range(WIDTH * WIDTH + 700)]
SIZES = st.one_of(st.integers(1, 1100), st.sampled_from([WIDTH * WIDTH - 1, WIDTH * WIDTH, len(MANY)]))


def rfc_subproof(leaves: list[bytes], old: int, *, whole: bool) -> list[bytes]:
    """SUBPROOF as RFC 9162 section 2.1.4.1 writes it."""
    if old == len(leaves):
        return [] if whole else [rfc_root(leaves)]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if old <= split:
        return [*rfc_subproof(leaves[:split], old, whole=whole), rfc_root(leaves[split:])]
    return [*rfc_subproof(leaves[split:], old - split, whole=False), rfc_root(leaves[:split])]


def kept(leaves: list[bytes]) -> dict[int, dict[int, bytes]]:
    """All complete nodes, as a log that grew keeps them."""
    nodes = {0: dict(enumerate(leaves))}
    for level, count in levels_of(len(leaves)):
        if level:
            nodes[level] = complete_above(nodes[level - 1], 0, count)
    return nodes


KEPT = kept(MANY)


def at_hand(size: int, *leaves: int) -> dict[int, dict[int, bytes]]:
    """Of each level the tiles on the way up from these leaves, and the right edge: nothing more."""
    found: dict[int, dict[int, bytes]] = {}
    for level, first, last in tiles_of(size, leaves):
        assert last - first <= WIDTH
        found.setdefault(level, {}).update({index: KEPT[level][index] for index in range(first, last)})
    return found


def test_the_reference_log_of_certificate_transparency():
    """The eight leaves of RFC 6962's reference tests: roots, and every path by the text of RFC 9162."""
    for size in range(1, 9):
        log = TiledLog(size, kept(LEAVES[:size]))
        assert log.root().hex() == ROOTS[size - 1]
        assert [log.inclusion_path(index) for index in range(size)] == [
            rfc_path(LEAVES[:size], index) for index in range(size)
        ]
        for old in range(1, size + 1):
            path = log.consistency_path(old)
            assert path == rfc_subproof(LEAVES[:size], old, whole=True)
            assert is_consistent((old, bytes.fromhex(ROOTS[old - 1])), (size, log.root()), path)


@given(SIZES, st.data())
def test_a_leaf_is_proven_from_a_tile_of_each_level(size, data):
    index = data.draw(st.integers(0, size - 1))
    nodes = at_hand(size, index)
    assert all(len(of_level) <= 2 * WIDTH for of_level in nodes.values())
    log = TiledLog(size, nodes)
    path = log.inclusion_path(index)
    assert log.root() == tree_root(MANY[:size])
    assert root_from_path(MANY[index], index, size, path) == log.root()
    # What a tile's reader does: its own leaves, then what lies above.
    start = index - index % WIDTH
    own = MANY[start : min(start + WIDTH, size)]
    assert path == [
        *TiledLog(len(own), kept(own)).inclusion_path(index - start),
        *log.inclusion_path(index, above=WIDTH),
    ]


@given(SIZES, st.data())
def test_a_log_is_proven_to_begin_with_an_older_one_and_with_no_other(size, data):
    old = data.draw(st.integers(1, size))
    log = TiledLog(size, at_hand(size, old - 1))
    path = log.consistency_path(old)
    before, after = (old, tree_root(MANY[:old])), (size, tree_root(MANY[:size]))
    assert is_consistent(before, after, path)
    other = leaf_hash(b"other")
    assert not is_consistent((old, other), after, path)
    assert not is_consistent(before, (size, other), path)
    assert not is_consistent(before, after, [*path, other])
    if path:
        at = data.draw(st.integers(0, len(path) - 1))
        assert not is_consistent(before, after, path[:at] + path[at + 1 :])
        assert not is_consistent(before, after, [*path[:at], other, *path[at + 1 :]])
        assert not is_consistent(before, after, [*path[:at], path[at][:-1], *path[at + 1 :]])
    changed = data.draw(st.integers(0, old - 1))
    rewritten = [*MANY[:changed], other, *MANY[changed + 1 : size]]
    assert not is_consistent(before, (size, tree_root(rewritten)), path)
    assert not is_consistent(
        before, (size, tree_root(rewritten)), TiledLog(size, kept(rewritten)).consistency_path(old)
    )


@given(SIZES)
def test_a_tree_grows_on_from_the_peaks_of_its_right_edge(size):
    grown = Frontier()
    for leaf in MANY[:size]:
        grown.append(leaf)
    assert TiledLog(size, at_hand(size)).peaks() == grown.peaks


def test_an_empty_log_is_the_beginning_of_every_log_and_a_shorter_one_of_none():
    empty = (0, tree_root([]))
    assert is_consistent(empty, (8, tree_root(LEAVES)), [])
    assert not is_consistent((0, LEAVES[0]), (8, tree_root(LEAVES)), [])
    assert not is_consistent((8, tree_root(LEAVES)), (7, tree_root(LEAVES[:7])), [])
    assert not is_consistent((8, tree_root(LEAVES)), (8, tree_root(LEAVES[:7])), [])
    assert TiledLog(0, {}).root() == tree_root([])


@pytest.mark.parametrize("level", [0, 1])
def test_a_node_that_is_missing_is_said_and_nothing_is_proven(level):
    nodes = at_hand(WIDTH * 3, 5)
    del nodes[level][0]
    with pytest.raises(MerkleError):
        TiledLog(WIDTH * 3, nodes).root() if level else TiledLog(WIDTH * 3, nodes).inclusion_path(1)
    for wrong in (-1, WIDTH * 3):
        with pytest.raises(MerkleError):
            TiledLog(WIDTH * 3, nodes).inclusion_path(wrong)
    with pytest.raises(MerkleError):
        TiledLog(WIDTH * 3, nodes).consistency_path(WIDTH * 3 + 1)


def test_the_way_up_is_one_tile_a_level():
    assert [tile_start(level, 70_000) for level in range(3)] == [69_888, 256, 0]
    assert list(levels_of(70_000)) == [(0, 70_000), (1, 273), (2, 1)]
    assert tiles.WIDTH == 256
