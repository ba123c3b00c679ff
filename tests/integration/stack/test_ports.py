"""Ports of a stack: chosen once, apart from others, said when they are taken."""

import hashlib
import json
import shutil
import socket
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import patch

import pytest

from deploy.native import ports
from deploy.native.failures import StackError

NAMES = ("kafka", "postgres")


@pytest.fixture(autouse=True)
def _by_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without an override, and with claims of its own: the test's many stacks keep no port from a real one."""
    monkeypatch.delenv("GPKI_PORT_BASE", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_the_same_directory_keeps_its_ports(tmp_path: Path) -> None:
    assert ports.reserve(tmp_path / "stack", NAMES) == ports.reserve(tmp_path / "stack", NAMES)


def test_a_part_that_comes_later_gets_ports_too(tmp_path: Path) -> None:
    ports.reserve(tmp_path / "stack", NAMES)
    assert set(ports.reserve(tmp_path / "stack", (*NAMES, "smtp"))) == {*NAMES, "smtp"}


def test_two_stacks_share_no_port_wherever_they_lie_even_when_none_runs(tmp_path: Path) -> None:
    block = (ports.LAST - ports.FIRST) // ports.BLOCK
    chosen = [port for n in range(block // 4) for port in ports.reserve(tmp_path / str(n) / "s", NAMES).values()]
    assert len(chosen) == len(set(chosen))


def test_stacks_that_begin_at_the_same_moment_share_no_port(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        chosen = list(pool.map(lambda n: ports.reserve(tmp_path / str(n) / "s", NAMES), range(64)))
    assert len({port for one in chosen for port in one.values()}) == 64 * len(NAMES)


def test_the_ports_of_a_stack_that_was_deleted_are_given_again(tmp_path: Path) -> None:
    first = ports.reserve(tmp_path / "a" / "s", NAMES)
    shutil.rmtree(tmp_path / "a")
    same = hashlib.sha256(bytes(tmp_path / "a" / "s"))
    with patch("deploy.native.ports.hashlib.sha256", return_value=same):  # as if the paths led to one block
        assert ports.reserve(tmp_path / "b" / "s", NAMES) == first


def test_a_block_with_a_taken_port_is_passed_over(tmp_path: Path) -> None:
    first = ports.reserve(tmp_path / "stack", NAMES)
    (tmp_path / "stack" / "ports.json").unlink()
    with socket.create_server((ports.HOST, first["postgres"])):
        second = ports.reserve(tmp_path / "stack", NAMES)
    assert set(first.values()).isdisjoint(second.values())


def test_ports_lie_below_the_range_that_outgoing_connections_use(tmp_path: Path) -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert lowest >= ports.LAST or lowest < ports.FIRST
    assert all(ports.FIRST <= port < ports.LAST for port in ports.reserve(tmp_path / "stack", NAMES).values())


def test_the_override_wins_and_is_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = ports.reserve(tmp_path / "stack", NAMES)
    monkeypatch.setenv("GPKI_PORT_BASE", "31000")
    assert ports.reserve(tmp_path / "stack", NAMES) == {"kafka": 31000, "postgres": 31001}
    assert json.loads((tmp_path / "stack" / "ports.json").read_text()) == own


@pytest.mark.parametrize("base", ["", "80", "65535", "-1", "many"])
def test_an_unusable_override_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: str) -> None:
    monkeypatch.setenv("GPKI_PORT_BASE", base)
    if base:
        with pytest.raises(StackError, match="GPKI_PORT_BASE"):
            ports.reserve(tmp_path / "stack", NAMES)
    else:
        assert ports.reserve(tmp_path / "stack", NAMES)


def test_a_taken_port_is_said_with_part_and_remedy(tmp_path: Path) -> None:
    with socket.create_server((ports.HOST, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(StackError, match=f"port {port}, wanted for smtp, is taken") as failure:
            ports.require_free({"smtp": port}, tmp_path)
    assert str(tmp_path / "ports.json") in failure.value.remedy
    ports.require_free({"smtp": port}, tmp_path)
