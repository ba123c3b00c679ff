"""The life of a process: settings, logs, health, signals, a bounded stop, and an exit code that says what happened."""

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, TypeVar

import structlog
import uvloop

from libs.runtime.hardening import harden_process
from libs.runtime.health import Health
from libs.runtime.logging import configure_logging, log_loop_exception
from libs.runtime.settings import ConfigurationError, ServiceSettings, load_settings, unused_names

EXIT_OK: Final = 0
EXIT_FAILURE: Final = 1
EXIT_CONFIGURATION: Final = os.EX_CONFIG
"""78: a supervisor need not try again before a person has changed something."""

GARBAGE: Final = (10_000, 20, 20)
"""Thresholds of the collector: an event makes hundreds of objects and no cycle; at 700 it looks at them for nothing."""

STARTED: Final = "started"
"""The check that is good between the end of the start and the begin of the stop."""

S = TypeVar("S", bound=ServiceSettings)
Main = Callable[[S, Health], AbstractAsyncContextManager[Any] | Awaitable[Any]]

_log = structlog.get_logger("runtime")


def run(settings_type: type[S], main: Main[S]) -> int:
    """Run a service or a job to its end and return the exit code: `raise SystemExit(run(Settings, serve))`.

    `main` returns a context manager (a service: entered, kept until SIGTERM or SIGINT, left) or an awaitable (a job:
    awaited; a signal cancels it). A signal during the start cancels the start. Codes: 0 stopped or done, 1 failed,
    78 settings, also those that `main` finds wrong (ConfigurationError). What has not stopped `stop_timeout` seconds
    after the signal, or at a second signal, is left behind: the process ends with 1 at once, whatever its threads do.
    """
    try:
        settings = load_settings(settings_type)
    except ConfigurationError as error:
        return _misconfigured(error)
    configure_logging(settings.service, settings.log_level)
    harden_process()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.get_loop().set_exception_handler(log_loop_exception)
            return runner.run(_live(settings, main))
    except ConfigurationError as error:
        return _misconfigured(error)
    except Exception as error:  # noqa: BLE001 - the outermost frame: whatever it is, it is logged once, redacted
        _log.critical("failed", exc_info=error)
        return EXIT_FAILURE


def _misconfigured(error: ConfigurationError) -> int:
    """Sentences, and no traceback: a person reads this who cannot change the code."""
    sys.stderr.write("".join(f"configuration: {line}\n" for line in error.lines))
    return EXIT_CONFIGURATION


async def _live(settings: S, main: Main[S]) -> int:
    health = Health(settings.service, expects=[STARTED])
    stop = asyncio.Event()
    _watch_signals(stop)
    port = await health.start(settings.health_port, settings.listen_host)
    _log.info("starting", pid=os.getpid(), health_port=port, unused_settings=unused_names(type(settings)))
    work = asyncio.create_task(_work(settings, main, health, stop))
    signalled = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({work, signalled}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            await asyncio.wait({work}, timeout=settings.stop_timeout)
        if not work.done():
            _end_at_once("stop-timeout", seconds=settings.stop_timeout)
        return await _exit_code(work, stop)
    finally:
        signalled.cancel()
        await health.stop()


async def _exit_code(work: asyncio.Task[int], stop: asyncio.Event) -> int:
    try:
        code = await work
    except asyncio.CancelledError:
        code = EXIT_OK if stop.is_set() else EXIT_FAILURE  # a start that the signal cancelled, or a fault of ours
    _log.info("stopped", exit_code=code)
    return code


async def _work(settings: S, main: Main[S], health: Health, stop: asyncio.Event) -> int:
    """Start, serve, stop. Cancelled by the signal only while it starts, or is a job."""
    task = asyncio.current_task()
    assert task is not None
    canceller = asyncio.create_task(_cancel_at(stop, task))
    try:
        work = main(settings, health)
        if not isinstance(work, AbstractAsyncContextManager):
            health.set(STARTED, ok=True)
            return await _job(work)
        async with work:
            canceller.cancel()
            gc.collect()
            gc.freeze()  # what the start made stays: a collection need not look at it again
            gc.set_threshold(*GARBAGE)
            health.set(STARTED, ok=True)
            _log.info("started")
            await stop.wait()
            health.set(STARTED, ok=False, detail="stopping")
            _log.info("stopping")
        return EXIT_OK
    finally:
        canceller.cancel()


async def _job(work: Awaitable[Any]) -> int:
    try:
        await work
    except asyncio.CancelledError:
        _log.error("interrupted")
        return EXIT_FAILURE
    return EXIT_OK


async def _cancel_at(stop: asyncio.Event, task: asyncio.Task[int]) -> None:
    await stop.wait()
    task.cancel()


def _watch_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()

    def on_signal(number: signal.Signals) -> None:
        if stop.is_set():
            _end_at_once("second-signal", signal=number.name)
        _log.info("signal", signal=number.name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)


def _end_at_once(event: str, **details: object) -> None:
    """End without waiting for threads or tasks: a thread inside an HSM call cannot be interrupted."""
    _log.critical(event, **details)
    logging.shutdown()
    sys.stdout.flush()
    os._exit(EXIT_FAILURE)
