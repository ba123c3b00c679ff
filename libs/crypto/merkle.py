"""Merkle tree hashes and inclusion proofs (RFC 6962 section 2.1, RFC 9162 section 2.1.3)."""

import hashlib
from collections.abc import Sequence

from libs.crypto.errors import CryptoError

HASH_SIZE = 32
"""Bytes of a SHA-256 hash."""


class MerkleError(CryptoError):
    """An index, size or path that no tree can have."""


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(0x00 ‖ data)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 ‖ left ‖ right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def tree_root(leaf_hashes: Sequence[bytes]) -> bytes:
    """The Merkle tree hash over hashed leaves; of none: SHA-256 of nothing (RFC 6962 section 2.1)."""
    return _levels(leaf_hashes)[-1][0] if leaf_hashes else hashlib.sha256().digest()


def inclusion_paths(leaf_hashes: Sequence[bytes]) -> list[list[bytes]]:
    """The audit paths of all leaves, in order, each from the leaf's sibling up (RFC 9162 section 2.1.3.1).

    Every node is hashed once.
    """
    if not leaf_hashes:
        return []
    levels = _levels(leaf_hashes)
    return [_climb(levels, index) for index in range(len(leaf_hashes))]


def root_from_path(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root that a leaf hash and its audit path prove (RFC 9162 section 2.1.3.2).

    Raises MerkleError when index, size, path length or a hash's length is impossible; whether the root is the expected
    one is the caller's comparison.
    """
    if not 0 <= index < size:
        raise MerkleError("index outside the tree")
    if any(len(sibling) != HASH_SIZE for sibling in (leaf, *path)):
        raise MerkleError("not a hash")
    node, last, root = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise MerkleError("path too long")
        if node & 1 or node == last:
            root = node_hash(sibling, root)
            # The right-most node of an odd level moves up unpaired until it is a right child.
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            root = node_hash(root, sibling)
        node >>= 1
        last >>= 1
    if last:
        raise MerkleError("path too short")
    return root


def _levels(leaf_hashes: Sequence[bytes]) -> list[Sequence[bytes]]:
    # Pairing neighbours and moving an odd last node up gives the same tree as RFC 6962's split at a power of two.
    levels = [leaf_hashes]
    while len(level := levels[-1]) > 1:
        above = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        if len(level) & 1:
            above.append(level[-1])
        levels.append(above)
    return levels


def _climb(levels: list[Sequence[bytes]], index: int) -> list[bytes]:
    path = []
    for level in levels[:-1]:
        sibling = index ^ 1
        if sibling < len(level):
            path.append(level[sibling])
        index >>= 1
    return path
