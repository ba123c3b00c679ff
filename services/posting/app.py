"""The wiring of posting."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from libs.bus.projection import project_certificates
from libs.bus.service import service_bus
from libs.bus.slices import DOCUMENT_SLICE
from libs.bus.subscriber import DOCUMENT_FETCH, Gathering
from libs.contracts import topics
from libs.runtime.clock import Clock
from libs.runtime.executor import Offload
from libs.runtime.health import Health
from services.posting.handlers import Handlers
from services.posting.settings import Settings

MIGRATIONS = Path(__file__).parent / "sql" / "migrations"


@asynccontextmanager
async def serve(settings: Settings, health: Health, *, clock: Clock | None = None) -> AsyncIterator[None]:
    """Serve until left."""
    offload = Offload(workers=1, backlog=2, name="examine")
    try:
        async with service_bus(settings, health, [MIGRATIONS], clock=clock) as (_, bus):
            handlers = Handlers(offload, bus.clock)
            bus.state({topics.CERTIFICATE: project_certificates})
            bus.consume(
                {topics.VERIFIED: handlers.verified, topics.REJECTED: handlers.rejected},
                max_records=DOCUMENT_SLICE,  # what comes by itself waits for no more than these
                gather=Gathering(0.03),
                fetch_max=DOCUMENT_FETCH,
            )
            async with bus:
                yield
    finally:
        offload.close()
