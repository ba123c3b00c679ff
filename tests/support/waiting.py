"""Waiting in tests: poll a condition with a deadline, never sleep and hope."""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from typing import Any

LONGEST_TURN = 0.5
"""Seconds of work before the event loop has its next turn; Kafka's heartbeats need one within 6."""


async def eventually(
    condition: Callable[[], Any | Awaitable[Any]], what: str, *, seconds: float = 30, every: float = 0.05
) -> Any:
    """Return the condition's first true value; fails with `what` when there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(every)


@asynccontextmanager
async def loop_is_never_held() -> AsyncIterator[None]:
    """Fails when the event loop's thread worked longer than LONGEST_TURN without a turn.

    Counts what that thread worked, not what the clock says: other processes of a busy machine change nothing.
    """
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        before = time.thread_time()
        while True:
            await asyncio.sleep(0.005)
            now = time.thread_time()
            longest, before = max(longest, now - before), now

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
    assert longest < LONGEST_TURN, f"the event loop was held for {longest:.2f} s"


_watched: ContextVar[bool] = ContextVar("watched", default=False)


@asynccontextmanager
async def every_task_ends() -> AsyncIterator[list["asyncio.Task[Any]"]]:
    """Fails, with their names, unless the tasks end that the body made, and those that they made.

    Yields those made so far. Tasks of others, clients of earlier tests among them, come and go and do not count.
    """
    loop, before = asyncio.get_running_loop(), asyncio.get_running_loop().get_task_factory()
    made: list[asyncio.Task[Any]] = []

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(coroutine, loop=loop, **options)
        if _watched.get():
            made.append(task)
        return task

    token = _watched.set(True)
    loop.set_task_factory(factory)
    try:
        yield made
    finally:
        loop.set_task_factory(before)
        _watched.reset(token)
    with suppress(AssertionError):
        await eventually(lambda: all(task.done() for task in made), "every task has ended")
    left = [str(task) for task in made if not task.done()]
    assert not left, "\n".join(left)
