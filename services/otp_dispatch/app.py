"""The wiring of otp_dispatch, and nothing else."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

from libs.bus.gathering import SLICES_FOLLOW
from libs.bus.outcomes import Unavailable
from libs.bus.projection import project_keys
from libs.bus.service import service_bus
from libs.bus.signing import PRODUCER_KEY
from libs.bus.trust import key_trust, read_service_root
from libs.contracts.signing import OTP_LIFETIME
from libs.crypto.errors import CryptoError
from libs.crypto.requests import read_signing_key
from libs.runtime.clock import Clock
from libs.runtime.health import Health
from libs.runtime.settings import ConfigurationError
from libs.storage import state
from services.otp_dispatch import answers
from services.otp_dispatch.code_box import CodeBox
from services.otp_dispatch.codes import Codes
from services.otp_dispatch.handlers import OtpDispatch
from services.otp_dispatch.notices import NOTICE, Notices
from services.otp_dispatch.officers import Officers
from services.otp_dispatch.relay import RELAY, Relay
from services.otp_dispatch.routes import DEFAULT_ROUTES, Routes
from services.otp_dispatch.sealing_key import SEALING_KEY, newest_sealing_key
from services.otp_dispatch.settings import Settings
from services.otp_dispatch.store import MIGRATIONS
from services.otp_dispatch.under_way import Deliveries

MAX_RECORDS = 10
"""Requests in a batch: each may hold 10,000 documents."""


RESENDS = "resends"
"""The lane of what officers ask for again, so that it waits neither behind first codes nor behind their relay."""


ANSWERS = "answers"
"""The lane of what became of codes, and of what officers are told: it waits for no relay."""


@asynccontextmanager
async def serve(
    settings: Settings, health: Health, routes: Routes = DEFAULT_ROUTES, *, clock: Clock | None = None
) -> AsyncIterator[None]:
    """Serve while entered. Raises ConfigurationError for keys that are none."""
    service_root = read_service_root(settings.pki_dir)
    codes = _codes(settings)
    relay = Relay(host=settings.smtp_host, port=settings.smtp_port, tls=settings.smtp_tls)

    async def ask_for_sealing_key() -> None:
        async with pool.acquire() as connection:
            if newest_sealing_key(await state.keys(connection, "sealing"), service_root, bus.clock()) is None:
                raise Unavailable(SEALING_KEY)

    probes = {RELAY: relay.probe, SEALING_KEY: ask_for_sealing_key}
    async with (
        aclosing(relay),
        aclosing(Deliveries(relay)) as deliveries,
        aclosing(Deliveries(relay)) as notice_deliveries,
        service_bus(settings, health, [MIGRATIONS], probes=probes, clock=clock, keys=routes.keys) as (pool, bus),
    ):
        notices = Notices(
            deliveries=notice_deliveries, sender=settings.smtp_sender, told=routes.officer_told, clock=bus.clock
        )
        officers = Officers(notices, bus.clock)
        bus.state({routes.user: officers.project, routes.keys: project_keys(key_trust(service_root, bus.clock))})
        dispatch = OtpDispatch(
            deliveries=deliveries,
            codes=codes,
            sender=settings.smtp_sender,
            service_root=service_root,
            routes=routes,
            ceilings=settings.ceilings,
            clock=bus.clock,
        )
        bus.consume({routes.medium_resolved: dispatch.handle}, max_records=MAX_RECORDS)
        bus.consume({routes.resend_requested: dispatch.handle}, lane=RESENDS, max_records=MAX_RECORDS)
        bus.consume(
            {
                routes.progressed: answers.progressed,
                routes.authorisation_failed: answers.authorisation_failed,
                routes.not_me: answers.not_me,
                routes.pin_answered: officers.pin_answered,
                routes.certificate: officers.certificate,
            },
            lane=ANSWERS,
            gather=SLICES_FOLLOW,  # of all that follow from one right code, the first counts
        )
        bus.timer(NOTICE, notices.tell)
        async with bus:
            yield


def _codes(settings: Settings) -> Codes:
    try:
        box = CodeBox(bytes.fromhex(settings.otp_key.get_secret_value().decode()))
    except ValueError:
        raise ConfigurationError(["otp_key: not a key in hex"]) from None
    try:
        challenge_key = read_signing_key(settings.producer_key.get_secret_value())
    except CryptoError as error:
        raise ConfigurationError([f"{PRODUCER_KEY}: {error}"]) from None
    return Codes(
        box=box,
        challenge_key=challenge_key,
        domain=settings.smtp_sender.rpartition("@")[2],
        lifetimes=OTP_LIFETIME | {"e-mail": settings.email_otp_lifetime},
    )
