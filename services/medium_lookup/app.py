"""The wiring of medium_lookup, and nothing else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from libs.bus.projection import project_certificates, project_keys, project_users
from libs.bus.service import service_bus
from libs.bus.trust import key_trust, read_service_root
from libs.contracts import topics
from libs.contracts.topics import Topic
from libs.runtime.health import Health
from services.medium_lookup.handlers import MediumLookup, cancel_requested
from services.medium_lookup.settings import Settings
from services.medium_lookup.store import MIGRATIONS

MAX_RECORDS = 10
"""Requests in a batch: each may hold 10,000 documents."""


@dataclass(frozen=True)
class Routes:
    """Where events come from and go to; tests give topics of their own."""

    requested: Topic = topics.REQUESTED
    cancel_requested: Topic = topics.CANCEL_REQUESTED
    medium_resolved: Topic = topics.MEDIUM_RESOLVED
    user: Topic = topics.USER
    certificate: Topic = topics.CERTIFICATE
    keys: Topic = topics.KEYS


DEFAULT_ROUTES = Routes()


@asynccontextmanager
async def serve(settings: Settings, health: Health, routes: Routes = DEFAULT_ROUTES) -> AsyncIterator[None]:
    """Serve while entered."""
    service_root = read_service_root(settings.pki_dir)
    async with service_bus(settings, health, [MIGRATIONS], keys=routes.keys) as (_, bus):
        bus.state(
            {
                routes.user: project_users,
                routes.certificate: project_certificates,
                routes.keys: project_keys(key_trust(service_root, bus.clock)),
            }
        )
        lookup = MediumLookup(service_root=service_root, emits_to=routes.medium_resolved, media=settings.media)
        bus.consume(
            {routes.requested: lookup.handle, routes.cancel_requested: cancel_requested}, max_records=MAX_RECORDS
        )
        async with bus:
            yield
