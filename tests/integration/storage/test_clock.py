"""A service's clock is the database's: a host whose own is wrong judges nothing by it, and a person is called."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from libs.runtime.clock import utc_now
from libs.runtime.health import Health
from libs.storage import clock
from libs.storage.clock import DatabaseClock
from libs.storage.errors import DatabaseUnavailable
from libs.storage.pool import Pool
from tests.support.bus import open_room
from tests.support.stack import Stack

pytestmark = pytest.mark.stack

NEAR = timedelta(seconds=10)


@pytest.fixture
async def pool(stack: Stack) -> AsyncIterator[Pool]:
    async with open_room(stack) as room:
        yield room.pool


def said(health: Health) -> tuple[bool, str]:
    """Of the host's clock, in /readyz."""
    checks: Any = health.report()["checks"]
    return checks[clock.CHECK]["ok"], checks[clock.CHECK]["detail"]


@pytest.mark.parametrize("off", [timedelta(hours=1), timedelta(hours=-1)], ids=["ahead", "behind"])
async def test_a_host_whose_clock_is_wrong_has_the_time_of_the_database_and_an_alarm(
    pool: Pool, off: timedelta
) -> None:
    health = Health("posting", registry=CollectorRegistry(), expects=["started"])
    told = DatabaseClock("posting", host=lambda: utc_now() + off, health=health)
    with capture_logs() as logs:
        await told.start(pool)
    assert abs(told() - await pool.fetchval("SELECT clock_timestamp()")) < NEAR
    assert [(line["alarm"], line["seconds"]) for line in logs if line["event"] == "alarm"] == [
        ("clock-wrong", pytest.approx(off.total_seconds(), abs=NEAR.total_seconds()))
    ]
    ok, detail = said(health)
    assert (ok, health.ready) == (True, False), "it works on, and is no sooner ready"
    assert float(detail.removesuffix(" s to the database's")) == pytest.approx(
        off.total_seconds(), abs=NEAR.total_seconds()
    )


async def test_a_host_whose_clock_is_right_alarms_nobody(pool: Pool) -> None:
    health, wrong_by = Health("posting", registry=CollectorRegistry()), timedelta(hours=1)
    told = DatabaseClock("posting", host=lambda: utc_now() + wrong_by, health=health)
    await told.start(pool)
    wrong_by = timedelta()
    with capture_logs() as logs:
        await told.look(pool)
    assert logs == []
    assert said(health) == (True, ""), "what was wrong is told no more"


async def test_an_answer_that_took_too_long_teaches_nothing(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    told = DatabaseClock("posting")
    await told.start(pool)
    before = told()
    counts: list[float] = []
    real: Callable[[], float] = clock._count

    def frozen_meanwhile() -> float:
        counts.append(real())
        return counts[-1] + 20 * (len(counts) - 1)

    with monkeypatch.context() as patched:
        patched.setattr(clock, "_count", frozen_meanwhile)
        assert await told.look(pool) is False
        with pytest.raises(DatabaseUnavailable):
            await told.start(pool)
    assert abs(told() - before) < NEAR
