"""The wiring of posting."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path

from libs.bus.gathering import Gathering
from libs.bus.projection import project_certificates
from libs.bus.service import service_bus, start_timers
from libs.bus.slices import DOCUMENT_SLICE
from libs.bus.subscriber import DOCUMENT_FETCH
from libs.contracts import topics
from libs.crypto.public_keys import public_key_id
from libs.runtime.clock import Clock
from libs.runtime.executor import Offload
from libs.runtime.health import Health
from services.posting.checkpoints import CHECKPOINT_LOOK, CheckpointLook, Checkpoints
from services.posting.handlers import Handlers
from services.posting.log_key import LogKey
from services.posting.settings import Settings

MIGRATIONS = Path(__file__).parent / "sql" / "migrations"


@asynccontextmanager
async def serve(
    settings: Settings, health: Health, *, log_key: LogKey | None = None, clock: Clock | None = None
) -> AsyncIterator[None]:
    """Serve until left; with a key of the log that is open already, or the token's own.

    Raises what LogKey.open raises: posting does not start without the log's key, and goes on when its HSM goes away.
    """
    async with AsyncExitStack() as resources:
        offload = resources.enter_context(closing(Offload(workers=1, backlog=2, name="examine")))
        if log_key is None:
            log_key = await resources.enter_async_context(LogKey.open(settings))
        pool, bus = await resources.enter_async_context(
            service_bus(settings, health, [MIGRATIONS], clock=clock, token_key=public_key_id(log_key.public.public))
        )
        handlers = Handlers(offload, bus.clock)
        checkpoints = Checkpoints(
            service=settings.service, key=log_key, every=settings.checkpoint_every, clock=bus.clock
        )
        bus.state({topics.CERTIFICATE: project_certificates})
        bus.consume(
            {topics.VERIFIED: handlers.verified, topics.REJECTED: handlers.rejected},
            max_records=DOCUMENT_SLICE,  # what comes by itself waits for no more than these
            gather=Gathering(0.03),
            fetch_max=DOCUMENT_FETCH,
        )
        bus.timer(CHECKPOINT_LOOK, checkpoints.look)
        await start_timers(pool, settings.service, bus.clock, [(CHECKPOINT_LOOK, CheckpointLook())])
        await resources.enter_async_context(bus)
        yield
