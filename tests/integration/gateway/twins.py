"""The API of a twin on the same schema, whose broker is away."""

from dataclasses import replace

from cryptography.hazmat.primitives.serialization import Encoding
from fastapi import FastAPI

from libs.bus.publisher import Publisher
from libs.bus.signing import unsigned
from libs.runtime.clock import utc_now
from libs.storage.pool import Pool
from services.gateway.access import Access
from services.gateway.api import create_api
from services.gateway.app import Routes
from services.gateway.inbox import Inbox
from services.gateway.live import Live
from services.gateway.media import Media
from services.gateway.not_me import Reports
from services.gateway.promises import Promises
from services.gateway.resending import Resends
from services.gateway.settings import Settings
from services.gateway.starting import Starting
from services.gateway.submissions import Submissions
from services.gateway.token_signatures import TokenDesk
from tests.support.pki import Pki


def cut_off_api(settings: Settings, routes: Routes, pki: Pki, pool: Pool, live: Live) -> FastAPI:
    """Over this pool, with these streams."""
    away = Publisher(replace(settings.kafka, bootstrap="127.0.0.1:1"), client_id="cut-off")
    root = pki.service_root.certificate.public_bytes(Encoding.DER)
    promises = Promises(service=settings.service, pool=pool, publisher=away, clock=utc_now, sign=unsigned)
    inbox = Inbox(pool, utc_now, lambda: True)
    return create_api(
        service=settings.service,
        access=Access(pool, root, utc_now, lambda: True),
        submissions=Submissions(promises, lane=routes.lane, cancels=routes.cancel_requested),
        starting=Starting(
            promises,
            service=settings.service,
            pool=pool,
            service_root=root,
            clock=utc_now,
            knows_keys=lambda: True,
            emits_to=routes.requested,
        ),
        media=Media(pool, lambda: True),
        tokens=TokenDesk(promises, emits_to=routes.token_signed),
        resends=Resends(promises, pool=pool, topic=routes.resend_requested),
        inbox=inbox,
        reports=Reports(promises, inbox, topic=routes.not_me, clock=utc_now),
        live=live,
        pool=pool,
        service_root=root,
        clock=utc_now,
    )
