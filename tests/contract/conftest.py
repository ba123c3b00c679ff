"""A topic, a group and clients per test, on the session's broker."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.contract.broker import Broker
from tests.support.stack import Stack


@pytest_asyncio.fixture
async def broker(stack: Stack) -> AsyncIterator[Broker]:
    async with Broker(stack) as opened:
        yield opened
