"""Which of several leaves that `posted` told of one position is the log's: what its tiles prove of its signed roots."""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from pydantic import ValidationError

from libs.bus.reader import up_to
from libs.contracts import topics
from libs.contracts.log import LogTile
from libs.crypto.merkle import MerkleError, inclusion_paths, root_from_path
from libs.crypto.tiles import WIDTH

TILES: Final = TopicPartition(topics.LOG_TILE.name, 0)

BEFORE: Final = timedelta(minutes=1)
"""How much earlier than its checkpoint's own time a tile is looked for: two clocks."""


def proven(tiles: Iterable[LogTile], roots: Collection[tuple[int, bytes]]) -> dict[int, bytes]:
    """Position → leaf, of the tiles that lead to one of these (size, root), which the log has signed; nobody else's
    word is taken. Pure.
    """  # fmt: skip
    found: dict[int, bytes] = {}
    for tile in tiles:
        # With another number of leaves a node of the tree could be taken for a leaf.
        if tile.first % WIDTH or len(tile.leaves) != min(WIDTH, tile.size - tile.first):
            continue
        path = [*inclusion_paths(tile.leaves)[0], *tile.path]
        try:
            root = root_from_path(tile.leaves[0], tile.first, tile.size, path)
        except MerkleError:
            continue
        if (tile.size, root) in roots:
            found.update(enumerate(tile.leaves, tile.first))
    return found


async def tiles_since(consumer: AIOKafkaConsumer, since: datetime, sizes: Collection[int]) -> list[LogTile]:
    """The tiles of checkpoints of these sizes that were published from a little before this time until now."""
    consumer.assign([TILES])
    wanted = int((since - BEFORE).timestamp() * 1000)
    starts, ends = await consumer.offsets_for_times({TILES: wanted}), await consumer.end_offsets([TILES])
    if starts[TILES] is None:
        return []
    consumer.seek(TILES, starts[TILES].offset)
    found = []
    async for batch in up_to(consumer, ends):
        for record in batch:
            try:
                tile = LogTile.model_validate_json(record.value or b"")
            except ValidationError:
                continue  # those who act on it bury it
            if tile.size in sizes:
                found.append(tile)
    return found
