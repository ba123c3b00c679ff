"""Faults of processes: killed, frozen, restarted, joined by others."""

import asyncio
import contextlib
import random
import time
from typing import Final

import psutil

from deploy.native import lifecycle
from deploy.native.layout import SERVICES
from tests.faults.campaign.applying import applied_during
from tests.faults.campaign.fault import Inflict, Judge, moment
from tests.support import faults
from tests.support.chain import Client
from tests.support.faults import members, replaced, twin

FROZEN: Final = 20.0
"""Seconds."""

OF_DOCUMENTS: Final = ("hsm_signer", "crl_verifier", "posting")


def killed(part: str, times: int) -> Inflict:
    """kill -9, at seeded moments."""

    async def inflict(client: Client, seeded: random.Random) -> Judge | None:
        judge = applied_during(client, part)
        for _ in range(times):
            await moment(seeded, 0.3, 2.0)
            pid = client.stack.kill(part)
            await replaced(client.stack, part, pid)
        return judge

    return inflict


def frozen(part: str) -> Inflict:
    """SIGSTOP, the whole family of the part, for FROZEN seconds."""

    async def inflict(client: Client, seeded: random.Random) -> Judge | None:
        await moment(seeded)
        judge = applied_during(client, part)
        head = psutil.Process(client.stack.pid(part))
        with contextlib.ExitStack() as ice:
            for process in (head, *head.children(recursive=True)):
                ice.enter_context(faults.frozen(process.pid))
            await asyncio.sleep(FROZEN)
        return judge

    return inflict


async def rolling_restart(client: Client, seeded: random.Random) -> None:
    """Each service in turn: a second replica comes, the first goes and is replaced, the second goes.

    The second of one that listens has a port of its own, where nobody calls: callers of the first try again.
    """
    for service in seeded.sample(SERVICES, len(SERVICES)):
        async with twin(client.stack, service):
            await members(client.stack, service, 2)
            await lifecycle.restart(client.stack.layout, service)
        await members(client.stack, service, 1)


async def rebalance_storm(client: Client, seeded: random.Random) -> None:
    """Replicas of the services of documents join and leave every 5 s, or as soon as all have joined."""
    for _ in range(4):
        async with contextlib.AsyncExitStack() as twins:
            for service in OF_DOCUMENTS:
                await twins.enter_async_context(twin(client.stack, service))
            began = time.monotonic()
            await asyncio.gather(*(members(client.stack, service, 2) for service in OF_DOCUMENTS))
            await asyncio.sleep(max(0.0, began + seeded.uniform(4.0, 6.0) - time.monotonic()))
