"""The stack of docker-compose.yml as tests see it: the same as the embedded one, and what only containers have."""

import contextlib
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from docker.models.containers import Container
from testcontainers.compose import DockerCompose
from testcontainers.core.docker_client import DockerClient

from deploy.containers.engine import ENGINE_SECONDS
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
        self.engine = DockerClient(timeout=ENGINE_SECONDS)

    def every(self) -> list[Container]:
        """Each container of the stack, running or not, as the engine knows it now."""
        filters = {"label": f"com.docker.compose.project={self.containers.project}"}
        found: list[Container] = self.engine.client.containers.list(all=True, filters=filters, ignore_removed=True)
        return found

    def of(self, service: str) -> Container:
        """The container of a service that has one."""
        (found,) = [one for one in self.every() if service_of(one) == service]
        return found

    def postgres_dsn(self, role: str) -> str:
        """By the address of its container, which no port of the host leads to; its certificate names no address."""
        networks = self.of("postgres").attrs["NetworkSettings"]["Networks"]
        address = networks[f"{self.containers.project}_inside"]["IPAddress"]
        layout = replace(self.layout, hosts={"postgres": address}, ports={**self.layout.ports, "postgres": 5432})
        return database.dsn(layout, role).replace("verify-full", "verify-ca")

    def pids(self) -> dict[str, int]:
        """Of each container's first process, on the host."""
        return {service_of(one): int(one.attrs["State"]["Pid"]) for one in self.every()}

    @contextlib.contextmanager
    def away(self, name: str) -> Iterator[None]:
        """It dies (kill -9), and stays away while entered: the engine does not restart what it was told to kill."""
        container = self.of(name)
        container.kill()
        try:
            yield
        finally:
            container.start()

    async def ready(self, name: str) -> None:
        """Wait until its health check has found it well; that it is not, for a while, is what kills are for."""

        def healthy() -> bool:
            found = self.of(name)
            return bool(found.status == "running" and found.health == "healthy")

        await eventually(healthy, f"{name} is healthy", seconds=240, every=0.5)

    def inside(self, service: str, *command: str) -> tuple[int, str]:
        """Run a command in a container, as whoever got into it would; its exit status, and all it said."""
        status, said = self.of(service).exec_run(list(command))
        return int(status), said.decode()


def service_of(container: Container) -> str:
    """The service that a container is of."""
    name: str = container.labels["com.docker.compose.service"]
    return name


@contextlib.contextmanager
def containers(
    project: str = PROJECT, state: Path = TEST_STATE, say: Callable[[str], None] = print
) -> Iterator[InContainers]:
    """A stack of this session's own, empty at first, on ports that were free; removed in the end, volumes too."""
    os.environ.update({variable(name): str(_free_port()) for name in PUBLISHED})
    stack = ContainerStack(outside(state), project)
    compose = DockerCompose(CHECKOUT, wait=False)  # docker-compose 1.29 has no `up --wait`; ours is `starting`
    compose.compose_command_property = list(stack.command)  # by itself it calls Compose v2, which few Debians have
    compose.stop()  # of a session that was killed
    shutil.rmtree(state, ignore_errors=True)
    running = InContainers(stack)
    try:
        with stack.starting(say):
            compose.start()
        stack.copy(f"secrets/{ADMINISTRATOR}")  # a test may look at everything
        yield running
    finally:
        running.engine.client.close()
        compose.stop()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port
