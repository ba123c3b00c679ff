"""Without a container engine it is said what is missing, and how it is had."""

from pathlib import Path

import pytest

from deploy.containers import engine, images
from deploy.native.failures import StackError


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


def test_what_a_command_said_is_in_the_error(path: Path) -> None:
    programs(path, docker="echo no space left >&2; exit 1")
    with pytest.raises(StackError, match="no space left"):
        engine.run("docker", "pull", "x")
