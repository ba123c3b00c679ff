"""What the `app.py` of a service on the bus begins with: its pool, its tables, its bus."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from libs.bus.bus import Bus
from libs.bus.suspension import Probe
from libs.runtime.clock import Clock
from libs.runtime.health import Health
from libs.runtime.settings import ServiceSettings
from libs.storage.migrations import LEDGER_MIGRATIONS
from libs.storage.pool import Pool
from libs.storage.service import service_database


@asynccontextmanager
async def service_bus(
    settings: ServiceSettings,
    health: Health,
    migrations: Sequence[Path] = (),
    *,
    probes: Mapping[str, Probe] | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[tuple[Pool, Bus]]:
    """Open the pool, find the ledger's and then `migrations` applied, and yield the pool and a bus to be wired.

    The caller wires the bus and enters it (`async with bus:`); the pool closes after it. Its `clock` is the database's
    unless another one is given. Raises DatabaseUnavailable when the database does not answer at the start.
    """
    async with service_database(settings, [LEDGER_MIGRATIONS, *migrations]) as (pool, shared):
        yield (
            pool,
            Bus(
                service=settings.service,
                kafka=settings.kafka,
                pool=pool,
                health=health,
                probes=probes,
                clock=clock or shared,
                session_ms=settings.kafka_session_ms,
            ),
        )
