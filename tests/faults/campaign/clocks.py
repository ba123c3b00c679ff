"""One service whose host's clock is wrong by an hour; what the service is told of time is not."""

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from deploy.native import programs
from deploy.native.parts import inherited, service_environment
from deploy.native.supervisor import Supervisor
from services.igfmas.observation import Observation
from tests.faults.campaign.applying import applied_during
from tests.faults.campaign.fault import AWAY, Inflict, Judge, moment
from tests.support.chain import Client
from tests.support.faults import answering, ended, spawn
from tests.support.stack import WITH_US, Stack


def wrong(service: str, offset: str) -> Inflict:
    """The service runs for a while with another clock; `offset` is libfaketime's."""

    async def inflict(client: Client, seeded: random.Random) -> Judge:
        await moment(seeded)
        environment = {
            "LD_PRELOAD": str(programs.libfaketime()),
            "FAKETIME": offset,
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }
        log = client.stack.layout.log(f"{service}-instead")
        said_before = log.stat().st_size if log.exists() else 0
        async with _instead(client.stack, service, environment):
            applied = applied_during(client, service)
            await asyncio.sleep(AWAY)

        async def judge(seen: Observation) -> Sequence[str]:
            wrong = await applied(seen) if applied else ()
            alarmed = b"clock-wrong" in log.read_bytes()[said_before:]
            return wrong if alarmed else [*wrong, f"{service} raised no clock-wrong: nothing was tried"]

        return judge

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
