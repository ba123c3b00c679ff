"""The attacks' own fixtures; what they attack is the full stack that e2e and faults use too."""

from collections.abc import AsyncIterator

import pytest_asyncio

from libs.contracts.topics import Topic
from tests.attacks.broker import Attacker
from tests.support.bus import declared, delete_topics
from tests.support.chain import client
from tests.support.stack import Stack

__all__ = ["client"]


@pytest_asyncio.fixture
async def administrator(full_stack: Stack) -> AsyncIterator[Attacker]:
    """Who may do anything: to show that an attack works where nothing defends."""
    async with Attacker(full_stack.kafka) as one:
        yield one


@pytest_asyncio.fixture
async def scratch(full_stack: Stack, administrator: Attacker) -> AsyncIterator[Topic]:
    """A topic with a name like ours that nobody of ours reads or writes."""
    topic = declared(full_stack.unique_topic("gpki.attacked"), partitions=1)
    await administrator.create(topic.name)
    yield topic
    await delete_topics(full_stack, [topic.name])
