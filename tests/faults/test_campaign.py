"""Every fault of `make faults` by itself, under a lighter load: `pytest -m campaign tests/faults/test_campaign.py`.

Stacks are shared by the faults of one kind, which follow each other.
"""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests.faults.campaign.inflicting import FAULTS
from tests.faults.campaign.load import LIGHT
from tests.faults.campaign.stacks import Kind, Struck, running, state_of
from tests.faults.campaign.strike import strike

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]

SEED = int(os.environ.get("SEED") or 1)


class Shared:
    """One stack at a time: that of the last kind that was asked for."""

    def __init__(self) -> None:
        self._resources = AsyncExitStack()
        self._kind: Kind | None = None
        self._struck: Struck | None = None

    async def of(self, kind: Kind) -> Struck:
        if self._struck is None or kind != self._kind:
            await self.stop()
            self._struck = await self._resources.enter_async_context(running(kind, state_of(kind), print))
            self._kind = kind
        return self._struck

    async def stop(self) -> None:
        self._struck = None
        await self._resources.aclose()


@pytest.fixture(scope="session")
async def shared() -> AsyncIterator[Shared]:
    stacks = Shared()
    yield stacks
    await stacks.stop()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.campaign(stack=fault.stack.name)) for name, fault in FAULTS.items()]
)
async def test_nothing_is_lost_and_nothing_happens_twice(shared: Shared, name: str) -> None:
    fault = FAULTS[name]
    why = fault.stack.impossible()
    if why is not None:
        pytest.skip(why)
    try:
        line = await strike(await shared.of(fault.stack), fault, SEED, LIGHT)
    except BaseException:
        await shared.stop()  # nobody knows what it left of the stack
        raise
    assert line["holds"], str(line)
