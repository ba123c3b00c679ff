"""Offloaded calls return what they return, wait when the pool is full, and never run more than the pool holds."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from libs.runtime.executor import Offload


@pytest.fixture
async def offload() -> AsyncIterator[Offload]:
    pool = Offload(workers=1, backlog=1, name="cpu")
    yield pool
    pool.close()


async def test_returns_and_raises_what_the_function_does_in_another_thread(offload: Offload) -> None:
    name = await offload(lambda: threading.current_thread().name)
    assert name.startswith("cpu")
    with pytest.raises(ZeroDivisionError):
        await offload(divmod, 1, 0)


async def test_a_full_pool_makes_the_next_call_wait_on_the_loop(offload: Offload) -> None:
    release = threading.Event()
    first = asyncio.create_task(offload(release.wait, 10))
    second = asyncio.create_task(offload(lambda: "second"))
    done, _ = await asyncio.wait({second}, timeout=0.1)
    assert not done
    release.set()
    assert await first is True
    assert await second == "second"


async def test_a_cancelled_caller_does_not_free_the_slot_before_the_thread_ends() -> None:
    offload = Offload(workers=2, backlog=1)  # a second thread is free: only the slot holds the second call back
    release, entered = threading.Event(), threading.Event()

    def work() -> None:
        entered.set()
        release.wait(10)
        raise ValueError("nobody looks")

    first = asyncio.create_task(offload(work))
    assert await asyncio.to_thread(entered.wait, 10)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    second = asyncio.create_task(offload(lambda: "second"))
    done, _ = await asyncio.wait({second}, timeout=0.1)
    assert not done
    release.set()
    assert await second == "second"
    offload.close()
