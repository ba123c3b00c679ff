"""The wiring of monitor."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import structlog

from libs.contracts.log import LOG_KEY_FILE
from libs.crypto import notes
from libs.crypto.requests import read_signing_key
from libs.runtime import metrics
from libs.runtime.background import beside
from libs.runtime.clock import Clock
from libs.runtime.health import Health
from libs.storage.errors import is_unavailable
from libs.storage.service import service_database
from services.monitor.closing import Closing
from services.monitor.reading import Reader
from services.monitor.reconciliation import Reconciliation
from services.monitor.settings import Settings
from services.monitor.witness import Keys, Witness

MIGRATIONS = Path(__file__).parent / "sql" / "migrations"

CONNECTIONS: Final = 4
"""One to write, one to look, one for the daily file, one for the witness."""

log = structlog.get_logger()


@asynccontextmanager
async def serve(settings: Settings, health: Health, *, clock: Clock | None = None) -> AsyncIterator[None]:
    """Serve until left."""
    async with service_database(settings, [MIGRATIONS], connections=CONNECTIONS) as (pool, shared):
        reader = Reader(
            service=settings.service,
            bootstrap=settings.kafka_bootstrap,
            session_ms=settings.kafka_session_ms,
            pool=pool,
            health=health,
            write_every=settings.write_every.total_seconds(),
        )
        reconciliation = Reconciliation(
            service=settings.service,
            bootstrap=settings.kafka_bootstrap,
            pool=pool,
            clock=clock or shared,
            unposted=settings.signed_not_posted_after,
            unsigned=settings.posted_not_signed_after,
        )
        closing = Closing(
            service=settings.service,
            bootstrap=settings.kafka_bootstrap,
            pool=pool,
            clock=clock or shared,
            directory=settings.daily_file_dir,
            caller=settings.daily_file_caller,
            after=settings.daily_file_after,
        )
        witness = Witness(
            service=settings.service,
            bootstrap=settings.kafka_bootstrap,
            pool=pool,
            health=health,
            clock=clock or shared,
            keys=_keys(settings),
            late=settings.checkpoint_late_after,
        )
        every = settings.look_every.total_seconds()
        async with (
            beside(reader.run()),
            beside(witness.run()),
            beside(_again_and_again(reconciliation.look, every, health, "reconciliation")),
            beside(_again_and_again(closing.look, every, health, "daily-file")),
        ):
            yield


def _keys(settings: Settings) -> Keys:
    """The pinned key of the log and our own. Raises OSError, CryptoError."""
    private = read_signing_key(settings.witness_key.get_secret_value().encode())
    log_key = notes.read_key((settings.pki_dir / LOG_KEY_FILE).read_text(encoding="utf-8"))
    return Keys(log_key, notes.witness_key(settings.witness_name, private), private)


async def _again_and_again(look: Callable[[], Awaitable[None]], every: float, health: Health, check: str) -> None:
    """Look until cancelled. A look that fails is told, and taken again."""
    while True:
        try:
            await look()
            health.set(check, ok=True)
        except Exception as error:
            if not is_unavailable(error):
                metrics.alarm("monitor", "look-failed", check=check)
            log.warning("look failed", check=check, exc_info=error)
            health.set(check, ok=False, detail=type(error).__name__)
        await asyncio.sleep(every)
