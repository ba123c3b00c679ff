"""Faults of the database that are not its process's."""

import asyncio
import random

from deploy.native.layout import SERVICES
from tests.faults.campaign.fault import AWAY, moment
from tests.support.chain import Client


async def postgres_refuses(client: Client, seeded: random.Random) -> None:
    """No service gets a connection, and those that it had are ended."""
    await moment(seeded)
    async with client.database.acquire() as connection:
        for service in SERVICES:
            await connection.execute(f"ALTER ROLE {service} CONNECTION LIMIT 0")
        try:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = ANY ($1)", list(SERVICES)
            )
            await asyncio.sleep(AWAY)
        finally:
            for service in SERVICES:
                await connection.execute(f"ALTER ROLE {service} CONNECTION LIMIT -1")
