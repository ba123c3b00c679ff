"""What the `app.py` of a service on the bus begins with: its pool, its tables, its bus, the timers that never end."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

from libs.bus.bus import Bus
from libs.bus.suspension import Probe
from libs.contracts.base import Event
from libs.contracts.cloudevents import encode, event_id
from libs.contracts.topics import Topic
from libs.runtime.clock import Clock
from libs.runtime.health import Health
from libs.runtime.settings import ServiceSettings
from libs.storage import ledger
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
    """Open the pool, migrate the ledger and then `migrations`, and yield the pool and a bus that is yet to be wired.

    The caller wires the bus and enters it (`async with bus:`); the pool closes after it. Its `clock` is the database's
    unless another one is given. Raises DatabaseUnavailable when the database does not answer at the start.
    """
    async with service_database(settings, [LEDGER_MIGRATIONS, *migrations]) as (pool, shared):
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


async def start_timers(pool: Pool, service: str, clock: Clock, timers: Sequence[tuple[Topic, Event]]) -> None:
    """Have these timers, which park themselves again for ever, and have them fire now."""
    async with pool.acquire() as connection, connection.transaction():
        for topic, event in timers:
            record, identifier = encode(topic, event, source=service, time=clock()), event_id(topic, event)
            await ledger.set_timer(
                connection,
                timer=identifier,
                request_id=identifier,
                at=clock(),
                content_hash=sha256(record.value).digest(),
                record=record,
            )
