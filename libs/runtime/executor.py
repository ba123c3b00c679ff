"""Owned threads for pure functions that would block the event loop: Argon2, roots of long manifests, parsing a CRL."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Offload:
    """A pool of `workers` threads with at most `backlog` calls in it; a further call waits on the event loop.

    Only for functions that wait for nothing: no database, no PKCS#11 (that has its own single thread).
    """

    def __init__(self, *, workers: int, backlog: int, name: str = "offload") -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix=name)
        self._slots = asyncio.Semaphore(backlog)

    async def __call__(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `function` in a thread and return or raise what it does.

        A caller that is cancelled does not stop the thread: its slot is given back when the function ends.
        """
        await self._slots.acquire()
        try:
            inner = asyncio.wrap_future(self._pool.submit(function, *args, **kwargs))
        except BaseException:
            self._slots.release()
            raise
        inner.add_done_callback(self._finished)
        return await asyncio.shield(inner)

    def close(self) -> None:
        """Take no more calls, drop those that have not begun, and wait for those that have."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _finished(self, call: asyncio.Future[R]) -> None:
        self._slots.release()
        if not call.cancelled():
            call.exception()  # marks it as seen: a caller that was cancelled no longer looks
