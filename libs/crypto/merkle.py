"""Merkle tree hashes, inclusion and consistency proofs (RFC 6962 section 2.1, RFC 9162 section 2.1)."""

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


class Frontier:
    """The tree of a log that only grows, by its peaks: the complete subtrees of its right edge, highest first.

    A leaf costs one hash, a root as many as there are peaks; a log of 2^40 leaves has at most 40.
    """

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        self.size = size
        self.peaks = list(peaks)

    def append(self, leaf: bytes) -> None:
        """Add the next leaf's hash."""
        node, index = leaf, self.size
        while index & 1:  # a right child: with its left sibling it makes the node above
            node, index = node_hash(self.peaks.pop(), node), index >> 1
        self.peaks.append(node)
        self.size += 1

    def root(self) -> bytes:
        """Of all leaves so far."""
        if not self.peaks:
            return tree_root([])
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = node_hash(peak, root)
        return root


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


def is_consistent(old: tuple[int, bytes], new: tuple[int, bytes], path: Sequence[bytes]) -> bool:
    """Whether the path proves that the tree (size, root) `new` begins with the tree `old` (RFC 9162 section 2.1.4.2).

    An empty tree is the beginning of every tree, and needs no path. False for whatever proves nothing; never raises.
    """
    (size, root), (new_size, new_root) = old, new
    if not 0 <= size <= new_size or any(len(one) != HASH_SIZE for one in (root, new_root, *path)):
        return False
    if size == 0:
        return not path and root == tree_root([])
    if size == new_size:
        return not path and root == new_root
    nodes = [root, *path] if size & (size - 1) == 0 else list(path)  # a power of two is a node of the new tree itself
    if not nodes:
        return False
    node, last = size - 1, new_size - 1
    while node & 1:
        node >>= 1
        last >>= 1
    first = second = nodes[0]
    for sibling in nodes[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            second = node_hash(second, sibling)
        node >>= 1
        last >>= 1
    return last == 0 and (first, second) == (root, new_root)


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
