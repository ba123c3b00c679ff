"""Waiting for a dependency: partitions paused, polling goes on, a probe resumes."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

import structlog

from libs.bus.outcomes import Unavailable
from libs.runtime import metrics
from libs.runtime.health import Health
from libs.storage.errors import is_unavailable

Probe = Callable[[], Awaitable[None]]
"""Ask a dependency the cheapest real question. Raises Unavailable, or a database error, when it does not answer."""

FIRST_WAIT = 0.25
LONGEST_WAIT = 5.0
"""Seconds between probes: doubling from the first to the longest."""

log = structlog.get_logger()


class Suspension:
    """Whether one consumer may work. `active` is read by the poll, which pauses the partitions, and by the handler."""

    def __init__(self, name: str, service: str, probes: Mapping[str, Probe], health: Health) -> None:
        self._name = name
        self._service = service
        self._probes = probes
        self._health = health
        self._waiting: asyncio.Task[None] | None = None
        self._held: set[str] = set()
        self._wait_seconds = FIRST_WAIT
        self._resumed_at = 0.0

    @property
    def active(self) -> bool:
        """Whether nothing may be worked now."""
        return bool(self._held)

    def hold(self, why: str) -> None:
        """Do not work until `release`: the state topics are not read yet, or the service stops."""
        self._held.add(why)

    def release(self, why: str) -> None:
        """What was waited for has come."""
        self._held.discard(why)

    def halt(self, why: str) -> None:
        """Do not work again in this process: a person must look."""
        self._held.add(why)
        self._health.set(f"{self._name}:{why}", ok=False)

    def suspend(self, dependency: str) -> None:
        """Wait until the dependency's probe answers. Called again while waiting, it changes nothing."""
        if self._waiting is not None and not self._waiting.done():
            return
        if time.monotonic() - self._resumed_at > LONGEST_WAIT:
            # Otherwise a probe that answers while the work still fails would let it spin.
            self._wait_seconds = FIRST_WAIT
        self._held.add(dependency)
        self._waiting = asyncio.create_task(self._wait(dependency))

    async def stop(self) -> None:
        """Stop waiting."""
        if self._waiting is not None:
            self._waiting.cancel()
            await asyncio.gather(self._waiting, return_exceptions=True)

    async def _wait(self, dependency: str) -> None:
        log.warning("waiting", consumer=self._name, dependency=dependency)
        metrics.UNAVAILABLE.labels(self._service, dependency).inc()
        check = f"{self._name}:{dependency}"
        self._health.set(check, ok=False)
        probe = self._probes.get(dependency)
        while True:
            await asyncio.sleep(self._wait_seconds)
            self._wait_seconds = min(2 * self._wait_seconds, LONGEST_WAIT)
            try:
                if probe is not None:
                    await probe()
                break
            except Exception as error:
                if not (isinstance(error, Unavailable) or is_unavailable(error)):
                    log.exception("probe failed", dependency=dependency)
        self._health.set(check, ok=True)
        self._held.discard(dependency)
        self._resumed_at = time.monotonic()
        log.info("resumed", consumer=self._name, dependency=dependency)
