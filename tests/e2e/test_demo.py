"""`make demo` accounts for every voucher, leaves evidence that OpenSSL alone accepts, and leaves nothing running."""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from deploy.native.layout import CHECKOUT
from services.igfmas.demo.command import DONE, INTERRUPTED, SAMPLE
from tests.support.stack import Stack, own_state, step_aside

pytestmark = pytest.mark.stack

MUST_HOLD = (
    "openssl cms -verify -binary -inform DER -in signature.p7s -content document -CAfile trust.pem -crl_check "
    "-purpose any"
)
"""The command of the issue, word for word."""

SECONDS = 240
"""Bound on one run, on a machine that does other things too."""


class Demo:
    """One run in a process group of its own, as a terminal would start it."""

    def __init__(self, state: Path, results: Path, *, vouchers: Path | None = None) -> None:
        self.state = state
        self.results = results
        command = [sys.executable, "-m", "services.igfmas", "demo", "--results", str(results)]
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            [*command, *(("--input", str(vouchers)) if vouchers else ())],
            cwd=CHECKOUT,
            env=os.environ | {"GPKI_STACK_DIR": str(state), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def until(self, sign: str) -> None:
        """Read what it says up to a line that has `sign` in it."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line)
            if sign in line:
                return
        pytest.fail(f"it never said {sign!r}:\n{''.join(self.lines)}")

    def interrupt(self, number: int = signal.SIGINT) -> None:
        """What a terminal does at Ctrl-C: a signal to the whole group."""
        os.killpg(self._process.pid, number)

    def ends(self) -> int:
        """The exit status."""
        said, _ = self._process.communicate(timeout=SECONDS)
        self.lines.append(said)
        return self._process.returncode

    def close(self) -> None:
        """Leave nothing behind, however the test went: what a demonstration starts ends with it."""
        self._process.kill()
        self._process.communicate()

    @property
    def said(self) -> str:
        """Everything so far."""
        return "".join(self.lines)

    def summary(self) -> dict[str, Any]:
        """What it wrote."""
        read: dict[str, Any] = json.loads((self.results / "summary.json").read_text())
        return read


Start = Callable[..., Demo]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts demonstrations that do not outlive the test."""
    with contextlib.ExitStack() as started:

        def demo(state: Path, results: Path, vouchers: Path | None = None) -> Demo:
            return started.enter_context(contextlib.closing(Demo(state, results, vouchers=vouchers)))

        yield demo


def of_stack(state: Path) -> list[str]:
    """Processes that belong to a stack: its directory is in their arguments or their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            command = process.cmdline()  # once: it may be gone the next time
            told = [*command, *process.environ().values()]
            running = process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid()
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if running and any(text == str(state) or f"{state}/" in text for text in told):
            found.append(f"{process.pid} {' '.join(command)[:120]}")
    return found


def no_process_of(state: Path) -> bool:
    """Whether none is left; those that were told to end have a moment."""
    deadline = time.monotonic() + 30
    while left := of_stack(state):
        if time.monotonic() > deadline:
            pytest.fail("left running:\n" + "\n".join(left))
        time.sleep(0.1)
    return True


def few(tmp_path: Path, count: int) -> Path:
    """A file of one's own."""
    file = tmp_path / "few.csv"
    rows = SAMPLE.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join(rows[: count + 1]), encoding="utf-8")
    return file


@pytest.mark.timeout(SECONDS + 60)
def test_every_voucher_of_the_sample_is_accounted_for(full_stack: Stack, start: Start, tmp_path: Path) -> None:
    before = of_stack(full_stack.layout.state)
    demo = start(full_stack.layout.state, tmp_path / "demo")
    assert demo.ends() == DONE, demo.said
    summary = demo.summary()
    assert [summary[name] for name in ("requested", "posted", "refused", "lost", "duplicated")] == [525, 522, 3, 0, 0]
    assert [one["reason"] for one in summary["refusals"]] == ["too-many-wrong-otp", "pin-locked", "certificate-revoked"]
    assert summary["stages"]["posting"]["count"] == 522
    assert all(0 <= stage["p50_ms"] <= stage["p99_ms"] for stage in summary["stages"].values())
    assert all(f"[{number:>2}/14]" in demo.said for number in range(1, 15))
    assert "[ 5/14] Maklumat medium diterima / the medium is known: token" in demo.said
    assert "left running" in demo.said
    assert "peraku: OTP -> gpki-mobile, GPKI Mobile " in demo.said
    assert of_stack(full_stack.layout.state) == before, "a stack that ran before is used, and left as it was"

    folders = sorted((tmp_path / "demo" / "evidence").iterdir())
    assert len(folders) == 522
    for folder in folders[::40]:
        assert {file.name for file in folder.iterdir()} == {"document", "signature.p7s", "trust.pem", "record.json"}
        record = json.loads((folder / "record.json").read_text())
        assert folder.name.removesuffix("@peraku") == record["document"]["id"]
        commands = (MUST_HOLD, record["openssl"])
        assert [openssl(folder, command) for command in commands] == [0, 0]
        document = (folder / "document").read_bytes()
        (folder / "document").write_bytes(document[:-1] + bytes([document[-1] ^ 1]))
        assert 0 not in [openssl(folder, command) for command in commands]
        (folder / "document").write_bytes(document)

    officers = json.loads((tmp_path / "demo" / "officers.json").read_text())
    assert len(officers) == 11
    for file in (tmp_path / "demo" / "summary.json", *(folders[0].iterdir())):
        assert not any(one["pin"].encode() in file.read_bytes() for one in officers)
    assert not any(one["pin"] in demo.said for one in officers)


def openssl(folder: Path, command: str) -> int:
    return subprocess.run(shlex.split(command), cwd=folder, capture_output=True, check=False).returncode


@pytest.fixture(scope="module")
def state() -> Iterator[Path]:
    """A stack that only the demonstration starts."""
    step_aside()
    with own_state() as own:
        yield own


MOMENTS = {
    "at once": "document ids begin with",
    "while Kafka starts": "data directories and configuration",
    "while the services start": "topics, tokens",
    "during the Pukal": "Pukal: ",
}


@pytest.mark.timeout(10 * SECONDS)
def test_ctrl_c_at_any_moment_leaves_nothing_running_and_the_next_run_is_fine(
    state: Path, start: Start, tmp_path: Path
) -> None:
    for number, (moment, sign) in enumerate(MOMENTS.items()):
        demo = start(state, tmp_path / "demo", few(tmp_path, 200))
        demo.until(sign)
        demo.interrupt(signal.SIGTERM if number == 2 else signal.SIGINT)
        if number % 2:
            demo.interrupt()  # impatient
        assert demo.ends() == INTERRUPTED, f"{moment}: {demo.said}"
        assert "Traceback" not in demo.said, f"{moment}: {demo.said}"
        assert no_process_of(state)
        assert not (tmp_path / "demo" / "summary.json").exists()
    demo = start(state, tmp_path / "demo", few(tmp_path, 1))  # a file of one's own may be this short
    assert demo.ends() == DONE, demo.said
    summary = demo.summary()
    assert [summary[name] for name in ("requested", "posted", "refused", "lost", "duplicated")] == [6, 3, 3, 0, 0]
    assert no_process_of(state)
