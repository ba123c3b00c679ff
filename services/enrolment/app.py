"""The wiring of enrolment, and nothing else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from libs.bus.projection import project_keys
from libs.bus.service import service_bus
from libs.bus.trust import key_trust, read_service_root
from libs.runtime.clock import Clock
from libs.runtime.health import Health
from services.enrolment.devices import Devices
from services.enrolment.handlers import Enrolment
from services.enrolment.routes import DEFAULT_ROUTES, Routes
from services.enrolment.settings import Settings
from services.enrolment.store import MIGRATIONS


@asynccontextmanager
async def serve(
    settings: Settings, health: Health, routes: Routes = DEFAULT_ROUTES, *, clock: Clock | None = None
) -> AsyncIterator[None]:
    """Serve while entered."""
    service_root = read_service_root(settings.pki_dir)
    async with service_bus(settings, health, [MIGRATIONS], clock=clock, keys=routes.keys) as (_, bus):
        enrolment = Enrolment(service_root=service_root, routes=routes)
        devices = Devices(service_root=service_root, routes=routes)
        bus.state({routes.keys: project_keys(key_trust(service_root, bus.clock))})
        bus.consume(
            {
                routes.application_submitted: enrolment.submitted,
                routes.token_application_submitted: enrolment.token_submitted,
                routes.device_registration_submitted: devices.submitted,
                routes.certificate: enrolment.certificate,
            }
        )
        async with bus:
            yield
