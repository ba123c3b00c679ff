"""The attacks' own fixtures; what they attack is the full stack that e2e and faults use too."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from libs.bus.administrators import NOT_TWO
from libs.contracts.topics import Topic
from libs.gpki_client.token import OfficerToken
from libs.hsm.hsm import Hsm
from libs.runtime.clock import utc_now
from libs.storage import state
from tests.attacks.broker import Attacker
from tests.integration.hsm.conftest import hsm, soft_hsm
from tests.support.bus import declared, delete_topics
from tests.support.chain import Client, client
from tests.support.custody import Cabinet, Signer
from tests.support.custody_signer import open_cabinet
from tests.support.officer_token import P256, TokenFolder
from tests.support.pki import Pki
from tests.support.requests import key_state
from tests.support.stack import Stack
from tests.support.token_officers import TokenOfficer, opened

__all__ = ["client", "hsm", "soft_hsm"]

ALONE = ("one, twice", "one person with two keys", "one and a caller", "one and a stranger")


@dataclass(frozen=True)
class NotTwo:
    """Who signs as two registrars and is not, and what a dead letter says of what they sign."""

    signers: tuple[Signer, Signer]
    why: str


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki(now=utc_now())


@pytest_asyncio.fixture(loop_scope="session")
async def cabinet(stack: Stack, hsm: Hsm, pki: Pki) -> AsyncIterator[Cabinet]:
    async with open_cabinet(stack, hsm, pki) as opened:
        yield opened


@pytest_asyncio.fixture(params=ALONE, loop_scope="session")
async def not_two(request: pytest.FixtureRequest, cabinet: Cabinet) -> NotTwo:
    """A registrar with another key of the same person, with who is no registrar, or with nobody that is known."""
    one = cabinet.administrators[0]
    second_key = cabinet.pki.registrar("pentadbir-1")
    async with cabinet.room.pool.acquire() as connection:
        await state.put_keys(connection, [key_state(second_key, "registrar", "pentadbir-1", cabinet.pki)])
    others = {
        "one, twice": (one, NOT_TWO),
        "one person with two keys": (second_key, NOT_TWO),
        "one and a caller": (cabinet.caller, "registrar-unknown"),
        "one and a stranger": (Pki(now=utc_now()).registrar("pentadbir-2"), "registrar-unknown"),
    }
    other, why = others[request.param]
    return NotTwo((one, other), why)


@pytest_asyncio.fixture
async def administrator(full_stack: Stack) -> AsyncIterator[Attacker]:
    """Who may do anything: to show that an attack works where nothing defends."""
    async with Attacker(full_stack.kafka) as one:
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def token(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OfficerToken]:
    """An officer's own, with a P-256 key; it is open, and a process has one at a time."""
    async with opened(TokenFolder.create(tmp_path_factory.mktemp("token") / "hsm"), P256) as own:
        yield own


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def token_officer(client: Client, token: OfficerToken) -> TokenOfficer:
    """Whose it is."""
    return await TokenOfficer.enrol(client, token)


@pytest_asyncio.fixture
async def scratch(full_stack: Stack, administrator: Attacker) -> AsyncIterator[Topic]:
    """A topic with a name like ours that nobody of ours reads or writes."""
    topic = declared(full_stack.unique_topic("gpki.attacked"), partitions=1)
    await administrator.create(topic.name)
    yield topic
    await delete_topics(full_stack, [topic.name])
