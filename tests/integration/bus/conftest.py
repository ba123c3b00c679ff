"""One service per test: its own schema, topics and group on the session's stack."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from libs.runtime.logging import configure_logging
from tests.support.bus import Room, open_room
from tests.support.stack import Stack


@pytest_asyncio.fixture
async def room(stack: Stack) -> AsyncIterator[Room]:
    async with open_room(stack) as opened:
        yield opened


@pytest.fixture(autouse=True, scope="session")
def logging() -> None:
    """As in a service: structlog's own console draws tracebacks with all locals, for seconds."""
    configure_logging("test")
