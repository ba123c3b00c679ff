"""Start, stop, interruption: what `python -m deploy.native` leaves behind, as its user runs it."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from deploy.native import database, lifecycle
from deploy.native.failures import StackError
from deploy.native.layout import CHECKOUT, open_layout
from deploy.native.supervisor import Supervisor, alive
from tests.support.waiting import eventually

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]


class Commands:
    """`python -m deploy.native …` on a state directory of its own."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.environment = {**os.environ, "GPKI_STACK_DIR": str(state)}

    def __call__(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "deploy.native", *arguments],
            check=False,
            cwd=CHECKOUT,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "deploy.native", *arguments],
            cwd=CHECKOUT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def family(self) -> list[psutil.Process]:
        """The supervisor and everything below it."""
        pid = Supervisor(open_layout(self.state)).pid()
        return [] if pid is None else [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]


@pytest.fixture(scope="session")
def prepared() -> Iterator[Path]:
    """A state directory that was prepared and never started, to copy: initdb and formatting cost seconds."""
    with tempfile.TemporaryDirectory(prefix="gpki-") as folder:  # mode 700: PostgreSQL's account cannot walk in
        layout = open_layout(Path(folder) / "state")
        lifecycle.prepare(layout)
        yield layout.state


@pytest.fixture
def native(prepared: Path) -> Iterator[Commands]:
    with tempfile.TemporaryDirectory(prefix="gpki-") as folder:
        commands = Commands(Path(folder) / "state")
        subprocess.run(["cp", "-a", prepared, commands.state], check=True)  # owners and modes too
        (commands.state / "ports.json").unlink()
        yield commands
        stopped = commands("down")
        assert stopped.returncode == 0, stopped.stderr
        assert not commands.family()


async def test_up_twice_down_twice_and_the_data_is_still_there(native: Commands) -> None:
    first = native("up", "--infrastructure")
    assert first.returncode == 0, first.stderr
    layout = open_layout(native.state)
    connection = await asyncpg.connect(database.dsn(layout, database.SUPERUSER))
    await connection.execute("create table kept as select 42 as n")
    await connection.close()
    family = native.family()
    assert len(family) > 5

    again = native("up", "--infrastructure")
    assert again.returncode == 0
    assert "running already" in again.stdout
    assert [process.pid for process in native.family()[:4]] == [process.pid for process in family[:4]]

    assert native("status").returncode == 0
    family = native.family()
    down = native("down")
    assert down.returncode == 0, down.stderr
    assert not [process for process in family if alive(process)]
    assert native("status").returncode == 3
    assert "nothing was running" in native("down").stdout

    assert native("up", "--infrastructure").returncode == 0
    connection = await asyncpg.connect(database.dsn(layout, database.SUPERUSER))
    assert await connection.fetchval("select n from kept") == 42
    await connection.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
async def test_run_takes_everything_along_however_it_ends(native: Commands, number: signal.Signals) -> None:
    running = native.begin("run", "--infrastructure")
    assert running.stdout is not None
    for line in running.stdout:
        if "Ctrl-C stops it" in line:
            break
    family = native.family()
    assert len(family) > 5
    running.send_signal(number)
    await eventually(lambda: not any(alive(process) for process in family), "no process left")
    said, _ = running.communicate(timeout=30)
    assert running.returncode == (-9 if number == signal.SIGKILL else 0), said


async def test_an_interrupted_start_leaves_nothing_and_the_next_one_works(native: Commands) -> None:
    starting = native.begin("up", "--infrastructure")
    family = await eventually(lambda: native.family()[1:] and native.family(), "the first parts run")
    starting.send_signal(signal.SIGINT)
    said, _ = starting.communicate(timeout=60)
    assert starting.returncode == 130, said
    assert not [process for process in family if alive(process)]
    assert native("up", "--infrastructure").returncode == 0


async def test_a_start_while_another_command_stops_the_stack_says_so(native: Commands) -> None:
    assert native("up", "--infrastructure").returncode == 0
    supervisor = Supervisor(open_layout(native.state))
    kafka = int(supervisor.states()["kafka"]["pid"])
    os.kill(kafka, signal.SIGSTOP)
    stopping = native.begin("down")
    try:
        await eventually(lambda: _stops(supervisor), "the stop is under way")
        failed = native("up", "--infrastructure")
    finally:
        os.kill(kafka, signal.SIGCONT)
    assert failed.returncode == 1
    assert "another command is stopping this stack" in failed.stderr
    assert "Traceback" not in failed.stderr
    said, _ = stopping.communicate(timeout=60)
    assert stopping.returncode == 0, said


def _stops(supervisor: Supervisor) -> bool:
    try:
        supervisor.states()
    except StackError:
        return True
    return False


async def test_a_killed_supervisor_takes_its_parts_along_and_the_next_start_works(native: Commands) -> None:
    assert native("up", "--infrastructure").returncode == 0
    family = native.family()
    family[0].kill()
    await eventually(lambda: not any(alive(process) for process in family), "no process left")
    again = native("up", "--infrastructure")
    assert again.returncode == 0, again.stdout + again.stderr
