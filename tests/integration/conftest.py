"""One service per test: its own schema, topics and group on the session's stack."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.support.bus import Room, open_room
from tests.support.stack import Stack


@pytest_asyncio.fixture
async def room(stack: Stack) -> AsyncIterator[Room]:
    async with open_room(stack) as opened:
        yield opened
