"""The stack of docker-compose.yml as tests see it: the same as the embedded one, and what only containers have."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from deploy.containers.engine import run
from deploy.containers.layout import PUBLISHED, outside, variable
from deploy.containers.stack import ContainerStack
from deploy.native import database
from deploy.native.layout import ADMINISTRATOR, CHECKOUT
from tests.support.stack import Stack
from tests.support.waiting import eventually

PROJECT = "gpki-test"
TEST_STATE = CHECKOUT / "var" / "containers" / "test-stack"


class InContainers(Stack):
    """A stack of containers that runs."""

    def __init__(self, containers: ContainerStack) -> None:
        super().__init__(containers.layout)
        self.containers = containers

    def postgres_dsn(self, role: str) -> str:
        """By the address of its container, which no port of the host leads to; its certificate names no address."""
        (found,) = json.loads(run("docker", "inspect", self.containers.container("postgres")))
        address = found["NetworkSettings"]["Networks"][f"{self.containers.project}_inside"]["IPAddress"]
        layout = replace(self.layout, hosts={"postgres": address}, ports={**self.layout.ports, "postgres": 5432})
        return database.dsn(layout, role).replace("verify-full", "verify-ca")

    def pids(self) -> dict[str, int]:
        """Of each container's first process, on the host."""
        return {service_of(one): int(one["State"]["Pid"]) for one in self.containers.containers()}

    @contextlib.contextmanager
    def away(self, name: str) -> Iterator[None]:
        """It dies (kill -9), and stays away while entered: the engine does not restart what it was told to kill."""
        container = self.containers.container(name)
        run("docker", "kill", container)
        try:
            yield
        finally:
            run("docker", "start", container)

    async def ready(self, name: str) -> None:
        """Wait until its health check has found it well."""

        def healthy() -> bool:
            (found,) = json.loads(run("docker", "inspect", self.containers.container(name)))
            return bool(found["State"]["Running"] and found["State"]["Health"]["Status"] == "healthy")

        await eventually(healthy, f"{name} is healthy", seconds=240, every=0.5)

    async def restart(self, name: str) -> None:
        """Stop and start it in order; returns when it is healthy."""
        run("docker", "restart", self.containers.container(name))
        await self.ready(name)

    def inside(self, service: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a container, as whoever got into it would."""
        return subprocess.run(
            ["docker", "exec", self.containers.container(service), *command],
            capture_output=True, text=True, check=False, timeout=110,
        )  # fmt: skip

    def said(self, service: str) -> str:
        """Everything that a container has logged."""
        done = subprocess.run(
            ["docker", "logs", self.containers.container(service)], capture_output=True, text=True, check=True
        )
        return done.stdout + done.stderr


def service_of(container: Mapping[str, Any]) -> str:
    """The service that a container is of, in what the engine knows of it."""
    name: str = container["Config"]["Labels"]["com.docker.compose.service"]
    return name


@contextlib.contextmanager
def containers(
    project: str = PROJECT, state: Path = TEST_STATE, say: Callable[[str], None] = print
) -> Iterator[InContainers]:
    """A stack of this session's own, empty at first, on ports that were free; removed in the end, volumes too."""
    os.environ.update({variable(name): str(_free_port()) for name in PUBLISHED})
    stack = ContainerStack(outside(state), project)
    stack.down(volumes=True)  # of a session that was killed
    shutil.rmtree(state, ignore_errors=True)
    try:
        stack.up(say)
        stack.copy(f"secrets/{ADMINISTRATOR}")  # a test may look at everything
        yield InContainers(stack)
    finally:
        stack.down(volumes=True)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port
