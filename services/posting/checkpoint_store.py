"""The tables below the checkpoints: nodes of the tree and what was signed. Works in the caller's transaction."""

from pathlib import Path

from libs.crypto.merkle import tree_root
from libs.crypto.tiles import levels_of, tile_start
from libs.storage.pool import Connection
from libs.storage.queries import load_queries
from services.posting.growth import Grown, Head, NodesByLevel

_SQL = load_queries(Path(__file__).parent / "sql" / "checkpoints.sql")


async def one_moment(connection: Connection) -> None:
    """Let every question of this transaction see the same state; call it first."""
    await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


async def last(connection: Connection) -> Head:
    """What was signed last."""
    row = await connection.fetchrow(_SQL["last"])
    return Head(0, tree_root([])) if row is None else Head(row["size"], row["root"])


async def size(connection: Connection) -> int:
    """Positions of the log."""
    return int(await connection.fetchval(_SQL["size"]))


async def edge(connection: Connection, since: int, upto: int) -> NodesByLevel:
    """Of each level the tile at the right edge of the log of `since` leaves, and all leaves from there to `upto`."""
    leaves = await connection.fetch(_SQL["leaves"], tile_start(0, since), upto)
    found: NodesByLevel = {0: {row["position"]: row["leaf_hash"] for row in leaves}}
    for level, _ in levels_of(since):
        if level:
            rows = await connection.fetch(_SQL["nodes"], level, tile_start(level, since))
            found[level] = {row["index"]: row["hash"] for row in rows}
    return found


async def add(connection: Connection, head: Head, grown: Grown, note: str) -> bool:
    """Keep a checkpoint upon `head`, and the nodes that are new with it; False when a twin has kept one meanwhile."""
    if await connection.fetchval(_SQL["add_checkpoint"], grown.tree.size, head.size, grown.root, note) is None:
        return False
    rows = [(level, index, hashed) for level, nodes in grown.new.items() for index, hashed in nodes.items()]
    if rows:
        levels, indices, hashes = zip(*rows, strict=True)
        await connection.execute(_SQL["add_nodes"], levels, indices, hashes)
    return True
