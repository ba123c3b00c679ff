"""What is done to a running stack: services caught in the middle of a write, killed, frozen, doubled, read again."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeAlias

import asyncpg
import psutil
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from aiokafka.structs import OffsetAndMetadata

from deploy.native import lifecycle
from deploy.native.layout import SERVICES
from deploy.native.parts import infrastructure, inherited, service_environment, services
from deploy.native.supervisor import Supervisor
from libs.bus.topics import administration
from tests.support.journal import NOBODY, assign_paused, observer
from tests.support.stack import WITH_US, Stack
from tests.support.waiting import eventually

LOOK_EVERY = 0.002
"""Seconds between two looks: a slice takes some 20 ms."""

STARTED_SECONDS = 150

LISTENS = {"GPKI_HEALTH_PORT", "GPKI_GATEWAY_PORT", "GPKI_CRL_PORT"}

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class Held:
    """The writers of one table of a service wait; readers pass. Bounded by the role's lock_timeout of 5 s."""

    def __init__(self, stack: Stack, service: str, table: str) -> None:
        self._stack = stack
        self._service = service
        self._table = table
        self._holder: Connection | None = None

    async def __aenter__(self) -> Self:
        self._holder = await asyncpg.connect(self._stack.postgres_dsn("postgres"))
        await self._hold(self._holder)
        return self

    async def step(self) -> None:
        """Let the writers that wait now go on; those that come later wait.

        Returns when they have committed. One whose plan PostgreSQL makes anew waits behind the new lock: look.
        """
        holder = await asyncpg.connect(self._stack.postgres_dsn("postgres"))
        mine = holder.get_server_pid()
        holding = asyncio.create_task(self._hold(holder))  # PostgreSQL queues it behind the writers
        try:
            async with self._observing() as observer:
                queued = lambda: holding.done() or observer.fetchval(_QUEUED, mine)  # noqa: E731
                await eventually(queued, "the next lock is queued, or had since nobody writes", every=LOOK_EVERY)
        finally:
            await self.let_go()
            self._holder = holder
        await holding

    async def writer(self) -> int:
        """The process that waits to write: it has acted and not recorded."""
        async with self._observing() as observer:
            port = await eventually(
                lambda: observer.fetchval(_WAITING, f"{self._service}.{self._table}", self._service),
                f"{self._service} waits to write to {self._table}",
                every=LOOK_EVERY,
                seconds=STARTED_SECONDS,  # it may have been killed just now
            )
        return _process_on(self._stack, port)

    async def until(self, done: Callable[[], Awaitable[object]]) -> int:
        """Let one writer after another go on until this is so; returns the process that waits to write then."""
        while True:
            pid = await self.writer()
            if await done():
                return pid
            await self.step()

    async def let_go(self) -> None:
        """Let all writers go on."""
        if self._holder is not None:
            await self._holder.close()
            self._holder = None

    async def __aexit__(self, *_: object) -> None:
        await self.let_go()

    async def _hold(self, connection: Connection) -> None:
        await connection.execute("BEGIN")
        await connection.execute(f"LOCK TABLE {self._service}.{self._table} IN SHARE MODE")

    @asynccontextmanager
    async def _observing(self) -> AsyncIterator[Connection]:
        """A connection of its own: within a transaction, pg_stat_activity stays what it was when first looked at."""
        connection = await asyncpg.connect(self._stack.postgres_dsn("postgres"))
        try:
            yield connection
        finally:
            await connection.close()


_QUEUED = "SELECT true FROM pg_locks WHERE pid = $1 AND NOT granted"

_WAITING = """
SELECT client_port FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE relation = $1::text::regclass AND usename = $2 AND NOT granted LIMIT 1
"""


def _process_on(stack: Stack, port: int) -> int:
    server = stack.layout.ports["postgres"]
    for found in psutil.net_connections("tcp4"):
        # The same port may be some other process's way to another server.
        if found.pid and found.raddr and (found.laddr.port, found.raddr.port) == (port, server):
            return int(found.pid)
    raise AssertionError(f"nobody is on port {port}")


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A process that does nothing, and does not know it."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def kill(pid: int) -> None:
    """kill -9."""
    os.kill(pid, signal.SIGKILL)


async def replaced(stack: Stack, name: str, killed: int) -> None:
    """Wait until the supervisor has another one, which answers."""
    await eventually(lambda: stack.pid(name) not in (0, killed), f"{name} restarted", seconds=STARTED_SECONDS)
    await answering(stack, name)


async def answering(stack: Stack, name: str) -> None:
    """Wait until a part answers, whoever started it."""
    (part,) = [part for part in (*infrastructure(stack.layout), *services(stack.layout)) if part.name == name]

    async def answers() -> bool:
        try:
            await part.probe()
        except lifecycle.NOT_READY:
            return False
        return True

    await eventually(answers, f"{name} ready", seconds=STARTED_SECONDS)


@asynccontextmanager
async def twin(stack: Stack, service: str) -> AsyncIterator[int]:
    """A second process of a service, like the first in all but its ports. Wait for its membership yourself."""
    environment = inherited() | service_environment(stack.layout, service)
    environment |= dict.fromkeys(LISTENS.intersection(environment), "0")
    command = [*WITH_US, sys.executable, "-m", f"services.{service}"]
    process = spawn(command, stack.layout.checkout, environment, stack.layout.log(f"{service}-twin"))
    try:
        yield process.pid
    finally:
        await ended(process)


async def ended(process: "subprocess.Popen[bytes]") -> None:
    """Stop it in order, bounded."""
    process.terminate()
    try:
        await asyncio.to_thread(process.wait, 30)
    finally:
        process.kill()


def spawn(command: list[str], folder: Path, environment: dict[str, str], log: Path) -> "subprocess.Popen[bytes]":
    """Start it; what it says goes to the log."""
    with log.open("ab") as out:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=out)


@dataclass(frozen=True)
class Group:
    """A consumer group: its members' subscriptions, and what each has been given."""

    name: str
    stable: bool
    subscriptions: tuple[frozenset[str], ...]
    assigned: tuple[frozenset[TopicPartition], ...]

    @property
    def service(self) -> str:
        return self.name.partition(".")[0]

    @property
    def partitions(self) -> set[TopicPartition]:
        """What any member was given."""
        return {partition for given in self.assigned for partition in given}


async def groups(admin: AIOKafkaAdminClient) -> dict[str, Group]:
    """Every group of our services."""
    listed = [name for name, _ in await admin.list_consumer_groups() if not name.endswith(NOBODY)]
    names = [name for name in listed if name.partition(".")[0] in SERVICES]
    # One by one: of several, aiokafka 0.14 reads an answer of version 3 as one of version 2.
    answers = await asyncio.gather(*(admin.describe_consumer_groups([name]) for name in names))
    return {group.name: group for answer in answers for (one,) in [answer] for group in _groups(one)}


def _groups(response: Any) -> Iterator[Group]:
    for _error, name, state, _kind, _protocol, members, *_ in response.groups:
        subscriptions, assigned = [], []
        for _id, *_rest, metadata, assignment in (member[:6] for member in members):
            subscriptions.append(
                frozenset(ConsumerProtocolMemberMetadata.decode(metadata).subscription) if metadata else frozenset()
            )
            given = ConsumerProtocolMemberAssignment.decode(assignment).assignment if assignment else ()
            assigned.append(frozenset(TopicPartition(topic, number) for topic, numbers in given for number in numbers))
        yield Group(name, state == "Stable", tuple(subscriptions), tuple(assigned))


async def members(stack: Stack, service: str, count: int) -> None:
    """Wait until every group of a service is stable with so many members."""
    async with administration(stack.kafka) as admin:

        async def settled() -> bool:
            own = [group for group in (await groups(admin)).values() if group.service == service]
            return bool(own) and all(group.stable and len(group.subscriptions) == count for group in own)

        await eventually(settled, f"{count} members in every group of {service}", every=0.2, seconds=STARTED_SECONDS)


async def all_read(stack: Stack, *, seconds: float = 60) -> None:
    """Wait until every group has committed all that is on its topics, and nothing new came of it."""
    async with administration(stack.kafka) as admin, observer(stack) as consumer:
        behind: list[str] = []

        async def once() -> dict[TopicPartition, int] | None:
            found = list((await groups(admin)).values())
            behind[:] = [f"{group.name} has no members" for group in found if not (group.stable and group.partitions)]
            if behind:
                return None
            committed = await asyncio.gather(*(admin.list_consumer_group_offsets(group.name) for group in found))
            partitions = {one for group in found for one in group.partitions}
            assign_paused(consumer, partitions)
            ends: dict[TopicPartition, int] = await consumer.end_offsets(list(partitions))
            behind[:] = [
                f"{group.name} in {one.topic} {one.partition}"
                for group, offsets in zip(found, committed, strict=True)
                for one in group.partitions
                if ends[one] and not (one in offsets and offsets[one].offset >= ends[one])
            ]
            return None if behind else ends

        async def twice() -> bool:
            return (first := await once()) is not None and await once() == first

        try:
            await eventually(twice, "every group has read everything", every=0.4, seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"{error} but {behind}") from None


async def read_again_from_the_start(stack: Stack) -> None:
    """Stop all services, put every group back to the start of its topics, start all. Returns when all is read."""
    supervisor = Supervisor(stack.layout)
    async with administration(stack.kafka) as admin:
        before = await groups(admin)
        offsets = {name: await admin.list_consumer_group_offsets(name) for name in before}
        read = {name for name, committed in offsets.items() if committed}  # nobody may have asked for another code yet
        assert len(read) >= len(SERVICES)
        await asyncio.gather(*(asyncio.to_thread(supervisor.stop, service) for service in SERVICES))
        try:
            for name in read:
                await reset(stack, name, dict.fromkeys(offsets[name], 0))
        finally:
            await lifecycle.start(stack.layout, with_services=True, tied=True, say=print)
    await all_read(stack, seconds=180)


async def reset(stack: Stack, group: str, offsets: dict[TopicPartition, int]) -> None:
    """Commit offsets for a group that nobody is in."""
    consumer = AIOKafkaConsumer(**stack.kafka.options(), group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign(list(offsets))
        await consumer.commit({partition: OffsetAndMetadata(offset, "") for partition, offset in offsets.items()})
    finally:
        await consumer.stop()
