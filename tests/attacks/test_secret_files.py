"""A secret that others could read or change is not used: no service starts with one."""

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

from deploy.native.layout import CHECKOUT, SERVICES
from deploy.native.parts import client_environment, inherited, service_environment
from tests.support.stack import WITH_US, Stack

pytestmark = pytest.mark.stack

SECONDS = 120
"""For a process to read its settings, while all the others do so on a busy machine."""

STRANGER = 65534


async def started(module: str, environment: dict[str, str], *arguments: str) -> tuple[int | None, list[str]]:
    """Exit code of a process that is to end by itself, and its lines about its configuration."""
    process = await asyncio.create_subprocess_exec(
        *(*WITH_US, sys.executable, "-m", module, *arguments),
        cwd=CHECKOUT,
        env={**inherited(), **environment},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(SECONDS):
        _, said = await process.communicate()
    return process.returncode, [line for line in said.decode().splitlines() if line.startswith("configuration: ")]


def copied(stack: Stack, owner: str, folder: Path) -> list[Path]:
    """The secrets of one owner, as its own process has them, in a folder that a test may spoil."""
    shutil.copytree(stack.layout.secrets(owner), folder)
    files = sorted(folder.iterdir())
    for file in files:
        file.chmod(0o600)
    return files


@pytest.mark.parametrize("mode", [0o640, 0o604])
async def test_no_service_starts_with_a_secret_that_others_can_read(
    full_stack: Stack, tmp_path: Path, mode: int
) -> None:
    """I-41: every secret of every service, each told in one sentence, with exit code 78 and without its value."""

    async def attack(service: str) -> None:
        files = copied(full_stack, service, tmp_path / service)
        for file in files:
            file.chmod(mode)
        environment = service_environment(full_stack.layout, service) | {"GPKI_SECRETS_DIR": str(tmp_path / service)}
        code, lines = await started(f"services.{service}", environment)
        assert code == os.EX_CONFIG, service
        assert len(files) >= 2
        wanted = f"mode {mode:04o} lets others read this secret; chmod 600 it"
        assert sorted(lines) == [f"configuration: {file}: {wanted}" for file in files]
        assert not [file for file in files if file.read_text().strip() in "".join(lines)]

    await asyncio.gather(*(attack(service) for service in SERVICES))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away, and read one that is another's")
async def test_no_service_starts_with_a_secret_that_another_account_owns(full_stack: Stack, tmp_path: Path) -> None:
    """Who owns a file can change it, and open it to anybody."""

    async def attack(service: str) -> None:
        files = copied(full_stack, service, tmp_path / service)
        for file in files:
            os.chown(file, STRANGER, STRANGER)
        environment = service_environment(full_stack.layout, service) | {"GPKI_SECRETS_DIR": str(tmp_path / service)}
        code, lines = await started(f"services.{service}", environment)
        assert code == os.EX_CONFIG, service
        wanted = f"belongs to uid {STRANGER}, this process runs as uid {os.geteuid()}; chown it"
        assert sorted(lines) == [f"configuration: {file}: {wanted}" for file in files]

    await asyncio.gather(*(attack(service) for service in SERVICES))


async def test_with_its_secrets_for_its_owner_alone_the_same_process_goes_on_to_its_work(
    full_stack: Stack, tmp_path: Path
) -> None:
    """What stopped it above was the mode: here it comes as far as a database that is not there."""
    copied(full_stack, "posting", tmp_path / "posting")
    away = {"GPKI_SECRETS_DIR": str(tmp_path / "posting"), "GPKI_POSTGRES_PORT": "1", "GPKI_HEALTH_PORT": "0"}
    code, lines = await started("services.posting", service_environment(full_stack.layout, "posting") | away)
    assert (code, lines) == (1, [])


async def test_the_reference_client_s_keys_are_held_to_the_same(full_stack: Stack, tmp_path: Path) -> None:
    files = copied(full_stack, "igfmas", tmp_path / "igfmas")
    more = {"GPKI_SECRETS_DIR": str(tmp_path / "igfmas"), "GPKI_PKI_DIR": str(tmp_path / "pki")}
    environment = client_environment(full_stack.layout) | more
    assert await started("services.igfmas", environment, "init") == (0, [])
    for file in files:
        file.chmod(0o644)
    code, (line,) = await started("services.igfmas", environment, "init")
    assert code == os.EX_CONFIG
    assert "mode 0644 lets others read this secret" in line
