"""One service whose host's clock is wrong by an hour; what the service is told of time is not."""

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from deploy.native import programs
from deploy.native.parts import inherited, service_environment
from deploy.native.supervisor import Supervisor
from tests.faults.campaign.fault import AWAY, Inflict, moment
from tests.support.chain import Client
from tests.support.faults import answering, ended, spawn
from tests.support.stack import WITH_US, Stack


def wrong(service: str, offset: str) -> Inflict:
    """The service runs for a while with another clock; `offset` is libfaketime's."""

    async def inflict(client: Client, seeded: random.Random) -> None:
        await moment(seeded)
        environment = {
            "LD_PRELOAD": str(programs.libfaketime()),
            "FAKETIME": offset,
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }
        async with _instead(client.stack, service, environment):
            await asyncio.sleep(AWAY)

    return inflict


@asynccontextmanager
async def _instead(stack: Stack, service: str, environment: Mapping[str, str]) -> AsyncIterator[None]:
    """A process of a service with this environment beside its own, while the supervised one stands aside."""
    supervisor = Supervisor(stack.layout)
    await asyncio.to_thread(supervisor.stop, service)
    own = inherited() | service_environment(stack.layout, service) | dict(environment)
    command = [*WITH_US, sys.executable, "-m", f"services.{service}"]
    process = spawn(command, stack.layout.checkout, own, stack.layout.log(f"{service}-instead"))
    try:
        await answering(stack, service)
        yield
    finally:
        await ended(process)
        await asyncio.to_thread(supervisor.start, service)
        await stack.ready(service)
