"""Starts, stops, restarts and describes one stack; every wait is bounded and every failure says what to do."""

import asyncio
import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from importlib import import_module

import asyncpg
from aiokafka.errors import KafkaError

from deploy.native import broker, database, hsm, init, parts, ports, programs, transport
from deploy.native.failures import StackError, disk_full, part_failed
from deploy.native.layout import SERVICES, Layout
from deploy.native.parts import Part
from deploy.native.supervisor import Supervisor

MIN_FREE_MIB = 1024
"""Free space that a start asks for (`GPKI_MIN_FREE_MIB` overrides): Kafka dies on a full disk."""
FAILED_STARTS = 3
"""After so many ended starts in a row a start gives up; later the supervisor goes on for ever."""
PROBE_SECONDS = 0.1
NOT_READY = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, KafkaError, EOFError)
"""What a client raises while its part is not up yet (TimeoutError is an OSError)."""

Say = Callable[[str], None]


async def start(layout: Layout, *, with_services: bool, tied: bool, say: Say) -> bool:
    """Bring the stack up and return when every part has answered its probe; False if it was up already.

    Adds what is missing to a stack that runs in part. On failure, or when interrupted, stops what this call started.
    Raises StackError.
    """
    programs.require_all()
    layout.state.mkdir(parents=True, exist_ok=True)
    with _exclusive(layout), _disk_errors(layout):
        supervisor = Supervisor(layout)
        fresh = supervisor.pid() is None
        declared = [*parts.infrastructure(layout), *(parts.services(layout) if with_services else ())]
        if not fresh and all(_runs(supervisor, part.name) for part in declared):
            await await_ready(layout, supervisor, declared)
            return False
        try:
            if fresh:
                _check_host(layout, declared)
                async with _timed(say, "data directories and configuration"):
                    await asyncio.to_thread(prepare, layout)
                supervisor.spawn(_all_parts(layout), tied=tied)
            await _start_infrastructure(layout, supervisor, say)
            if with_services:
                await _start_services(layout, supervisor, say)
        except BaseException:  # Ctrl-C too: whatever ends this start must not leave half a stack
            if fresh:
                say("stopping what was started")
                supervisor.shutdown()
            raise
    return True


def stop(layout: Layout, say: Say) -> bool:
    """Stop services, then Kafka and PostgreSQL; keep the data. False if nothing ran. Raises StackError."""
    supervisor = Supervisor(layout)
    if supervisor.pid() is None:
        return False
    began = time.monotonic()
    killed = supervisor.shutdown()
    if killed:
        raise StackError(f"had to kill: {', '.join(killed)}", f"read the logs in {layout.state / 'log'}")
    say(f"stopped in {time.monotonic() - began:.1f} s; data kept in {layout.state}")
    return True


async def restart(layout: Layout, name: str) -> None:
    """Stop one part, start it, and wait until it is ready. Raises StackError."""
    part = stop_part(layout, name)
    supervisor = Supervisor(layout)
    supervisor.start(name)
    await await_ready(layout, supervisor, [part])


def stop_part(layout: Layout, name: str) -> Part:
    """Stop one part, until it is restarted. Raises StackError."""
    supervisor = Supervisor(layout)
    if supervisor.pid() is None:
        raise StackError("the stack is not running", "`make up`")
    part = next((part for part in _all_parts(layout) if part.name == name), None)
    if part is None:
        raise StackError(f"there is no part named {name}", "`make status` lists them")
    supervisor.stop(name)
    return part


async def await_ready(layout: Layout, supervisor: Supervisor, wanted: Iterable[Part]) -> None:
    """Wait until every probe has succeeded once. Raises StackError for the first part that gives no hope."""
    try:
        async with asyncio.TaskGroup() as group:
            for part in wanted:
                group.create_task(_await_part(layout, supervisor, part))
    except* StackError as failures:
        raise failures.exceptions[0] from None


async def _await_part(layout: Layout, supervisor: Supervisor, part: Part) -> None:
    deadline = time.monotonic() + part.ready_seconds
    failed: set[int] = set()
    while True:
        try:
            async with asyncio.timeout(max(1.0, deadline - time.monotonic())):
                await part.probe()
        except NOT_READY as error:
            reason = f"{type(error).__name__}: {error}"
        else:
            return
        info = supervisor.states()[part.name]
        if info["statename"] in ("BACKOFF", "EXITED", "FATAL"):
            failed.add(info["stop"])
        if len(failed) >= FAILED_STARTS or info["statename"] == "FATAL":
            raise part_failed(part.name, f"ended {len(failed)} times while starting", layout.log(part.name))
        if time.monotonic() > deadline:
            raise part_failed(part.name, f"not ready after {part.ready_seconds} s ({reason})", layout.log(part.name))
        await asyncio.sleep(PROBE_SECONDS)


async def _start_infrastructure(layout: Layout, supervisor: Supervisor, say: Say) -> None:
    declared = parts.infrastructure(layout)
    async with _timed(say, "PostgreSQL, Kafka, SMTP sink"):
        for part in declared:
            supervisor.start(part.name)
        server_up = partial(database.probe, layout, database.SUPERUSER, "postgres")
        await await_ready(layout, supervisor, [replace(declared[0], probe=server_up)])  # roles are not made yet
        await database.create_roles(layout)
        # While the broker starts: they bring all of libs.bus.
        principals, schemas = (import_module(f"deploy.native.{name}") for name in ("principals", "schemas"))
        await schemas.migrate_all(layout)
        await await_ready(layout, supervisor, declared)
        await principals.admit(layout)


async def _start_services(layout: Layout, supervisor: Supervisor, say: Say) -> None:
    missing = [name for name in SERVICES if not (layout.checkout / "services" / name / "__main__.py").exists()]
    if missing:
        raise StackError(f"no such service in this checkout: {', '.join(missing)}", "start with --infrastructure")
    async with _timed(say, "topics, tokens, certificate authority"):
        await init.initialise(layout)
    declared = parts.services(layout)
    async with _timed(say, f"services: {', '.join(part.name for part in declared)}"):
        for part in declared:
            supervisor.start(part.name)
        await await_ready(layout, supervisor, declared)


def _all_parts(layout: Layout) -> list[Part]:
    return [*parts.infrastructure(layout), *parts.services(layout)]


def _runs(supervisor: Supervisor, name: str) -> bool:
    return supervisor.states()[name]["statename"] in ("RUNNING", "STARTING", "BACKOFF")


def _check_host(layout: Layout, declared: Iterable[Part]) -> None:
    """Everything that can be known before the first process starts."""
    broker.jars(layout)
    wanted = int(os.environ.get("GPKI_MIN_FREE_MIB", MIN_FREE_MIB))
    free = shutil.disk_usage(layout.state).free // 1_048_576
    if free < wanted:
        raise StackError(
            f"the disk of {layout.state} has {free} MiB free, {wanted} are needed",
            "free space, or lower the limit with GPKI_MIN_FREE_MIB",
        )
    ports.require_free({name: layout.ports[name] for part in declared for name in part.listens}, layout.state)


def prepare(layout: Layout) -> None:
    """Make directories, secrets and data directories that are not there, and write every configuration."""
    for folder, mode in ((layout.config, 0o755), (layout.state / "log", 0o700), (layout.state / "secrets", 0o700)):
        folder.mkdir(exist_ok=True, parents=True)
        folder.chmod(mode)
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(job, layout) for job in (database.prepare, broker.prepare, transport.certify)]:
            done.result()
    hsm.prepare(layout)


@contextlib.contextmanager
def _exclusive(layout: Layout) -> Iterator[None]:
    with layout.lock.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError("another start of this stack is under way", "wait for it, or stop it") from None
        yield


@contextlib.contextmanager
def _disk_errors(layout: Layout) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        known = disk_full(error, layout.state)
        if known is None:
            raise
        raise known from error


@contextlib.asynccontextmanager
async def _timed(say: Say, what: str) -> AsyncIterator[None]:
    began = time.monotonic()
    yield
    say(f"{what}: {time.monotonic() - began:.1f} s")
