"""The wiring of crl_verifier."""

import contextlib
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

from libs.bus.gathering import Gathering
from libs.bus.projection import project_certificates, project_users
from libs.bus.service import service_bus
from libs.bus.slices import DOCUMENT_SLICE
from libs.bus.subscriber import DOCUMENT_FETCH
from libs.bus.unread import unread
from libs.contracts import topics
from libs.runtime.background import beside
from libs.runtime.clock import Clock
from libs.runtime.executor import Offload
from libs.runtime.health import Health
from services.crl_verifier import token_requests
from services.crl_verifier.authorities import read_authorities
from services.crl_verifier.download import http_client
from services.crl_verifier.handlers import Handlers
from services.crl_verifier.judging import Judging
from services.crl_verifier.revocation_lists import RevocationLists
from services.crl_verifier.settings import Settings
from services.crl_verifier.token_signed import TokenSignatures
from services.crl_verifier.verification import Verification

MIGRATIONS = Path(__file__).parent / "sql" / "migrations"

REQUESTS = "requests"
"""The lane of what comes per request, so that a long list does not stand before a document."""

MAX_LISTS = 10
"""Records in a batch of lists: each may hold 10,000 documents."""


def unread_signatures(settings: Settings) -> token_requests.Unread:
    """What `expiry` asks."""

    async def ask(documents: Collection[str], before: datetime) -> set[str]:
        keys = [document.encode() for document in documents]
        found = await unread(settings.kafka, settings.service, topics.TOKEN_SIGNED, keys, before)
        return {key.decode() for key in found}

    return ask


@asynccontextmanager
async def serve(settings: Settings, health: Health, *, clock: Clock | None = None) -> AsyncIterator[None]:
    """Serve until left."""
    root, issuing = read_authorities(settings.pki_dir)
    # Two pools of threads: a CRL of a million entries is parsed for seconds while documents go on.
    judging, parsing = Offload(workers=1, backlog=2, name="judge"), Offload(workers=1, backlog=1, name="crl")
    with contextlib.closing(judging), contextlib.closing(parsing):
        async with http_client() as client, service_bus(settings, health, [MIGRATIONS], clock=clock) as (pool, bus):
            lists = RevocationLists(
                (root, issuing),
                base_url=settings.crl_base_url,
                client=client,
                pool=pool,
                offload=parsing,
                health=health,
                clock=bus.clock,
            )
            await lists.load()
            answer = Judging(Verification(root, issuing), lists, judging, bus.clock)
            bus.state({topics.CERTIFICATE: project_certificates, topics.USER: project_users})
            bus.consume(
                {
                    topics.SIGNED: Handlers(answer).signed,
                    topics.TOKEN_SIGNED: TokenSignatures(answer).handle,
                },
                max_records=DOCUMENT_SLICE,  # what comes by itself waits for no more than these
                gather=Gathering(0.03),
                fetch_max=DOCUMENT_FETCH,
            )
            bus.consume(
                {
                    topics.MEDIUM_RESOLVED: token_requests.medium_resolved,
                    topics.CANCEL_REQUESTED: token_requests.CANCELLING.requested,
                },
                lane=REQUESTS,
                max_records=MAX_LISTS,
            )
            bus.timer(token_requests.EXPIRY, token_requests.expiry(bus.clock, unread_signatures(settings)))
            try:
                async with beside(lists.run(settings.crl_refresh.total_seconds())), bus:
                    yield
            finally:
                await lists.stop()
