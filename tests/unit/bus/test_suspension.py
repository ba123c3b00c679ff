"""Waiting grows, a probe that answers too soon does not make it spin, and a halt stays."""

import asyncio

import pytest

from libs.bus.outcomes import Unavailable
from libs.bus.suspension import LONGEST_WAIT, Suspension
from libs.runtime.health import Health


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waits: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        task = asyncio.current_task()
        assert task is not None
        if not task.get_coro().__qualname__.startswith("Suspension."):  # type: ignore[union-attr] # a task's coroutine
            return await sleep(seconds)  # other tasks of this session sleep as they like
        waits.append(seconds)
        await sleep(0)
        return None

    monkeypatch.setattr("libs.bus.suspension.asyncio.sleep", note)
    return waits


async def passed(suspension: Suspension) -> None:
    assert suspension._waiting is not None
    await suspension._waiting


async def test_probes_come_after_growing_waits_until_one_answers(slept: list[float]) -> None:
    answers = iter([Unavailable("x")] * 7 + [None])
    health = Health("test")

    async def probe() -> None:
        if (answer := next(answers)) is not None:
            raise answer

    suspension = Suspension("group", "test", {"x": probe}, health)
    suspension.suspend("x")
    suspension.suspend("x")
    assert suspension.active
    await passed(suspension)
    assert not suspension.active
    assert health.ready
    assert slept == [0.25, 0.5, 1, 2, 4, LONGEST_WAIT, LONGEST_WAIT, LONGEST_WAIT]


async def test_a_probe_that_always_answers_while_the_work_fails_does_not_let_it_spin(slept: list[float]) -> None:
    suspension = Suspension("group", "test", {}, Health("test"))
    for _ in range(6):
        suspension.suspend("x")
        await passed(suspension)
    assert slept == [0.25, 0.5, 1, 2, 4, LONGEST_WAIT]


async def test_a_probe_that_breaks_is_no_answer(slept: list[float]) -> None:
    answers = iter([ZeroDivisionError(), OSError(), TimeoutError(), None])

    async def probe() -> None:
        if (answer := next(answers)) is not None:
            raise answer

    suspension = Suspension("group", "test", {"x": probe}, Health("test"))
    suspension.suspend("x")
    await passed(suspension)
    assert len(slept) == 4


async def test_a_halt_outlives_every_probe_and_is_seen_in_health(slept: list[float]) -> None:
    health = Health("test")
    suspension = Suspension("group", "test", {}, health)
    suspension.suspend("x")
    suspension.halt("dead-letter-limit")
    await passed(suspension)
    assert suspension.active
    assert not health.ready
    assert slept


async def test_holds_are_counted_by_name() -> None:
    suspension = Suspension("group", "test", {}, Health("test"))
    suspension.hold("state")
    suspension.hold("stopping")
    suspension.release("state")
    assert suspension.active
    suspension.release("stopping")
    assert not suspension.active
