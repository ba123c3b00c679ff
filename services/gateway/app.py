"""The wiring of the gateway, and nothing else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from libs.bus.gathering import SLICES_FOLLOW
from libs.bus.projection import project_certificates, project_keys, project_users
from libs.bus.service import service_bus
from libs.bus.trust import key_trust, read_service_root
from libs.contracts import topics
from libs.contracts.signing import INTERACTIVE_DOCUMENTS
from libs.contracts.topics import Topic
from libs.runtime.clock import Clock
from libs.runtime.health import Health
from libs.runtime.http_server import http_server
from libs.runtime.server_tls import server_context
from services.gateway import handlers, timeline
from services.gateway.access import Access
from services.gateway.api import create_api
from services.gateway.inbox import Inbox
from services.gateway.live import Live
from services.gateway.media import Media
from services.gateway.not_me import Reports
from services.gateway.promises import Promises
from services.gateway.resending import Resends
from services.gateway.settings import Settings
from services.gateway.starting import Starting
from services.gateway.store import MIGRATIONS
from services.gateway.submissions import Submissions
from services.gateway.token_signatures import TokenDesk

MAX_LISTS: Final = 10
"""Records in a batch of topics that carry lists: each may hold 10,000 documents."""

DOCUMENTS: Final = "documents"
"""The lane of what comes per document, so that a long batch does not stand before another officer's OTP."""


@dataclass(frozen=True)
class Routes:
    """Where events come from and go to; tests give topics of their own."""

    requested: Topic = topics.REQUESTED
    medium_resolved: Topic = topics.MEDIUM_RESOLVED
    otp_dispatched: Topic = topics.OTP_DISPATCHED
    officer_told: Topic = topics.OFFICER_TOLD
    authorisation_failed: Topic = topics.AUTHORISATION_FAILED
    progressed: Topic = topics.PROGRESSED
    rejected: Topic = topics.REJECTED
    completed: Topic = topics.COMPLETED
    token_signed: Topic = topics.TOKEN_SIGNED
    cancel_requested: Topic = topics.CANCEL_REQUESTED
    cancel_answered: Topic = topics.CANCEL_ANSWERED
    certificate: Topic = topics.CERTIFICATE
    not_me: Topic = topics.NOT_ME
    resend_requested: Topic = topics.RESEND_REQUESTED
    resend_answered: Topic = topics.RESEND_ANSWERED
    waiting: Topic = topics.WAITING
    keys: Topic = topics.KEYS
    user: Topic = topics.USER
    interactive: Topic = topics.AUTHORISATION_SUBMITTED
    bulk: Topic = topics.AUTHORISATION_SUBMITTED_BULK

    def lane(self, documents: int) -> Topic:
        """The topic of an authorisation: a long batch never stands before one document."""
        return self.interactive if documents <= INTERACTIVE_DOCUMENTS else self.bulk


DEFAULT_ROUTES: Final = Routes()


@asynccontextmanager
async def serve(
    settings: Settings, health: Health, routes: Routes = DEFAULT_ROUTES, *, clock: Clock | None = None
) -> AsyncIterator[int]:
    """Serve while entered; yields the port of the API."""
    service_root = read_service_root(settings.pki_dir)
    tls = server_context(settings.gateway_tls.get_secret_value(), clients=service_root)
    async with service_bus(settings, health, [MIGRATIONS], clock=clock, keys=routes.keys) as (pool, bus):
        bus.state(
            {
                routes.user: project_users,
                routes.certificate: project_certificates,
                routes.keys: project_keys(key_trust(service_root, bus.clock)),
            }
        )
        bus.consume(
            {
                routes.requested: handlers.Requests(service_root).handle,
                routes.medium_resolved: handlers.medium_resolved,
                routes.otp_dispatched: handlers.otp_dispatched,
                routes.officer_told: handlers.officer_told,
                routes.authorisation_failed: handlers.request_events(timeline.authorisation_failed),
                routes.cancel_answered: handlers.request_events(timeline.cancel_answered),
                routes.resend_answered: handlers.request_events(timeline.resend_answered),
                routes.waiting: handlers.document_events(timeline.waiting),
                routes.completed: handlers.completed,
            },
            max_records=MAX_LISTS,
        )
        bus.consume(
            {
                routes.progressed: handlers.document_events(timeline.progressed),
                routes.rejected: handlers.document_events(timeline.rejected),
            },
            lane=DOCUMENTS,
            gather=SLICES_FOLLOW,
        )
        live = Live(pool)
        promises = Promises(
            service=settings.service, pool=pool, publisher=bus.publisher, clock=bus.clock, sign=bus.sign
        )

        def knows_state() -> bool:
            return bus.knows_state

        inbox = Inbox(pool, bus.clock, knows_state)
        api = create_api(
            service=settings.service,
            access=Access(pool, service_root, bus.clock, knows_state),
            submissions=Submissions(promises, lane=routes.lane, cancels=routes.cancel_requested),
            starting=Starting(
                promises,
                service=settings.service,
                pool=pool,
                service_root=service_root,
                clock=bus.clock,
                knows_keys=knows_state,
                emits_to=routes.requested,
            ),
            media=Media(pool, knows_state),
            tokens=TokenDesk(promises, emits_to=routes.token_signed),
            resends=Resends(promises, pool=pool, topic=routes.resend_requested),
            inbox=inbox,
            reports=Reports(promises, inbox, topic=routes.not_me, clock=bus.clock),
            live=live,
            pool=pool,
            service_root=service_root,
            clock=bus.clock,
        )
        async with bus, http_server(api, settings.gateway_port, health, host=settings.listen_host, tls=tls) as port:
            try:
                yield port
            finally:
                live.stop()  # before the server's own stop, which waits for calls under way
