"""A second container engine, empty, in a network of its own that leads nowhere: a site without a network."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.containers.engine import started


@dataclass(frozen=True)
class Site:
    """Where it is, by its engine's process and socket."""

    pid: int
    socket: Path

    def answers(self) -> bool:
        """Whether the engine does."""
        return self.run("docker", "version").returncode == 0

    def run(
        self, *command: str | Path, cwd: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command there: it has that network and no other, and that engine."""
        return subprocess.run(
            ["nsenter", f"--net=/proc/{self.pid}/ns/net", *map(str, command)],
            cwd=cwd,
            env={**os.environ, "DOCKER_HOST": f"unix://{self.socket}", **(environment or {})},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip


@contextlib.contextmanager
def site(data: Path) -> Iterator[Site]:
    """One while entered, as root; its images and volumes lie below `data`, and its log beside. Raises StackError."""
    # a short name, because sockets lie below it: the kernel takes 107 bytes
    with tempfile.TemporaryDirectory(prefix="gpki-") as state:
        socket = Path(state) / "docker.sock"
        places = [
            f"--data-root={data}",
            f"--exec-root={state}/exec",
            f"--pidfile={state}/pid",
            f"--host=unix://{socket}",
        ]
        command = ["unshare", "--net", "--mount", "sh", "-c", 'ip link set lo up && exec dockerd "$@"', "sh", *places]
        with started(command, data.with_suffix(".log"), lambda pid: Site(pid, socket).answers()) as pid:
            yield Site(pid, socket)
