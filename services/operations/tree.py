"""The signing log's tree as posting keeps it, read a tile at a time: what proofs are made of, years later too."""

from collections.abc import Iterable
from typing import Final

from libs.crypto.tiles import TiledLog, tiles_of
from libs.storage.pool import Connection

_LEAVES: Final = """
SELECT position AS index, leaf_hash AS hash FROM posting.signing_log WHERE position >= $1 AND position < $2
"""
_NODES: Final = "SELECT index, hash FROM posting.log_node WHERE level = $3 AND index >= $1 AND index < $2"


async def tree_of(asked: Connection, size: int, leaves: Iterable[int]) -> TiledLog:
    """The log of this size, as far as these leaves are proven by it: some 256 rows a level and tile of leaves.

    What is missing in the database is missing in it: its methods raise MerkleError.
    """
    nodes: dict[int, dict[int, bytes]] = {}
    for level, first, last in tiles_of(size, leaves):
        rows = await (asked.fetch(_NODES, first, last, level) if level else asked.fetch(_LEAVES, first, last))
        nodes.setdefault(level, {}).update({row["index"]: row["hash"] for row in rows})
    return TiledLog(size, nodes)
