"""The stack in containers, started and stopped; and what a client on the host needs of it."""

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from deploy.containers.engine import Say, compose_command, legacy, run
from deploy.containers.layout import HOSTS, PORTS, outside
from deploy.native.failures import StackError
from deploy.native.layout import Layout
from deploy.native.principals import AUDITOR, CALLER, OBSERVER, OPERATOR

CLIENTS: Final = (CALLER, OBSERVER, OPERATOR, AUDITOR)
"""Whose secrets are copied to the host: those of people's programs, never a service's."""

READY_SECONDS: Final = 480
LOOK_SECONDS: Final = 1.0
LAST_LINES: Final = "20"


@dataclass(frozen=True)
class ContainerStack:
    """One project of Compose. Its volumes are named after the project, so that two do not meet."""

    layout: Layout
    project: str = "gpki"

    @property
    def command(self) -> tuple[str, ...]:
        """Compose, told of this stack. Raises StackError."""
        brokers = self.layout.brokers
        environment = {
            **legacy(),
            "GPKI_MAIL_DIR": str(self.layout.mail),
            "BASE_IMAGE": os.environ.get("BASE_IMAGE", "none"),  # nothing is built here
            "GPKI_BROKERS": str(len(brokers)),
            "GPKI_KAFKA_BOOTSTRAP": ",".join(f"{HOSTS[name]}:{PORTS[name]}" for name in brokers),
        }
        return (
            *("env", *(f"{name}={value}" for name, value in environment.items())),
            *(*compose_command(), "-p", self.project, "--profile", "demo"),
            *(("--profile", "ha") if len(brokers) > 1 else ()),
        )

    def compose(self, *arguments: str) -> str:
        """Run Compose on it; returns what it said. Raises StackError."""
        return run(*self.command, *arguments)

    def up(self, say: Say) -> None:
        """Start what does not run. Raises StackError."""
        with self.starting(say):
            self.compose("up", "-d", "--no-build")

    @contextlib.contextmanager
    def starting(self, say: Say) -> Iterator[None]:
        """Around Compose's `up`: make its folders before, wait and copy as `attach` does after. Raises StackError."""
        began = time.monotonic()
        self.layout.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.layout.mail.mkdir(exist_ok=True)
        self.layout.mail.chmod(0o777)  # the sink's account is none of this host's; the folder above is closed
        say("containers: prepare, infrastructure, init, services ...")
        try:
            yield
        except (StackError, subprocess.CalledProcessError) as error:  # ours, or that of who calls Compose for the tests
            raise StackError(f"{getattr(error, 'problem', error)}\n{self._last_words()}", "mend that") from None
        self.attach()
        say(f"ready in {time.monotonic() - began:.1f} s")

    def attach(self) -> None:
        """Wait until every container of a stack that was started is healthy, and copy what clients on the host need.

        Raises StackError.
        """
        self.await_healthy()
        self.copy("pki")
        for owner in CLIENTS:
            self.copy(f"secrets/{owner}")

    def down(self) -> None:
        """Stop and remove the containers; the volumes are kept. Raises StackError."""
        self.compose("down")

    def container(self, service: str) -> str:
        """Id of a service's container, running or not. Raises StackError."""
        labels = {"com.docker.compose.project": self.project, "com.docker.compose.service": service}
        filters = [part for name, value in labels.items() for part in ("--filter", f"label={name}={value}")]
        found = run("docker", "ps", "--all", "--quiet", "--no-trunc", *filters).split()
        if not found:
            raise StackError(f"there is no container of {service}", "`make up STACK=compose`")
        return found[0]

    def containers(self) -> list[dict[str, Any]]:
        """What the engine knows of each container of the project."""
        label = f"label=com.docker.compose.project={self.project}"
        found = run("docker", "ps", "--all", "--quiet", "--filter", label).split()
        inspected: list[dict[str, Any]] = json.loads(run("docker", "inspect", *found)) if found else []
        return inspected

    def runs(self) -> bool:
        """Whether any container of it runs."""
        return any(container["State"]["Running"] for container in self.containers())

    def _last_words(self) -> str:
        """The last lines of every container that ended with a fault: Compose tells that it did, and not why."""
        failed = [one for one in self.containers() if one["State"]["ExitCode"] and not one["State"]["Running"]]
        return "\n".join(
            f"{one['Name'].lstrip('/')}:\n{run('docker', 'logs', '--tail', LAST_LINES, one['Id'], errors=True)}"
            for one in failed
        )

    def await_healthy(self) -> None:
        """Wait until all are healthy that have a health check. Raises StackError."""
        deadline = time.monotonic() + READY_SECONDS
        while True:
            states = {
                container["Config"]["Labels"]["com.docker.compose.service"]: container["State"]
                for container in self.containers()
            }
            late = {
                name: state
                for name, state in states.items()
                if "Health" in state and state["Health"]["Status"] != "healthy"
            }
            if not late:
                return
            if time.monotonic() > deadline:
                raise StackError(
                    f"not healthy: {', '.join(sorted(late))}", f"docker logs of {self.project}'s containers"
                )
            time.sleep(LOOK_SECONDS)

    def copy(self, folder: str, service: str = "init") -> None:
        """Copy a folder of the stack's state to the host, as this account's own. Raises StackError."""
        target = self.layout.state / folder
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True, mode=0o700)
        run("docker", "cp", f"{self.container(service)}:/state/{folder}/.", target)


def addresses(layout: Layout) -> str:
    """Where the stack is reached from this host; no secret among it."""
    return "\n".join(
        (
            f"  Kafka (TLS)  {layout.bootstrap}, authority {layout.transport_root}",
            f"  GPKI API     https://127.0.0.1:{layout.ports['gateway']}",
            f"  CRLs         http://127.0.0.1:{layout.ports['crl']}",
            f"  mail         {layout.mail}",
            f"  secrets      {layout.state / 'secrets'} ({', '.join(CLIENTS)})",
        )
    )


def open_stack() -> ContainerStack:
    """The stack of `make up STACK=compose`."""
    return ContainerStack(outside())
