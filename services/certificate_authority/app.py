"""The wiring of certificate_authority."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from libs.bus.bus import Bus
from libs.bus.service import service_bus, start_timers
from libs.crypto.public_keys import public_key_id
from libs.runtime.clock import Clock
from libs.runtime.health import Health
from libs.runtime.http_server import http_server
from services.certificate_authority import store
from services.certificate_authority.crl_server import CrlServer
from services.certificate_authority.crls import CRL_LOOK, ISSUERS, CrlLook, Crls
from services.certificate_authority.handlers import KEYS_LOOK, Handlers, KeysLook
from services.certificate_authority.hsm_token import HSM, Token
from services.certificate_authority.issuance import Profile, crl_url
from services.certificate_authority.keys_topic import KeysTopic
from services.certificate_authority.routes import DEFAULT_ROUTES, Routes
from services.certificate_authority.settings import Settings
from services.certificate_authority.standing import Standing


@asynccontextmanager
async def serve(
    settings: Settings, health: Health, *, routes: Routes = DEFAULT_ROUTES, clock: Clock | None = None
) -> AsyncIterator[int]:
    """Open what is needed, and serve until left; yields the CRL server's port.

    Raises NotProvisioned when `init` never ran, or token and database do not belong together.
    """
    async with Token.open(settings) as token:
        probes = {HSM: token.probe}
        token_key = public_key_id(await token.public_key(Profile.SERVICE_ROOT))
        bus_of = service_bus(
            settings, health, [store.MIGRATIONS], probes=probes, clock=clock, keys=routes.keys, token_key=token_key
        )
        async with bus_of as (pool, bus):
            async with pool.acquire() as connection:
                certificates = await store.authorities(connection)
            await token.require(certificates)
            crls = Crls(
                service=settings.service,
                pool=pool,
                token=token,
                certificates=certificates,
                validity=settings.crl_validity,
                clock=bus.clock,
            )
            handlers = Handlers(
                token=token,
                issuing=certificates[Profile.ISSUING],
                officer_validity=settings.officer_validity,
                crl_url=crl_url(settings.crl_base_url, Profile.ISSUING),
                clock=bus.clock,
                routes=routes,
                keys_topic=KeysTopic(settings.kafka, routes.keys, service=settings.service),
            )
            standing = Standing(issuing=certificates[Profile.ISSUING], clock=bus.clock, routes=routes)
            _wire(bus, handlers, standing, crls, routes)
            looks = [(CRL_LOOK, CrlLook(issuer=issuer.value)) for issuer in ISSUERS]
            await start_timers(pool, settings.service, bus.clock, [*looks, (KEYS_LOOK, KeysLook())])
            async with (
                http_server(CrlServer(pool, certificates).app, settings.crl_port, host=settings.listen_host) as port,
                bus,
            ):
                yield port


def _wire(bus: Bus, handlers: Handlers, standing: Standing, crls: Crls, routes: Routes) -> None:
    bus.consume(
        {
            routes.certificate_requested: handlers.issue,
            routes.token_certificate_requested: handlers.issue,
            routes.revocation_requested: standing.revoke,
            routes.suspension_requested: standing.suspend,
            routes.lifting_requested: standing.lift,
        }
    )
    bus.timer(CRL_LOOK, crls.look)
    bus.timer(KEYS_LOOK, handlers.publish_keys)
