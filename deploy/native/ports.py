"""Ports of one stack: a free block chosen once, remembered, and checked before every start."""

import contextlib
import fcntl
import hashlib
import json
import os
import socket
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from deploy.native.failures import StackError

HOST = "127.0.0.1"
FIRST, LAST, BLOCK = 20000, 32000, 32
"""Blocks lie below Linux's ephemeral range (from 32768), where an outgoing connection could take a port."""


def reserve(state: Path, names: Sequence[str]) -> dict[str, int]:
    """Return name -> port for this state directory.

    The first call picks the block that the directory's path hashes to, or the next one that is wholly free and that no
    other stack of this account has, running or not, and writes `ports.json`. `GPKI_PORT_BASE` overrides the block and
    the file. Raises StackError when nothing is free.
    """
    override = os.environ.get("GPKI_PORT_BASE")
    file = state / "ports.json"
    if override:
        if not override.isdigit() or not 1024 <= int(override) <= 65535 - BLOCK:
            raise StackError(f"GPKI_PORT_BASE={override} is no usable port", "give a number from 1024 to 65503")
        return {name: int(override) + offset for offset, name in enumerate(names)}
    stored: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
    if all(name in stored for name in names):
        return {name: stored[name] for name in names}
    state.mkdir(parents=True, exist_ok=True)
    with _claims() as claims:
        base, chosen = _free_block(state, names, claims)
        temporary = file.with_suffix(".new")
        temporary.write_text(json.dumps(chosen, indent=2) + "\n")
        temporary.replace(file)
        (claims / str(base)).write_text(str(state))
    return chosen


def _free_block(state: Path, names: Sequence[str], claims: Path) -> tuple[int, dict[str, int]]:
    blocks = (LAST - FIRST) // BLOCK
    start = int.from_bytes(hashlib.sha256(bytes(state)).digest()[:4], "big") % blocks
    for step in range(blocks):
        base = FIRST + (start + step) % blocks * BLOCK
        candidate = {name: base + offset for offset, name in enumerate(names)}
        if not _is_claimed(claims / str(base), state) and not taken(candidate):
            return base, candidate
    raise StackError(f"no free block of {len(names)} ports from {FIRST} to {LAST}", "set GPKI_PORT_BASE to a free one")


@contextlib.contextmanager
def _claims() -> Iterator[Path]:
    """One file per block, named after its first port, that names the stack it was given to; held while entered.

    A stack that does not run now has its ports nonetheless: another one that took them would stop its next start.
    """
    folder = Path(tempfile.gettempdir()) / f"gpki-{os.geteuid()}-ports"
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def _is_claimed(claim: Path, state: Path) -> bool:
    """Whether another stack has this block still; one whose directory is gone, or that chose anew, has not."""
    try:
        other = Path(claim.read_text())
        ports: dict[str, int] = json.loads((other / "ports.json").read_text())
    except OSError:
        return False
    return other != state and int(claim.name) in ports.values()


def taken(wanted: Mapping[str, int]) -> dict[str, int]:
    """Return those of name -> port that another process listens on (a port in TIME_WAIT is free)."""
    return {name: port for name, port in wanted.items() if not _can_listen(port)}


def _can_listen(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def require_free(wanted: Mapping[str, int], stored_in: Path) -> None:
    """Raise StackError that names port, part and holder when one of these ports is taken."""
    for name, port in taken(wanted).items():
        raise StackError(
            f"port {port}, wanted for {name}, is taken{_holder([port])}",
            f"stop that process, or delete {stored_in / 'ports.json'} to choose other ports, or set GPKI_PORT_BASE",
        )


def _holder(ports: Iterable[int]) -> str:
    wanted = set(ports)
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port in wanted and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        pass  # without the right to see other users' sockets the message does without the name
    return ""
