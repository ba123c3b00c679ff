"""The attacks' own fixtures; what they attack is the full stack that e2e and faults use too."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from libs.contracts.topics import Topic
from libs.gpki_client.token import OfficerToken
from tests.attacks.broker import Attacker
from tests.support.bus import declared, delete_topics
from tests.support.chain import Client, client
from tests.support.officer_token import P256, TokenFolder
from tests.support.stack import Stack
from tests.support.token_officers import TokenOfficer, opened

__all__ = ["client"]


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
