"""crl_verifier on the real stack, in this process: one per test, with a CRL server and a memory of its own."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.serialization import Encoding

from libs.bus.topics import create_topics
from libs.contracts import topics
from libs.contracts.signing import Rejected, Signed, Verified
from libs.contracts.token_route import TokenSigned
from libs.contracts.waiting import Waiting
from libs.runtime.clock import utc_now
from libs.runtime.health import Health
from libs.storage.pool import Pool
from services.crl_verifier.app import serve
from services.crl_verifier.settings import Settings
from tests.integration.crl_verifier.crl_server import CrlServer, crl_server
from tests.support.documents import Officer, officer
from tests.support.pki import Pki
from tests.support.producers import Hands
from tests.support.service import common_settings, service_pool
from tests.support.stack import Stack
from tests.support.waiting import eventually
from tests.support.wire import Wire, open_wire

REFRESH = timedelta(seconds=1)

WATCHED = (
    topics.VERIFIED,
    topics.REJECTED,
    topics.WAITING,
    topics.CANCEL_ANSWERED,
    topics.SIGNED,
    topics.TOKEN_SIGNED,
    topics.CANCEL_REQUESTED,
)


@dataclass
class Verifier:
    """What a test has of crl_verifier: its wire, its tables, its CRL server; `start()` runs it."""

    wire: Wire
    database: Pool
    pki: Pki
    server: CrlServer
    start: Callable[[], AbstractAsyncContextManager[Health]]

    def crls(self, **issuing: Any) -> tuple[bytes, bytes]:
        """Fresh CRLs of root and issuing CA; parts are those of the issuing CA's."""
        return self.pki.crl(self.pki.root), self.pki.crl(**issuing)

    def stale(self) -> tuple[bytes, bytes]:
        """A current CRL of the root, and one of the issuing CA whose nextUpdate has passed."""
        now = utc_now().replace(microsecond=0)
        return self.crls(this_update=now - timedelta(hours=2), next_update=now - timedelta(seconds=5))

    async def officer(self, **options: Any) -> Officer:
        """An officer whose certificate crl_verifier knows; it must be running."""
        new = officer(self.pki, **options)
        await self.tell(new)
        return new

    async def tell(self, who: Officer, **state: Any) -> None:
        """Publish the next state of an officer's certificate, and wait until crl_verifier has it."""
        event = who.state(**state)
        await self.wire.send(topics.CERTIFICATE, [event])
        query = "select version from certificate_state where credential_id = $1"

        async def known() -> bool:
            return await self.database.fetchval(query, event.credential_id) == event.version

        await eventually(known, "the certificate's state known")

    async def answers(self, documents: Sequence[Signed | TokenSigned]) -> list[Verified | Rejected]:
        """The one answer to each of these documents, in their order."""
        request = documents[0].request_id
        ids = [each.entry.id for each in documents]

        def by_id() -> dict[str, Verified | Rejected]:
            found: dict[str, Verified | Rejected] = {v.entry.id: v for v in self.verified(request)}
            for event in self.rejected(request):
                found |= dict.fromkeys(event.documents or (), event)
            return found

        await self.wire.tap.until(lambda: by_id().keys() >= set(ids), "answered")
        assert len(self.verified(request)) + len(self.rejected(request)) == len(ids)
        return [by_id()[each] for each in ids]

    async def parked(self, documents: Sequence[Signed | TokenSigned], why: str) -> None:
        """Wait until all of these wait, for this reason."""
        query = "select count(*) from due where request_id = $1 and why = $2"

        async def all_parked() -> bool:
            return await self.database.fetchval(query, documents[0].request_id, why) == len(documents)

        await self.wire.tap.until(all_parked, f"parked: {why}")

    def verified(self, request_id: object) -> list[Verified]:
        """What was read of `verified`, repeats included."""
        return self.wire.events(topics.VERIFIED, Verified, request_id)

    def rejected(self, request_id: object) -> list[Rejected]:
        """What was read of `rejected`, repeats included."""
        return self.wire.events(topics.REJECTED, Rejected, request_id)

    def waiting(self, request_id: object) -> list[Waiting]:
        """What was read of `waiting`, repeats included."""
        return self.wire.events(topics.WAITING, Waiting, request_id)

    async def look_again(self, request_id: object) -> None:
        """Let what is parked of a request be due now."""
        await self.database.execute("update due set at = now() where request_id = $1 and why <> 'timer'", request_id)

    async def numbers(self) -> list[int]:
        """CRL numbers that are kept, in order."""
        rows = await self.database.fetch("select number from crl order by number")
        return [int(row["number"]) for row in rows]


@pytest.fixture(scope="session")
def pki() -> Pki:
    """Both trees, valid now."""
    return Pki(now=utc_now().replace(microsecond=0))


@pytest.fixture(scope="session")
def pki_dir(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`GPKI_PKI_DIR`."""
    folder = tmp_path_factory.mktemp("pki")
    (folder / "root.pem").write_bytes(pki.root.certificate.public_bytes(Encoding.PEM))
    (folder / "issuing.pem").write_bytes(pki.issuing.certificate.public_bytes(Encoding.PEM))
    (folder / "service_root.pem").write_bytes(pki.service_root.certificate.public_bytes(Encoding.PEM))
    return folder


@pytest.fixture(scope="session")
def hands(pki: Pki) -> Hands:
    """Who writes what crl_verifier reads."""
    return Hands(pki)


@pytest.fixture
def server() -> Iterator[CrlServer]:
    """A CRL server that serves nothing yet."""
    with crl_server() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def wire(stack: Stack, hands: Hands) -> AsyncIterator[Wire]:
    """The topics that crl_verifier writes."""
    await create_topics(stack.kafka)
    async with open_wire(stack, hands, *WATCHED) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def verifier(
    stack: Stack, wire: Wire, pki: Pki, hands: Hands, pki_dir: Path, server: CrlServer
) -> AsyncIterator[Verifier]:
    """crl_verifier that has seen no CRL before."""
    settings = Settings(
        **common_settings(stack, "crl_verifier"),
        producer_key=hands.secret("crl_verifier"),
        pki_dir=pki_dir,
        crl_base_url=server.url,
        crl_refresh=REFRESH,
    )

    @asynccontextmanager
    async def start(clock: Callable[[], datetime] = utc_now) -> AsyncIterator[Health]:
        health = Health("crl_verifier")
        async with serve(settings, health, clock=clock):
            yield health

    database = await service_pool(stack, "crl_verifier")
    try:
        if await database.fetchval("select to_regclass('crl')"):
            await database.execute("delete from crl")
        yield Verifier(wire, database, pki, server, start)
    finally:
        await database.close()
