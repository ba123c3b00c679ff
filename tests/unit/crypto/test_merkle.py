"""Tree hashes and inclusion proofs are those of RFC 6962 and RFC 9162."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.crypto.merkle import (
    MerkleError,
    inclusion_paths,
    leaf_hash,
    node_hash,
    root_from_path,
    tree_root,
)

# The leaves and roots of the reference tests of Certificate Transparency (RFC 6962).
INPUTS = [
    bytes.fromhex(x)
    for x in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [leaf_hash(data) for data in INPUTS]


def rfc_root(leaves: list[bytes]) -> bytes:
    """MTH as RFC 6962 section 2.1 writes it."""
    if len(leaves) <= 1:
        return leaves[0] if leaves else hashlib.sha256(b"").digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return node_hash(rfc_root(leaves[:split]), rfc_root(leaves[split:]))


def rfc_path(leaves: list[bytes], index: int) -> list[bytes]:
    """PATH as RFC 6962 section 2.1.1 writes it."""
    if len(leaves) == 1:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if index < split:
        return [*rfc_path(leaves[:split], index), rfc_root(leaves[split:])]
    return [*rfc_path(leaves[split:], index - split), rfc_root(leaves[:split])]


def test_published_roots():
    assert tree_root([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert [tree_root(LEAVES[: n + 1]).hex() for n in range(8)] == ROOTS


@pytest.mark.parametrize("size", [*range(1, 35), 63, 64, 65, 100])
def test_roots_and_paths_are_the_recursive_definition(size):
    leaves = [leaf_hash(bytes([i])) for i in range(size)]
    root = rfc_root(leaves)
    assert tree_root(leaves) == root
    paths = inclusion_paths(leaves)
    assert paths == [rfc_path(leaves, index) for index in range(size)]
    assert all(root_from_path(leaves[i], i, size, paths[i]) == root for i in range(size))


@given(st.integers(1, 70), st.data())
def test_a_path_proves_its_own_place_only(size, data):
    leaves = [leaf_hash(i.to_bytes(2)) for i in range(size)]
    index = data.draw(st.integers(0, size - 1))
    other = data.draw(st.integers(0, size - 1).filter(lambda i: i != index)) if size > 1 else None
    path = inclusion_paths(leaves)[index]
    assert root_from_path(leaf_hash(b"other"), index, size, path) != tree_root(leaves)
    if other is not None:
        try:
            proven = root_from_path(leaves[index], other, size, path)
        except MerkleError:
            return
        assert proven != tree_root(leaves)


@pytest.mark.parametrize("index", range(7))
def test_impossible_shapes_are_refused(index):
    path = inclusion_paths(LEAVES[:7])[index]
    shapes = [
        (index, 7, path[:-1]),
        (index, 7, [*path, path[0]]),
        (-1, 7, path),
        (7, 7, path),
        (index, 0, path),
        (index, 7, [path[0][:-1], *path[1:]]),
    ]
    for shape in shapes:
        with pytest.raises(MerkleError):
            root_from_path(LEAVES[index], *shape)
    with pytest.raises(MerkleError):
        root_from_path(b"short", index, 7, path)


def test_no_path_in_an_empty_tree():
    assert inclusion_paths([]) == []
