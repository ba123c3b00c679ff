"""Without a container engine it is said what is missing, and how it is had."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.containers import engine, images
from deploy.native.failures import StackError
from deploy.native.layout import CHECKOUT
from tests.support.waiting import eventually

SLEEP, REMOVE = shutil.which("sleep"), shutil.which("rm")


def programs(folder: Path, **scripts: str) -> None:
    for name, script in scripts.items():
        file = folder / name.replace("_", "-")
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder in which programs are found."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_a_host_without_anything_is_told_all_of_it_at_once(path: Path) -> None:
    with pytest.raises(StackError) as told:
        engine.require()
    for word in ("container engine", "docker compose", "as root on Debian", "docker.io", "docker-compose"):
        assert word in str(told.value)


def test_an_engine_that_does_not_answer_is_none(path: Path) -> None:
    programs(path, docker="exit 1", docker_compose="exit 0")
    with pytest.raises(StackError) as told:
        engine.require()
    assert "container engine" in told.value.problem
    assert "Compose" not in told.value.problem


def test_compose_is_v2_where_the_client_has_it_and_1_29_otherwise(path: Path) -> None:
    programs(path, docker='test "$1" = version', docker_compose="exit 0")
    engine.require()
    assert engine.compose_command() == ("docker-compose",)
    programs(path, docker="exit 0")
    assert engine.compose_command() == ("docker", "compose")


def test_who_is_not_root_is_told_and_nothing_is_installed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(StackError, match="missing"), engine.running(print):
        pytest.fail("there is no engine")
    with pytest.raises(StackError, match="make base-image"):
        images.make_base_image(print)


@pytest.mark.parametrize("command", ["test", "up"])
def test_a_door_says_what_is_missing_and_does_nothing(path: Path, command: str) -> None:
    """`make containers` and `make up`, after set-up; without apt-get, so that root installs nothing either."""
    done = subprocess.run(
        [sys.executable, "-m", "deploy.containers", command], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    problem, remedy = done.stderr.splitlines()
    assert problem == (
        "error: missing: a container engine that answers `docker version`, "
        "Compose (`docker compose`, or docker-compose 1.29)"
    )
    assert "start the engine and let your account use it; or run this as root on Debian" in remedy


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts an engine")
async def test_a_request_to_end_stops_the_engine_that_was_started(path: Path) -> None:
    """As Ctrl-C does, and whatever was under way."""
    alive, held = path / "alive", path / "held"
    programs(
        path,
        docker=f"test $1 = version && test -e {alive}",
        docker_compose="exit 0",
        dockerd=f"trap 'kill $!; {REMOVE} {alive}; exit 0' TERM; : >{alive}; {SLEEP} 60 & wait",
        debootstrap=f": >{held}; exec {SLEEP} 60",
    )
    door = await asyncio.create_subprocess_exec(sys.executable, "-m", "deploy.containers", "base-image", cwd=CHECKOUT)
    await eventually(held.exists, "it is at work")
    assert alive.exists()
    door.terminate()
    assert await door.wait() == 130
    assert not alive.exists()


def test_a_disk_that_is_too_small_is_told_before_anything_is_built(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(path, docker=f"echo {path}")
    engine.require_space()
    monkeypatch.setattr(engine, "SPACE", 10**18)
    with pytest.raises(StackError, match="GB left, and the tests take 1000000000"):
        engine.require_space()


def test_what_a_command_said_is_in_the_error(path: Path) -> None:
    programs(path, docker="echo no space left >&2; exit 1")
    with pytest.raises(StackError, match="no space left"):
        engine.run("docker", "pull", "x")
