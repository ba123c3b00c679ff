"""A full disk under the broker or the database: the part dies, and is restarted when there is space."""

import asyncio
import os
import random
from pathlib import Path

from tests.faults.campaign.fault import AWAY, Inflict, moment
from tests.faults.campaign.stacks import disks_of
from tests.support.chain import Client
from tests.support.faults import STARTED_SECONDS, replaced
from tests.support.waiting import eventually


def full(part: str) -> Inflict:
    """Fill the disk of a part, keep it full for a while after the part has failed, and free it."""

    async def inflict(client: Client, seeded: random.Random) -> None:
        await moment(seeded)
        broker, database = disks_of(client.stack.layout)
        filler = (broker if part == "kafka" else database) / "filler"
        before = client.stack.pid(part)
        try:
            _fill(filler)
            await eventually(lambda: client.stack.pid(part) != before, f"{part} fails", seconds=STARTED_SECONDS)
            await asyncio.sleep(AWAY)
        finally:
            filler.unlink()
        await replaced(client.stack, part, before)

    return inflict


def _fill(file: Path) -> None:
    """Take every block that is free."""
    with file.open("wb") as out:
        free = os.statvfs(file).f_bavail * os.statvfs(file).f_frsize
        os.posix_fallocate(out.fileno(), 0, free)
