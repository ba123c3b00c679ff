"""What every service's `app.py` begins with: its pool, its tables, its bus."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from libs.bus.bus import Bus
from libs.bus.suspension import Probe
from libs.runtime.background import beside
from libs.runtime.clock import Clock
from libs.runtime.health import Health
from libs.runtime.settings import ServiceSettings
from libs.storage.clock import DatabaseClock
from libs.storage.migrations import LEDGER_MIGRATIONS, migrate
from libs.storage.pool import Pool, open_pool


@asynccontextmanager
async def service_bus(
    settings: ServiceSettings,
    health: Health,
    migrations: Sequence[Path] = (),
    *,
    probes: Mapping[str, Probe] | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[tuple[Pool, Bus]]:
    """Open the pool, migrate the ledger and then `migrations`, and yield the pool and a bus that is yet to be wired.

    The caller wires the bus and enters it (`async with bus:`); the pool closes after it. Its `clock` is the database's
    unless another one is given. Raises DatabaseUnavailable
    when the database does not answer at the start: the supervisor tries again.
    """
    pool = await open_pool(
        host=settings.postgres_host,
        port=settings.postgres_port,
        database=settings.postgres_database,
        user=settings.postgres_user,
        password=settings.postgres_password.get_secret_value(),
        schema=settings.service,
    )
    try:
        shared = DatabaseClock(settings.service)
        await shared.start(pool)
        await migrate(pool, [LEDGER_MIGRATIONS, *migrations])
        async with beside(shared.keep(pool)):
            yield (
                pool,
                Bus(
                    service=settings.service,
                    bootstrap=settings.kafka_bootstrap,
                    pool=pool,
                    health=health,
                    probes=probes,
                    clock=clock or shared,
                    session_ms=settings.kafka_session_ms,
                ),
            )
    finally:
        await pool.close()
