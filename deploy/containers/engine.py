"""The container engine: what of it this host lacks, how it is had, and one started for as long as it is needed."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from deploy.native.bootstrap import no_services_started
from deploy.native.failures import StackError, tail
from deploy.native.layout import CHECKOUT

PACKAGES: Final = ("docker.io", "docker-compose", "debootstrap", "iptables", "iproute2")
"""Of Debian, which bring everything that is wanted here."""

READY_SECONDS: Final = 180
ENGINE_SECONDS: Final = 600
"""For one answer of a busy engine; docker-compose 1.29 gives up after 60."""
SPACE: Final = 8_000_000_000
"""Bytes: images (2 GB), volumes, a bundle twice (3 GB), and the engine that it is installed in."""
STOP_SECONDS: Final = 180
"""An engine gives its containers 10 s each, and then waits for a busy disk."""
LOG: Final = CHECKOUT / "var" / "containers" / "dockerd.log"

Say = Callable[[str], None]


def compose_command() -> tuple[str, ...]:
    """Compose v2 if the engine's client has it, else docker-compose 1.29. Raises StackError."""
    if shutil.which("docker") and _succeeds("docker", "compose", "version"):
        return ("docker", "compose")
    if shutil.which("docker-compose"):
        return ("docker-compose",)
    raise StackError("there is no Compose", f"as root: apt-get install {' '.join(PACKAGES)}")


def answers() -> bool:
    """Whether an engine is there and may be used."""
    return bool(shutil.which("docker")) and _succeeds("docker", "version")


def require() -> None:
    """Raise one StackError that says everything that is missing for `make containers`, and how to get it."""
    lacks = [] if answers() else ["a container engine that answers `docker version`"]
    try:
        compose_command()
    except StackError:
        lacks.append("Compose (`docker compose`, or docker-compose 1.29)")
    if lacks:
        raise StackError(
            f"missing: {', '.join(lacks)}",
            "start the engine and let your account use it; or run this as root on Debian, where it installs "
            f"{' '.join(PACKAGES)} and starts an engine for as long as it needs one",
        )


@contextlib.contextmanager
def required() -> Iterator[None]:
    """The engine that runs. Raises StackError, as `require`."""
    require()
    yield


@contextlib.contextmanager
def running(say: Say) -> Iterator[None]:
    """An engine while entered: the one that runs, or, as root, one that is started here and stopped in the end.

    Raises StackError.
    """
    if answers():
        require()
        yield
        return
    if os.geteuid() != 0:
        require()
    install(say)
    say("no container engine runs: starting one (dockerd), which is stopped again in the end")
    with started(("dockerd",), LOG, lambda _: answers()):
        yield


@contextlib.contextmanager
def started(command: Sequence[str], log: Path, answering: Callable[[int], bool]) -> Iterator[int]:
    """A process id of dockerd while entered, by this command, once it answers. Raises StackError."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    try:
        deadline = time.monotonic() + READY_SECONDS
        while not answering(daemon.pid):
            if daemon.poll() is not None or time.monotonic() > deadline:
                said = "\n".join(f"    | {line}" for line in tail(log, 5))
                raise StackError(f"dockerd did not start\n{said}", f"read {log}")
            time.sleep(0.5)
        yield daemon.pid
    finally:
        daemon.terminate()
        try:
            daemon.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            daemon.kill()


def install(say: Say) -> None:
    """Install what is missing of PACKAGES, as root. Raises StackError."""
    programs = {"docker.io": "dockerd", "docker-compose": "docker-compose", "debootstrap": "debootstrap"}
    if all(shutil.which(program) for program in programs.values()):
        return
    apt = shutil.which("apt-get")
    if apt is None:
        require()
        raise StackError(f"missing: {', '.join(programs)}", "install them with this distribution's packages")
    say(f"system packages: {' '.join(PACKAGES)} ...")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with no_services_started():
        subprocess.run([apt, "-qq", "update"], env=quiet, check=True)
        command = [apt, "-qq", "install", "--yes", "--no-install-recommends", *PACKAGES]
        subprocess.run(command, env=quiet, check=True, stdout=subprocess.DEVNULL)


def require_space() -> None:
    """Raise StackError unless the disks of checkout and engine have what the tests take at most."""
    engine = Path(run("docker", "info", "--format", "{{.DockerRootDir}}").strip())
    for folder in [CHECKOUT, *([engine] if engine.is_dir() else [])]:
        free = shutil.disk_usage(folder).free
        if free < SPACE:
            raise StackError(
                f"{folder} has {free / 1e9:.0f} GB left, and the tests take {SPACE / 1e9:.0f}",
                "make room; `docker system prune --all` removes images that no container uses",
            )


def run(*command: str | Path, environment: Mapping[str, str] | None = None, errors: bool = False) -> str:
    """Standard output of a command, with `errors` its standard error behind it.

    Raises StackError with what it said when it fails.
    """
    done = subprocess.run(
        [str(part) for part in command],
        cwd=CHECKOUT,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = (done.stdout + done.stderr).strip()[-3000:]
        raise StackError(f"{' '.join(map(str, command))} failed\n{said}", "mend that, then start again")
    return done.stdout + (done.stderr if errors else "")


def legacy() -> dict[str, str]:
    """What docker-compose 1.29 has to be told: to be patient, and to leave buildx alone, which Debian has not."""
    if compose_command() == ("docker-compose",):
        patience = str(ENGINE_SECONDS)
        return {"COMPOSE_HTTP_TIMEOUT": patience, "DOCKER_BUILDKIT": "0", "COMPOSE_DOCKER_CLI_BUILD": "0"}
    return {}


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL).returncode == 0
