"""What the `app.py` of a service on the bus begins with: its pool, its tables, its bus, the timers that never end."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from hashlib import sha256
from pathlib import Path

from libs.bus.bus import Bus
from libs.bus.outcomes import Unavailable
from libs.bus.producers import KEY_PUBLISHER, Producers
from libs.bus.settings_policy import hold
from libs.bus.signing import PRODUCER_KEY, EventSigner, ProducerSettings
from libs.bus.suspension import Probe
from libs.bus.trust import read_service_root
from libs.contracts import topics
from libs.contracts.base import Event
from libs.contracts.cloudevents import encode, event_id
from libs.contracts.topics import Topic
from libs.runtime.clock import Clock
from libs.runtime.health import Health
from libs.storage import ledger
from libs.storage.migrations import LEDGER_MIGRATIONS
from libs.storage.pool import Pool
from libs.storage.service import service_database


@asynccontextmanager
async def service_bus(
    settings: ProducerSettings,
    health: Health,
    migrations: Sequence[Path] = (),
    *,
    probes: Mapping[str, Probe] | None = None,
    clock: Clock | None = None,
    keys: Topic = topics.KEYS,
    token_key: str | None = None,
) -> AsyncIterator[tuple[Pool, Bus]]:
    """Open the pool, find the ledger's and then `migrations` applied, and yield the pool and a bus to be wired.

    The caller wires the bus and enters it (`async with bus:`); the pool closes after it. Its `clock` is the database's
    unless another one is given, `keys` where it learns whose events to believe, `token_key` the id of a key in its HSM
    token. Raises DatabaseUnavailable when the database does not answer at the start, ConfigurationError for a key that
    is none, and for settings that are not those of the security officers' policy.
    """
    producers = Producers(settings.kafka, read_service_root(settings.pki_dir), keys)

    def is_known(key_id: str) -> bool:
        # The key publisher's first word is on its own key.
        return settings.service == KEY_PUBLISHER or producers.knows(key_id)

    signer = EventSigner(settings.producer_key.get_secret_value(), known=is_known)

    async def ask_for_our_key() -> None:
        await producers.look()
        if not is_known(signer.key_id):
            raise Unavailable(PRODUCER_KEY)

    async with (
        aclosing(producers),
        service_database(settings, [LEDGER_MIGRATIONS, *migrations], health=health) as (pool, shared),
    ):
        await hold(settings, health, pool, clock or shared, token_key=token_key)
        yield (
            pool,
            Bus(
                service=settings.service,
                kafka=settings.kafka,
                pool=pool,
                health=health,
                probes={PRODUCER_KEY: ask_for_our_key, **(probes or {})},
                clock=clock or shared,
                session_ms=settings.kafka_session_ms,
                sign=signer,
                producers=producers,
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
