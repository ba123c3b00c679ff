"""A process stops in time, and its exit code says what happened. Each test runs a real process."""

import json
import os
import queue
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

CHECKOUT = Path(__file__).parents[3]

FRAME = """
import asyncio, contextlib, sys, threading, time
from libs.runtime.process import run
from libs.runtime.settings import ServiceSettings

{body}

raise SystemExit(run(ServiceSettings, serve))
"""

SERVICE = """
@contextlib.asynccontextmanager
async def serve(settings, health):
    {enter}
    yield
    {leave}
"""


class Child:
    def __init__(self, tmp_path: Path, body: str, **env: str) -> None:
        secrets = tmp_path / "secrets"
        secrets.mkdir(mode=0o700)
        for name in ("kafka_password", "postgres_password"):
            (secrets / name).write_text("CANARY-secret")
            (secrets / name).chmod(0o600)
        settings = {
            "GPKI_SERVICE": "posting",
            "GPKI_KAFKA_BOOTSTRAP": "127.0.0.1:1",
            "GPKI_KAFKA_USER": "posting",
            "GPKI_POSTGRES_HOST": "127.0.0.1",
            "GPKI_POSTGRES_USER": "posting",
            "GPKI_HEALTH_PORT": "0",
            "GPKI_SECRETS_DIR": str(secrets),
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GPKI_")}
        code = FRAME.format(body=textwrap.dedent(body))
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=CHECKOUT,
            env=kept | settings | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.stdout: IO[str] = self.process.stdout
        self.stderr: IO[str] = self.process.stderr
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.log: list[dict[str, Any]] = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        for line in self.stdout:
            self._lines.put(json.loads(line))
        self._lines.put(None)
        self.stdout.close()

    def until(self, event: str) -> dict[str, Any]:
        while (line := self._lines.get(timeout=20)) is not None:
            self.log.append(line)
            if line["event"] == event:
                return line
        raise AssertionError(f"no {event} in {self.log}: {self.stderr.read()}")

    def end(self) -> int:
        while (line := self._lines.get(timeout=20)) is not None:
            self.log.append(line)
        self.errors = self.stderr.read()
        return self.process.wait(timeout=20)

    @property
    def events(self) -> list[str]:
        return [line["event"] for line in self.log]


Start = Callable[..., Child]


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Start]:
    made = []

    def make(body: str, **env: str) -> Child:
        made.append(Child(tmp_path, body, **env))
        return made[-1]

    yield make
    for each in made:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait()
        each.reader.join(10)
        each.stderr.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_service_leaves_its_context_at_a_signal_and_exits_0(child: Start, number: signal.Signals) -> None:
    it = child(SERVICE.format(enter="pass", leave='print(\'{"event": "left"}\', flush=True)'))
    it.until("started")
    it.process.send_signal(number)
    assert it.end() == 0
    assert it.events[-3:] == ["stopping", "left", "stopped"]


def test_a_stop_that_takes_too_long_is_cut_whatever_threads_do(child: Start) -> None:
    stuck = "threading.Thread(target=time.sleep, args=(60,)).start(); await asyncio.sleep(60)"
    it = child(SERVICE.format(enter="pass", leave=stuck), GPKI_STOP_TIMEOUT="0.2")
    it.until("started")
    it.process.terminate()
    assert it.end() == 1
    assert it.events[-1] == "stop-timeout"


def test_a_second_signal_ends_at_once(child: Start) -> None:
    it = child(SERVICE.format(enter="pass", leave="await asyncio.sleep(60)"))
    it.until("started")
    it.process.terminate()
    it.until("stopping")
    it.process.terminate()
    assert it.end() == 1
    assert it.events[-1] == "second-signal"


def test_a_signal_during_the_start_cancels_it(child: Start) -> None:
    it = child(
        SERVICE.format(enter='print(\'{"event": "entering"}\', flush=True); await asyncio.sleep(60)', leave="pass")
    )
    it.until("entering")
    it.process.terminate()
    assert it.end() == 0
    assert "started" not in it.events


@pytest.mark.parametrize("place", ["enter", "leave"])
def test_an_exception_is_logged_once_without_its_secrets_and_exits_1(child: Start, place: str) -> None:
    places = {"enter": "pass", "leave": "pass"} | {place: "raise ValueError('pin=CANARY-pin')"}
    it = child(SERVICE.format(**places))
    if place == "leave":
        it.until("started")
        it.process.terminate()
    assert it.end() == 1
    failed = [line for line in it.log if "exception" in line]
    assert [line["event"] for line in failed] == ["failed"]
    assert "ValueError" in failed[0]["exception"]
    assert "CANARY" not in str(it.log) + it.errors


def test_a_task_that_dies_ends_the_service_with_1(child: Start) -> None:
    it = child(
        """
        async def fail():
            raise RuntimeError("consumer lost")

        @contextlib.asynccontextmanager
        async def serve(settings, health):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(fail())
                yield
        """
    )
    assert it.end() == 1
    assert "consumer lost" in str(it.log)


def test_a_job_that_ends_exits_0(child: Start) -> None:
    it = child("async def serve(settings, health):\n    await asyncio.sleep(0)")
    assert it.end() == 0


def test_a_job_that_is_interrupted_exits_1(child: Start) -> None:
    it = child(
        """
        async def serve(settings, health):
            print('{"event": "working"}', flush=True)
            await asyncio.sleep(60)
        """
    )
    it.until("working")
    it.process.terminate()
    assert it.end() == 1
    assert "interrupted" in it.events


def test_wrong_settings_exit_78_with_every_name_and_no_value(child: Start) -> None:
    it = child(SERVICE.format(enter="pass", leave="pass"), GPKI_SERVICE="CANARY 1", GPKI_HEALTH_PORT="CANARY")
    assert it.end() == 78
    assert it.log == []
    assert [line.split(": ")[1] for line in it.errors.splitlines()] == ["GPKI_SERVICE", "GPKI_HEALTH_PORT"]
    assert "CANARY" not in it.errors


def test_what_only_the_service_finds_wrong_is_told_in_a_sentence_too(child: Start) -> None:
    wrong = "from libs.runtime.settings import ConfigurationError; raise ConfigurationError(['pki_dir: nothing there'])"
    it = child(SERVICE.format(enter=wrong, leave="pass"))
    assert it.end() == 78
    assert it.errors == "configuration: pki_dir: nothing there\n"


def test_the_process_is_hardened_and_logs_no_secret(child: Start) -> None:
    body = SERVICE.format(
        enter="import ctypes, resource, json; print(json.dumps({'event': 'limits', 'core': resource.getrlimit("
        "resource.RLIMIT_CORE), 'dumpable': ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)}), flush=True)",
        leave="pass",
    )
    it = child(body, GPKI_TYPO="x")
    limits = it.until("limits")
    assert (limits["core"], limits["dumpable"]) == ([0, 0], 0)
    it.until("started")
    it.process.terminate()
    assert it.end() == 0
    assert it.log[0]["unused_settings"] == ["GPKI_TYPO"]
    assert "CANARY" not in str(it.log)
