"""A replica frozen past the session time-out while its twin works, then thawed: everything happens once.

All five services in one test, because each costs a session time-out. Each freezes over a Pukal of its own, the last of
the chain first, so that every Pukal arrives where it is to be caught.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack

import pytest

from tests.faults.conftest import PUKAL, Pukal
from tests.faults.test_kills import POSTED, VERIFIED
from tests.support.chain import Client
from tests.support.documents import SIGNED
from tests.support.faults import Held, all_read, frozen, members, twin
from tests.support.stack import SESSION_MS

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

CAUGHT_AT = {
    "posting": ("outcome", POSTED),
    "crl_verifier": ("outcome", VERIFIED),
    "hsm_signer": ("outcome", SIGNED),
    "otp_dispatch": ("code", None),
    "medium_lookup": ("outcome", None),
}
"""The table that it is about to write to, and what says that it is in the middle of its documents."""


async def test_a_frozen_replica_holds_nobody_and_does_nothing_twice(
    client: Client, new_pukal: Callable[[], Awaitable[Pukal]]
) -> None:
    stack = client.stack
    async with AsyncExitStack() as twins:
        for service in CAUGHT_AT:
            await twins.enter_async_context(twin(stack, service))
        await all_have(client, 2)
        with ExitStack() as ice:
            caught: dict[str, Pukal] = {}
            for service, (table, done) in CAUGHT_AT.items():
                pukal = caught[service] = await new_pukal()
                async with Held(stack, service, table) as held:
                    pukal.begin()
                    pid = await (pukal.caught(held, done, 50) if done else held.writer())
                    ice.enter_context(frozen(pid))
            last = time.monotonic()
            for service, pukal in caught.items():
                assert len((await pukal.ends()).posted) == PUKAL, service
            assert time.monotonic() - last > SESSION_MS / 1000 - 3, "nobody was away for long"
        await all_have(client, 2)
        await all_read(stack)
        for pukal in caught.values():
            await pukal.happened_once()
    await all_have(client, 1)


async def all_have(client: Client, count: int) -> None:
    await asyncio.gather(*(members(client.stack, service, count) for service in CAUGHT_AT))
