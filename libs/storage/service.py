"""What every service begins with: its pool, its tables, and the time that all services share."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from libs.runtime.background import beside
from libs.runtime.health import Health
from libs.runtime.settings import ServiceSettings
from libs.storage.clock import DatabaseClock
from libs.storage.migrations import require_migrated
from libs.storage.pool import CONNECTIONS, Pool, open_pool


@asynccontextmanager
async def service_database(
    settings: ServiceSettings,
    migrations: Sequence[Path],
    *,
    connections: int = CONNECTIONS,
    health: Health | None = None,
) -> AsyncIterator[tuple[Pool, DatabaseClock]]:
    """Open the pool, look at the time, find the schema migrated; the pool closes in the end.

    `health` is told by how much this host's clock is wrong.
    Raises DatabaseUnavailable when the database does not answer at the start, NotMigrated when its owner has not
    applied these migrations yet: the supervisor tries again. Raises MigrationChanged.
    """
    pool = await open_pool(
        host=settings.postgres_host,
        port=settings.postgres_port,
        database=settings.postgres_database,
        user=settings.postgres_user,
        password=settings.postgres_password.get_secret_value(),
        schema=settings.service,
        connections=connections,
        transport_root=settings.transport_root,
    )
    try:
        clock = DatabaseClock(settings.service, health=health)
        await clock.start(pool)
        await require_migrated(pool, migrations)
        async with beside(clock.keep(pool)):
            yield pool, clock
    finally:
        await pool.close()
