"""Fixtures `stack` (Kafka, PostgreSQL, SMTP sink) and `full_stack` (services too); one of each per session."""

import contextlib
import email
import fcntl
import importlib
import os
import shutil
import signal
import ssl
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from deploy.native import broker, database, lifecycle
from deploy.native.layout import CHECKOUT, Layout, open_layout
from deploy.native.parts import infrastructure, services
from deploy.native.ports import HOST
from deploy.native.principals import CALLER
from deploy.native.supervisor import Supervisor
from libs.contracts.topics import Topic
from libs.gpki_client import Caller, GpkiClient, tls_context
from libs.gpki_client.device import Device, DeviceClient
from libs.runtime.kafka_access import KafkaAccess
from services.igfmas.keys import CALLER_KEY
from services.igfmas.settings import SERVICE_ROOT
from tests.support.waiting import eventually

SESSION_MS = 6_000
"""Kafka's session time-out of every service: the broker's least, because each crash that is tested waits for it."""

SLOTS = 8
"""How many pytest sessions of one checkout can have a stack at the same time."""

ASIDE = 5
"""Niceness: a third of the share of one that is not nice, when both could use it all."""

WITH_US = ("setpriv", "--pdeathsig", "KILL")
"""Before a command: it ends with the test session, however that ends."""


class Stack:
    """A running stack, as tests see it."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._supervisor = Supervisor(layout)

    @property
    def kafka(self) -> KafkaAccess:
        """The brokers, as who may do anything there."""
        return broker.access(self.layout)

    @property
    def smtp(self) -> tuple[str, int]:
        """Host and port of the SMTP sink."""
        return HOST, self.layout.ports["smtp"]

    @property
    def gateway(self) -> str:
        """Base URL of the GPKI API."""
        return f"https://{HOST}:{self.layout.ports['gateway']}"

    def caller_tls(self) -> ssl.SSLContext:
        """Of iGFMAS's connections to the gateway."""
        certificate = self.layout.pki / "certificates" / "caller" / f"{CALLER}.pem"
        return tls_context(self.layout.tls_root, certificate=certificate, key=self.layout.secrets(CALLER) / CALLER_KEY)

    def gpki(self, caller: Caller, **more: Any) -> GpkiClient:
        """The gateway for iGFMAS."""
        root = (self.layout.pki / SERVICE_ROOT).read_bytes()
        return GpkiClient(self.gateway, caller, service_root=root, tls=self.caller_tls(), **more)

    def mobile(self, device: Device, user: str) -> DeviceClient:
        """The gateway for a phone, which has no certificate."""
        return DeviceClient(self.gateway, device, user, tls=tls_context(self.layout.tls_root))

    def http(self) -> httpx.AsyncClient:
        """The gateway for who has no certificate."""
        return httpx.AsyncClient(base_url=self.gateway, verify=tls_context(self.layout.tls_root), trust_env=False)

    def postgres_dsn(self, role: str) -> str:
        """Connection URL of a service's role, or of `postgres`; it holds the password."""
        return database.dsn(self.layout, role)

    def unique_topic(self, prefix: str = "test") -> str:
        """A topic name that nobody used; creating it is the test's business."""
        return f"{prefix}.{uuid.uuid4().hex[:12]}.v1"

    def own(self, topic: Topic) -> Topic:
        """This topic under a name that nobody used, which nobody signs; two partitions are enough for two replicas."""
        return replace(topic, name=self.unique_topic(), partitions=2, producers=())

    def pid(self, name: str) -> int:
        """Process id of a part that runs, 0 while it does not."""
        return self.pids()[name]

    def pids(self) -> dict[str, int]:
        """Of every part."""
        return {name: int(state["pid"]) for name, state in self._supervisor.states().items()}

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        """Send a signal to a part; returns the process id that it had."""
        pid = self.pid(name)
        assert pid, f"{name} does not run"
        os.kill(pid, number)
        while number == signal.SIGSTOP and not _stands_still(pid):
            time.sleep(0.001)  # a thread that runs may answer once more until it hears of it
        return pid

    async def killed_and_back(self, name: str) -> None:
        """kill -9 a part and wait until the supervisor has another one ready."""
        before = self.kill(name)
        await eventually(lambda: self.pid(name) not in (0, before), f"{name} restarted")
        await self.ready(name)

    async def ready(self, name: str) -> None:
        """Wait until a part answers its probe."""
        declared = [*infrastructure(self.layout), *services(self.layout)]
        await lifecycle.await_ready(self.layout, self._supervisor, [part for part in declared if part.name == name])

    async def restart(self, name: str) -> None:
        """Stop and start a part in order; returns when it is ready."""
        await lifecycle.restart(self.layout, name)

    def messages(self) -> list[EmailMessage]:
        """Every message that the sink kept, oldest first."""
        return [message for _, message in self.kept()]

    def kept(self) -> list[tuple[datetime, EmailMessage]]:
        """Every message that the sink kept, oldest first, with the moment at which it had it, before it said so."""
        return [
            (
                datetime.fromtimestamp(int(file.name.partition("-")[0]) / 1e9, UTC),
                email.message_from_bytes(file.read_bytes(), EmailMessage, policy=SMTP),
            )
            for file in sorted(self.layout.mail.glob("*.eml"))
        ]

    def mailbox(self, address: str) -> list[EmailMessage]:
        """Those for an address."""
        return [message for message in self.messages() if address in str(message["X-Envelope-To"]).split(", ")]


@contextlib.contextmanager
def own_state() -> Iterator[Path]:
    """A state directory that no other session of this checkout uses now, empty but for its ports."""
    root = CHECKOUT / "var"
    root.mkdir(exist_ok=True)
    for slot in range(SLOTS):
        state = root / ("test-stack" if slot == 0 else f"test-stack-{slot}")
        with state.with_suffix(".session").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            # a session that was killed took its stack along (pdeathsig), but perhaps is still at it
            Supervisor(open_layout(state)).shutdown()
            for entry in state.iterdir():
                if entry.name != "ports.json":
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            yield state
            return
    pytest.fail(f"{SLOTS} test sessions of this checkout run already")


@contextlib.asynccontextmanager
async def _running(*, with_services: bool) -> AsyncIterator[Stack]:
    """A stack of this session's own; stops at its end, or with this process however that ends."""
    os.environ["GPKI_KAFKA_SESSION_MS"] = str(SESSION_MS)
    with own_state() as state:
        layout = open_layout(state)
        await lifecycle.start(layout, with_services=with_services, tied=True, say=print)
        try:
            yield Stack(layout)
        finally:
            lifecycle.stop(layout, print)


def step_aside() -> None:
    """Leave the processor to the workers with a full stack, whose way is the longest; what we start inherits it."""
    os.setpriority(os.PRIO_PROCESS, 0, ASIDE)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack() -> AsyncIterator[Stack]:
    """Infrastructure alone; a test that needs a service runs it in its own process."""
    step_aside()
    async with _running(with_services=False) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def full_stack() -> AsyncIterator[Stack]:
    """Infrastructure and every service: another stack, so that no service meets its double of an integration test.

    One for all tests of a worker: to start takes 16 s of two cores, and to be there a fifth of one.

    `GPKI_TEST_STACK_DIR` names one that runs already (`make up`) to use instead, and to leave running. With
    `GPKI_TEST_CONTAINERS` it is the one of docker-compose.yml.
    """
    if os.environ.get("GPKI_TEST_CONTAINERS"):
        with importlib.import_module("tests.support.containers").containers() as in_containers:
            yield in_containers
        return
    existing = os.environ.get("GPKI_TEST_STACK_DIR")
    if existing:
        yield Stack(open_layout(Path(existing)))
        return
    async with _running(with_services=True) as running:
        yield running


def _stands_still(pid: int) -> bool:
    """Whether every thread of a process is stopped."""
    states = [each.read_text().rpartition(")")[2].split()[0] for each in Path(f"/proc/{pid}/task").glob("*/stat")]
    return set(states) <= {"T", "t"}
