"""Lanes: our own backlog makes nobody late, an outage does; interactive work goes first, bounded."""

import asyncio
from datetime import UTC, datetime, timedelta

from services.hsm_signer.lanes import YIELD_BOUND, Lane

START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


class Moving:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


def test_waiting_behind_our_own_backlog_is_no_outage() -> None:
    clock = Moving()
    lane = Lane(clock)
    appended = START
    with lane.working():
        clock.now += timedelta(minutes=20)
    assert lane.outage_wait(appended) == timedelta()


def test_waiting_while_nothing_was_worked_is_an_outage() -> None:
    clock = Moving()
    lane = Lane(clock)
    with lane.working():
        pass
    appended = clock.now + timedelta(seconds=1)
    clock.now += timedelta(minutes=10)
    assert lane.outage_wait(appended) == timedelta(minutes=10, seconds=-1)


def test_work_that_failed_for_a_dependency_does_not_hide_the_outage() -> None:
    clock = Moving()
    lane = Lane(clock)
    try:
        with lane.working():
            clock.now += timedelta(minutes=6)
            raise ConnectionError  # noqa: TRY301 (what a dependency does)
    except ConnectionError:
        pass
    assert lane.outage_wait(START) == timedelta(minutes=6)


async def test_bulk_lets_interactive_work_pass_first() -> None:
    lane = Lane(lambda: START)
    order = []

    async def bulk() -> None:
        await lane.let_pass()
        order.append("bulk")

    with lane.working():
        task = asyncio.create_task(bulk())
        await asyncio.sleep(0)
        order.append("interactive")
    await task
    assert order == ["interactive", "bulk"]


async def test_bulk_is_not_starved() -> None:
    lane = Lane(lambda: START)
    with lane.working():
        await asyncio.wait_for(lane.let_pass(), YIELD_BOUND * 20)
