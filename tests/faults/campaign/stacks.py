"""The stacks that faults are done to: the ordinary one, and what some faults need instead."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from deploy.native import lifecycle
from deploy.native.layout import BROKERS, CHECKOUT, Layout, open_layout
from services.igfmas.demo.stack import running_stack
from services.igfmas.enrolment import Officer
from tests.support.chain import Client, connected
from tests.support.replicas import in_sync_on_all_three
from tests.support.stack import Stack

OFFICERS: Final = 17
"""One for the Pukals. Of the others nobody has ten codes unanswered after 30 s in which nothing moves: the pace of
codes would hold them for the rest of the minute, as it should.
"""
SMALL_DISK: Final = "640m"
"""Size of a disk that is to fill up; what stands on it takes up to some 400 MB, most of it the log of PostgreSQL."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Kind:
    """A stack to strike. `settings` are `GPKI_…` variables of its services."""

    name: str
    brokers: tuple[str, ...] = BROKERS[:1]
    settings: Mapping[str, str] = field(default_factory=dict)
    small_disks: bool = False
    """Whether broker and database each have a small file system of their own, in memory."""

    def impossible(self) -> str | None:
        """Why there can be no such stack here, if so."""
        if self.small_disks and not _may_mount():
            return "only root may mount the small disk that is to fill up"
        return None


ORDINARY: Final = Kind("ordinary")

RESERVE_WITHIN: Final = 10.0
EMAIL_OTP_LIFETIME: Final = 20.0
COMPRESSION: Final = 30
"""One second of this stack is half a minute of the platform's: what is 300 s and 10 min there is 10 and 20 s here."""

CRL_VALIDITY: Final = 30.0
"""Seconds. The authority looks every 20 s, and replaces a CRL at half of its life."""

COMPRESSED: Final = Kind(
    "compressed",
    settings={
        "GPKI_RESERVE_WITHIN": f"PT{RESERVE_WITHIN:.0f}S",
        "GPKI_EMAIL_OTP_LIFETIME": f"PT{EMAIL_OTP_LIFETIME:.0f}S",
        "GPKI_CRL_VALIDITY": f"PT{CRL_VALIDITY:.0f}S",
        "GPKI_CRL_REFRESH": "PT2S",
    },
)
SMALL_DISKS: Final = Kind("small-disks", small_disks=True)
THREE_BROKERS: Final = Kind("three-brokers", brokers=BROKERS)


@dataclass(frozen=True)
class Struck:
    """A stack that runs, its iGFMAS, and officers who sign."""

    client: Client
    officers: tuple[Officer, ...]


@contextlib.asynccontextmanager
async def running(kind: Kind, state: Path, say: Say) -> AsyncIterator[Struck]:
    """A new stack of this kind while entered. Raises StackError."""
    layout = open_layout(state, brokers=kind.brokers)
    with _emptied(layout), _environment(kind.settings), _small_disks(layout, wanted=kind.small_disks):
        async with running_stack(layout, say), connected(Stack(layout)) as client:
            if kind is THREE_BROKERS:
                await in_sync_on_all_three(client.stack.kafka)
            officers = [await client.enrol() for _ in range(OFFICERS)]
            yield Struck(client, tuple(officers))


def state_of(kind: Kind) -> Path:
    """Where such a stack lies."""
    return CHECKOUT / "var" / f"faults-{kind.name}"


@contextlib.contextmanager
def _emptied(layout: Layout) -> Iterator[None]:
    """Nothing of an earlier run, which may have been killed with its disks mounted."""
    for folder in disks_of(layout):
        if folder.is_mount():
            subprocess.run(["umount", "--lazy", folder], check=True)
    for entry in layout.state.iterdir():
        if entry.name != "ports.json":
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    yield


@contextlib.contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def disks_of(layout: Layout) -> tuple[Path, Path]:
    """Where broker and database keep their data."""
    return layout.broker_data("kafka"), layout.postgres_data


@contextlib.contextmanager
def _small_disks(layout: Layout, *, wanted: bool) -> Iterator[None]:
    """Make the data directories, and move them onto small disks."""
    with contextlib.ExitStack() as mounts:
        if wanted:
            lifecycle.prepare(layout)
            for folder in disks_of(layout):
                mounts.enter_context(_small_disk(folder))
        yield


@contextlib.contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    large = folder.rename(folder.with_name(f"{folder.name}.large"))
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "gpki", folder], check=True)
    try:
        subprocess.run(["cp", "-a", f"{large}/.", folder], check=True)
        shutil.rmtree(large)
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def _may_mount() -> bool:
    asked = ["unshare", "--mount", "mount", "-t", "tmpfs", "gpki", "/mnt"]
    return subprocess.run(asked, check=False, capture_output=True).returncode == 0
