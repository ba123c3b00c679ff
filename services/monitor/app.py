"""The wiring of monitor."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Final

import structlog
from aiokafka.errors import KafkaError

from libs.bus.producers import Producers
from libs.bus.trust import read_service_root
from libs.runtime import metrics
from libs.runtime.background import beside
from libs.runtime.clock import Clock
from libs.runtime.health import Health
from libs.storage.errors import is_unavailable
from libs.storage.service import service_database
from services.monitor.clocks import Clocks
from services.monitor.closing import Closing
from services.monitor.lag import Lag
from services.monitor.pruning import Pruning
from services.monitor.reading import Reader
from services.monitor.reconciliation import Reconciliation
from services.monitor.settings import Settings
from services.monitor.witness import RETRY, Witness
from services.monitor.witness_keys import Keys

MIGRATIONS = Path(__file__).parent / "sql" / "migrations"

CONNECTIONS: Final = 4
"""One to write, one to look, one for the daily file or to prune, one for the witness."""

FINISH: Final = 3.0
"""Seconds that a look under way may take at the end: aiokafka leaves a connection open that is cancelled while it is
made."""

log = structlog.get_logger()


@asynccontextmanager
async def serve(settings: Settings, health: Health, *, clock: Clock | None = None) -> AsyncIterator[None]:
    """Serve until left."""
    producers = Producers(settings.kafka, read_service_root(settings.pki_dir))
    async with (
        service_database(settings, [MIGRATIONS], connections=CONNECTIONS, health=health) as (pool, shared),
        aclosing(producers),
    ):
        reader = Reader(
            service=settings.service,
            kafka=settings.kafka,
            session_ms=settings.kafka_session_ms,
            pool=pool,
            health=health,
            clocks=Clocks(settings.service, clock or shared, health),
            write_every=settings.write_every.total_seconds(),
            producers=producers,
        )
        reconciliation = Reconciliation(
            service=settings.service,
            kafka=settings.kafka,
            pool=pool,
            clock=clock or shared,
            after={
                "signed-not-posted": settings.signed_not_posted_after,
                "token-signed-not-posted": settings.token_signed_not_posted_after,
                "posted-not-signed": settings.posted_not_signed_after,
            },
        )
        closing = Closing(
            service=settings.service,
            kafka=settings.kafka,
            pool=pool,
            clock=clock or shared,
            directory=settings.daily_file_dir,
            after=settings.daily_file_after,
        )
        pruning = Pruning(pool=pool, clock=clock or shared, keep=settings.keep)
        lag = Lag(settings.kafka)
        witness = Witness(
            service=settings.service,
            kafka=settings.kafka,
            pool=pool,
            health=health,
            clock=clock or shared,
            keys=Keys.of(settings),
            late=settings.checkpoint_late_after,
        )
        every = settings.look_every.total_seconds()
        async with (
            beside(producers.keep()),
            beside(reader.run()),
            beside(witness.run()),
            beside(_again_and_again(reconciliation.look, every, health, "reconciliation")),
            beside(_again_and_again(closing.look, every, health, "daily-file")),
            beside(_again_and_again(pruning.look, every, health, "pruning")),
            beside(_again_and_again(lag.look, settings.lag_every.total_seconds(), health, "lag")),
        ):
            yield


async def _again_and_again(look: Callable[[], Awaitable[None]], every: float, health: Health, check: str) -> None:
    """Look until cancelled. A look that fails is told, and soon taken again."""
    while True:
        pause = every
        try:
            await _whole(look)
            health.set(check, ok=True)
        except Exception as error:
            if not is_unavailable(error) and not isinstance(error, KafkaError):
                metrics.alarm("monitor", "look-failed", check=check)
            log.warning("look failed", check=check, exc_info=error)
            health.set(check, ok=False, detail=type(error).__name__)
            pause = min(every, RETRY)
        await asyncio.sleep(pause)


async def _whole(look: Callable[[], Awaitable[None]]) -> None:
    """One look, to its end also when it is cancelled."""
    looking = asyncio.ensure_future(look())
    try:
        await asyncio.shield(looking)
    except asyncio.CancelledError:
        await asyncio.wait({looking}, timeout=FINISH)
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        raise
