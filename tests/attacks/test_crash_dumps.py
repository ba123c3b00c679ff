"""What a process that holds a secret leaves behind when it crashes, and shows to others of its own account."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.native.layout import CHECKOUT

CANARY = b"Kn4ri-in-memory"

NOBODY = 65534 if os.geteuid() == 0 else 0
"""The account that both processes take; 0: that of the tests. The superuser reads everybody's memory."""

TAKE_ACCOUNT = """
import ctypes, os, resource, sys
account, hardened, folder = int(sys.argv[1]), sys.argv[2] == "on", sys.argv[3]
from libs.runtime.hardening import harden_process
os.chdir(folder)
if account:
    os.setgid(account)
    os.setuid(account)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # dumpable, as a program is that this account starts
"""

TARGET = """
resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2)
ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)  # and no defence of the host's (Yama) beside ours
if hardened:
    harden_process()
secret = ctypes.create_string_buffer("-".join(("Kn4ri", "in", "memory")).encode())
print(ctypes.addressof(secret), flush=True)
sys.stdin.readline()
"""

READER = """
pid, at, size = map(int, sys.argv[4:])
with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
    memory.seek(at)
    sys.stdout.buffer.write(memory.read(size))
"""


def started(code: str, *arguments: object, hardened: str = "off", folder: Path) -> "subprocess.Popen[bytes]":
    """A process of an account that is not the superuser's."""
    return subprocess.Popen(
        [sys.executable, "-c", TAKE_ACCOUNT + code, str(NOBODY), hardened, str(folder), *map(str, arguments)],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where anybody may write."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o777)
        yield Path(made)


@pytest.mark.parametrize("defence", ["on", "off"])
def test_a_crash_leaves_no_memory_behind(folder: Path, defence: str) -> None:
    """PIN-3: whatever the host's limits say. The kernel itself tells whether it wrote a core."""
    target = started(TARGET, hardened=defence, folder=folder)
    assert target.stdout is not None
    assert target.stdout.readline()
    os.kill(target.pid, signal.SIGSEGV)
    _, status = os.waitpid(target.pid, 0)
    target.communicate()
    assert os.WTERMSIG(status) == signal.SIGSEGV
    cores = [file.read_bytes() for file in folder.iterdir()]
    if defence == "on":
        assert (os.WCOREDUMP(status), cores) == (False, [])
        return
    assert os.WCOREDUMP(status)
    assert all(CANARY in core for core in cores), "where the host lets it lie here"


@pytest.mark.parametrize("defence", ["on", "off"])
def test_the_memory_is_shown_to_nobody_of_the_same_account(folder: Path, defence: str) -> None:
    """PIN-3: another program of the service's account, or of an intruder who became it."""
    target = started(TARGET, hardened=defence, folder=folder)
    try:
        assert target.stdout is not None
        at = int(target.stdout.readline())
        reader = started(READER, target.pid, at, len(CANARY), folder=folder)
        shown, complaint = reader.communicate(timeout=30)
    finally:
        target.kill()
        target.communicate()
    assert (shown == CANARY, b"PermissionError" in complaint) == ((False, True) if defence == "on" else (True, False))
