"""posting on the real stack, in this process: one replica per module, and the means to talk to it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.serialization import Encoding

from libs.bus.topics import create_topics
from libs.contracts import topics
from libs.contracts.signing import Completed, Posted, Rejected, Signed
from libs.runtime.clock import utc_now
from libs.runtime.health import Health
from libs.storage.pool import Pool
from services.posting.app import serve
from services.posting.init import initialise
from services.posting.log_key import LogKey
from services.posting.settings import Settings
from tests.integration.hsm.conftest import soft_hsm
from tests.integration.hsm.softhsm import LABEL, MODULE, USER_PIN, SoftHsm
from tests.support.documents import Officer, officer, signed, verified
from tests.support.pki import Pki
from tests.support.producers import Hands
from tests.support.service import common_settings, service_pool
from tests.support.stack import Stack
from tests.support.waiting import eventually
from tests.support.wire import Wire, open_wire

__all__ = ["soft_hsm"]

WATCHED = (topics.POSTED, topics.REJECTED, topics.COMPLETED, topics.VERIFIED, topics.WAITING)

Replica = Callable[[], AbstractAsyncContextManager[None]]


@dataclass
class Posting:
    """A running posting, its wire and its tables."""

    wire: Wire
    database: Pool
    pki: Pki

    async def officer(self) -> Officer:
        """An officer whose certificate posting knows."""
        new = officer(self.pki)
        await self.tell(new)
        return new

    async def tell(self, who: Officer, **state: Any) -> None:
        """Publish the next state of an officer's certificate, and wait until posting has it."""
        event = who.state(**state)
        await self.wire.send(topics.CERTIFICATE, [event])
        query = "select version from certificate_state where credential_id = $1"

        async def known() -> bool:
            return await self.database.fetchval(query, event.credential_id) == event.version

        await eventually(known, "the certificate's state known")

    async def row(self, query: str, *arguments: object) -> tuple[Any, ...]:
        """The one row of a query."""
        [found] = await self.database.fetch(query, *arguments)
        return tuple(found)

    async def verify(self, documents: list[Signed]) -> None:
        """Send these as crl_verifier would."""
        await self.wire.send(topics.VERIFIED, verified(self.pki, documents))

    async def completed(self, request_id: object, *, seconds: float = 30) -> Completed:
        """The end of a request, of which there is one, when all that it lists was read on `posted` too."""
        events = await self.wire.tap.until(
            lambda: self.wire.events(topics.COMPLETED, Completed, request_id), "completed", seconds=seconds
        )
        assert len(events) == 1
        documents = {each.document_id for each in events[0].posted}
        await self.wire.tap.until(
            lambda: {event.document_id for event in self.posted(request_id)} >= documents, "all of it posted"
        )
        return events[0]

    def posted(self, request_id: object) -> list[Posted]:
        """What was read of `posted`, repeats included."""
        return self.wire.events(topics.POSTED, Posted, request_id)

    def rejected(self, request_id: object) -> list[Rejected]:
        """What was read of `rejected`, repeats included."""
        return self.wire.events(topics.REJECTED, Rejected, request_id)

    async def settled(self) -> None:
        """Wait until everything that was sent so far is handled: a probe of each partition came out at the end."""
        who = await self.officer()
        probe = signed(who, [f"probe-{who.user}-{number}" for number in range(40)])
        await self.verify(probe)
        await self.completed(probe[0].request_id)
        await self.wire.tap.read()


@pytest.fixture(scope="session")
def pki() -> Pki:
    """Both trees, valid now."""
    return Pki(now=utc_now())


@pytest.fixture(scope="session")
def hands(pki: Pki) -> Hands:
    """Who writes what posting reads."""
    return Hands(pki)


@pytest.fixture(scope="session")
def pki_dir(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Public keys."""
    directory = tmp_path_factory.mktemp("pki")
    (directory / "service_root.pem").write_bytes(pki.service_root.certificate.public_bytes(Encoding.PEM))
    return directory


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def log_key(soft_hsm: SoftHsm, pki_dir: Path, stack: Stack, hands: Hands) -> AsyncIterator[LogKey]:
    """The signing log's key in a real token, as `init` makes it; one for all replicas, since a process has one HSM."""
    assert soft_hsm.tokens.exists()
    settings = Settings(
        **common_settings(stack, "posting"),
        producer_key=hands.secret("posting"),
        pki_dir=pki_dir,
        pkcs11_module=MODULE,
        pkcs11_token_label=LABEL,
        hsm_pin=USER_PIN,
    )
    await initialise(settings, Health("posting"))
    async with LogKey.open(settings) as key:
        yield key


@pytest.fixture(scope="module")
def replica(stack: Stack, log_key: LogKey, pki_dir: Path, hands: Hands) -> Replica:
    """Makes replicas of posting."""
    settings = Settings(
        **common_settings(stack, "posting"),
        producer_key=hands.secret("posting"),
        pki_dir=pki_dir,
        pkcs11_module=MODULE,
        pkcs11_token_label=LABEL,
        hsm_pin=USER_PIN,
        checkpoint_every=timedelta(milliseconds=300),
    )

    @asynccontextmanager
    async def one() -> AsyncIterator[None]:
        async with serve(settings, Health("posting"), log_key=log_key):
            yield

    return one


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def posting(stack: Stack, pki: Pki, hands: Hands, replica: Replica) -> AsyncIterator[Posting]:
    """One replica, and the topics that it writes."""
    await create_topics(stack.kafka)
    database = await service_pool(stack, "posting")
    try:
        async with (
            open_wire(
                stack, hands, topics.POSTED, topics.REJECTED, topics.COMPLETED, topics.VERIFIED, topics.WAITING
            ) as wire,
            replica(),
        ):
            yield Posting(wire, database, pki)
    finally:
        await database.close()
