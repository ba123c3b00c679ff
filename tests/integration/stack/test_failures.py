"""A start that cannot work says what is wrong and what to do, and leaves nothing running."""

import shutil
import socket
from pathlib import Path

import pytest

from deploy.native.layout import open_layout
from tests.integration.stack.test_lifecycle import Commands, native, prepared

__all__ = ["native", "prepared"]

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]


def test_a_taken_port_is_named_with_its_part_and_its_holder(native: Commands) -> None:
    port = open_layout(native.state).ports["kafka"]
    with socket.create_server(("127.0.0.1", port)):
        failed = native("up", "--infrastructure")
    assert failed.returncode == 1
    assert f"port {port}, wanted for kafka, is taken" in failed.stderr
    assert "python" in failed.stderr  # who holds it: this test
    assert "ports.json" in failed.stderr
    assert not native.family()


@pytest.mark.parametrize(
    ("setting", "package"),
    [("GPKI_PKCS11_MODULE", "softhsm2"), ("GPKI_POSTGRES_BIN", "postgresql")],
)
def test_a_missing_package_is_named(native: Commands, setting: str, package: str) -> None:
    failed = native("up", "--infrastructure", **{setting: "/nonexistent"})
    assert failed.returncode == 1
    assert f"apt-get install {package}" in failed.stderr
    assert "make setup" in failed.stderr
    assert not native.family()


def test_a_disk_with_too_little_space_stops_the_start_before_anything_is_written(native: Commands) -> None:
    shutil.rmtree(native.state / "log")
    failed = native("up", "--infrastructure", GPKI_MIN_FREE_MIB="999999999")
    assert failed.returncode == 1
    assert "MiB free, 999999999 are needed" in failed.stderr
    assert not (native.state / "log").exists()
    assert not native.family()


@pytest.mark.parametrize(
    ("part", "damage"),
    [
        ("postgres", "postgres/PG_VERSION"),
        ("postgres", "postgres/global/pg_control"),
        ("kafka", "kafka/meta.properties"),
    ],
)
def test_a_data_directory_that_lost_its_head_is_not_started_on(native: Commands, part: str, damage: str) -> None:
    (native.state / damage).unlink()
    failed = native("up", "--infrastructure")
    assert failed.returncode == 1
    assert f"{part}: the data directory {native.state / part} is broken" in failed.stderr
    assert "restore it from a backup" in failed.stderr
    assert not native.family()


@pytest.mark.parametrize(
    ("part", "damage", "sign"),
    [
        ("postgres", "postgres/global/pg_control", "PG_CONTROL_VERSION 0"),
        ("kafka", "kafka/meta.properties", "node ID not found"),
    ],
)
def test_a_part_that_dies_at_start_is_shown_with_its_last_words(
    native: Commands, part: str, damage: str, sign: str
) -> None:
    _garble(native.state / damage)
    failed = native("up", "--infrastructure")
    assert failed.returncode == 1
    assert f"{part}: ended 3 times while starting" in failed.stderr
    assert sign in failed.stderr
    assert str(native.state / "log" / f"{part}.log") in failed.stderr
    assert not native.family()


def test_an_interrupted_initdb_is_begun_again(native: Commands) -> None:
    (native.state / "postgres").rename(native.state / "postgres.new")
    (native.state / "postgres.new" / "global" / "pg_control").unlink()
    started = native("up", "--infrastructure")
    assert started.returncode == 0, started.stderr
    assert not (native.state / "postgres.new").exists()


def _garble(file: Path) -> None:
    """Keep owner and mode; spoil the content."""
    content = file.read_bytes()
    file.write_bytes(b"cluster.id=somebody-elses\n" if b"cluster.id" in content else bytes(len(content)))
