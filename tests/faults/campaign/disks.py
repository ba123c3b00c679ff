"""A full disk under the broker, which dies of it, or under the database, which refuses to write."""

import asyncio
import contextlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import asyncpg

from tests.faults.campaign.fault import AWAY, moment
from tests.faults.campaign.stacks import disks_of
from tests.support.chain import Client
from tests.support.faults import STARTED_SECONDS, answering, replaced
from tests.support.waiting import eventually

BLOCK: Final = 65_536

ROOM: Final = "CREATE TEMPORARY TABLE room ON COMMIT DROP AS SELECT repeat('x', 1000) FROM generate_series(1, 1000)"
"""Needs a megabyte; WAL has some space of its own, and goes on for a while."""


async def under_kafka(client: Client, seeded: random.Random) -> None:
    """The broker ends, and ends again at each start, until there is space."""
    await moment(seeded)
    disk, _ = disks_of(client.stack.layout)
    before = client.stack.pid("kafka")
    with _full(disk):
        await eventually(lambda: client.stack.pid("kafka") != before, "the broker ends", seconds=STARTED_SECONDS)
        await asyncio.sleep(AWAY)
    await replaced(client.stack, "kafka", before)


async def under_postgres(client: Client, seeded: random.Random) -> None:
    """The database refuses to write, and ends if it cannot write its log, until there is space."""
    await moment(seeded)
    _, disk = disks_of(client.stack.layout)
    with _full(disk):
        await eventually(lambda: _refuses(client), "the database has no room", seconds=STARTED_SECONDS)
        await asyncio.sleep(AWAY)
    await answering(client.stack, "postgres")


async def _refuses(client: Client) -> bool:
    try:
        await client.database.execute(ROOM)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        return True
    return False


@contextlib.contextmanager
def _full(disk: Path) -> Iterator[None]:
    """Every block of it is taken."""
    filler = disk / "filler"
    try:
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as out:  # ENOSPC: it is full
            while out.write(bytes(BLOCK)):
                pass
        yield
    finally:
        filler.unlink()
