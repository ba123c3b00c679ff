"""Retention that passes a service which is stopped, and what an operator does about it."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from deploy.native import lifecycle
from deploy.native.layout import SERVICES
from deploy.native.ports import HOST
from deploy.native.supervisor import Supervisor
from libs.bus.topics import administration
from libs.contracts import topics
from services.operations.cluster import look
from services.operations.gaps import groups_of
from tests.support.chain import Client
from tests.support.command_line import gpki
from tests.support.faults import STARTED_SECONDS
from tests.support.journal import NOBODY
from tests.support.stack import Stack
from tests.support.waiting import eventually

REPUBLISHED = frozenset(
    name for name, topic in topics.TOPICS.items() if topic.retention == topics.CHAIN_RETENTION and not topic.outsiders
)
"""What our own ledgers have, and may be published again."""


async def stop(stack: Stack, service: str) -> None:
    """As an operator stops it."""
    await asyncio.to_thread(Supervisor(stack.layout).stop, service)


async def pass_by(client: Client, service: str, names: frozenset[str] = REPUBLISHED, *, least: int = 1) -> int:
    """Once a stopped service has so many records before it, delete them; returns how many were deleted.

    Only what every other group has read: it is one consumer that was away too long.
    """
    stack = client.stack

    async def unread() -> dict[TopicPartition, tuple[int, int]] | None:
        cluster = await look(stack.kafka, names)
        own = [group for group in groups_of(service, cluster) if not group.name.endswith(NOBODY)]
        others = [group for group in cluster.groups if not (group in own or group.name.endswith(NOBODY))]
        found = {}
        for place, committed in ((place, at) for group in own for place, at in group.committed.items()):
            if place in cluster.ends:
                read = [group.committed[place] for group in others if place in group.committed]
                found[place] = committed, min([cluster.ends[place], *read])
        return found if sum(max(0, end - at) for at, end in found.values()) >= least else None

    places = await eventually(unread, f"{service} has {least} records before it", every=0.2, seconds=60)
    passed = {place: (at, end) for place, (at, end) in places.items() if end > at}
    await client.chain.drain()  # the reference client is no group: what it has yet to read must not be deleted
    async with administration(stack.kafka) as admin:
        await admin.delete_records({place: RecordsToDelete(before_offset=end) for place, (_, end) in passed.items()})
    return sum(end - at for at, end in passed.values())


async def halted(stack: Stack, service: str) -> None:
    """Start it, and wait until it says that it stands before a gap."""
    await asyncio.to_thread(Supervisor(stack.layout).start, service)

    async def says() -> bool:
        answer = await _readyz(stack, service)
        return answer is not None and any(name.endswith(":log-start-passed") for name in answer.json()["checks"])

    await eventually(says, f"{service} stands before a gap", every=0.2, seconds=STARTED_SECONDS)
    log = stack.layout.log(service)  # written by the supervisor, to which the service told it
    await eventually(lambda: '"log-start-passed"' in log.read_text(), f"{service} says so in its log")


async def republish(stack: Stack, *arguments: str) -> tuple[int, str, str]:
    """`gpki republish …`: exit code, what it printed, what it complained of."""
    return await gpki(stack, "republish", *arguments)


async def put_right(stack: Stack, service: str, *options: str) -> str:
    """Stop it, publish what it missed, start it; returns what the operator was told."""
    await stop(stack, service)
    status, told, why = await republish(stack, "gap", service, "--yes", *options)
    assert status == 0, why
    await lifecycle.restart(stack.layout, service)
    return told


@pytest.fixture(autouse=True)
async def nobody_stands_still_afterwards(client: Client) -> AsyncIterator[None]:
    """After each test of a module that imports it every service runs, before no gap: others use the stack too."""
    yield
    for service in SERVICES:
        answer = await _readyz(client.stack, service)
        if answer is None or answer.is_error:
            await put_right(client.stack, service, "--outsiders-send-again")


async def _readyz(stack: Stack, service: str) -> httpx.Response | None:
    """What it says of itself; None if nobody answers."""
    async with httpx.AsyncClient(trust_env=False) as http:
        try:
            return await http.get(f"http://{HOST}:{stack.layout.ports[f'health_{service}']}/readyz")
        except httpx.TransportError:
            return None
