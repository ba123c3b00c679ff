"""Merkle tree hashes and inclusion paths (RFC 6962 section 2.1, RFC 9162 section 2.1.3)."""

import hashlib
from collections.abc import Sequence


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(0x00 ‖ data)."""
    return hashlib.sha256(b"\x00" + data).digest()


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """The root over at least one hashed leaf."""
    return _levels(leaves)[-1][0]


def inclusion_paths(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """The path of every leaf, in order, nearest sibling first."""
    levels = _levels(leaves)
    return [
        [level[(index >> n) ^ 1] for n, level in enumerate(levels[:-1]) if (index >> n) ^ 1 < len(level)]
        for index in range(len(leaves))
    ]


def root_from_path(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root that a hashed leaf and its path prove. Raises ValueError for a shape that no tree has."""
    if not 0 <= index < size or any(len(node) != len(leaf) for node in path):
        raise ValueError("no such leaf")
    root, siblings = leaf, iter(path)
    while size > 1:
        if index ^ 1 < size:  # the last node of an odd level has no sibling and moves up as it is
            sibling = next(siblings, None)
            if sibling is None:
                raise ValueError("path too short")
            root = _node_hash(sibling, root) if index & 1 else _node_hash(root, sibling)
        index, size = index >> 1, (size + 1) >> 1
    if next(siblings, None) is not None:
        raise ValueError("path too long")
    return root


def _node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _levels(leaves: Sequence[bytes]) -> list[Sequence[bytes]]:
    # Pairing neighbours and moving an odd last node up gives the tree of RFC 6962's split at a power of two.
    levels = [leaves]
    while len(level := levels[-1]) > 1:
        pairs = [_node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        levels.append([*pairs, level[-1]] if len(level) & 1 else pairs)
    return levels
