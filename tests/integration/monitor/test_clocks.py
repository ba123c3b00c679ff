"""A broker whose clock is not the database's is an alarm, in both directions; what merely waited is none."""

from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from libs.contracts import topics
from libs.runtime.clock import utc_now
from tests.integration.monitor.conftest import Watch, posted, request, signed
from tests.support.waiting import eventually

pytestmark = pytest.mark.stack

HOUR = timedelta(hours=1)


def told(logs: list[Any]) -> list[int]:
    """By how much the broker is ahead, as each alarm says."""
    return [log["broker_ahead_seconds"] for log in logs if log.get("alarm") == "clocks-differ"]


async def test_a_broker_that_is_ahead_of_the_database_is_one_alarm(watch: Watch) -> None:
    with capture_logs() as logs:
        async with watch.running(clock=lambda: utc_now() - HOUR) as health:
            for _ in range(2):
                await watch.send(topics.SIGNED, signed(request()))
                await watch.read()
            assert not health.ready
    (ahead,) = told(logs)
    assert ahead == pytest.approx(HOUR.total_seconds(), abs=60)


async def test_a_broker_that_is_behind_is_an_alarm_and_over_when_it_agrees(watch: Watch) -> None:
    """posting recorded by the database's clock what the broker says that it took an hour before."""
    asked = request()
    with capture_logs() as logs:
        async with watch.running() as health:
            await watch.send(topics.SIGNED, signed(asked))
            await watch.send(topics.POSTED, posted(asked, utc_now() + HOUR))
            await eventually(lambda: told(logs), "an alarm")
            assert not health.ready
            await watch.read()
            await watch.send(topics.SIGNED, signed(then := request()))
            await watch.send(topics.POSTED, posted(then))
            await eventually(lambda: health.ready, "they agree")
    (ahead,) = told(logs)
    assert ahead == pytest.approx(-HOUR.total_seconds(), abs=60)


async def test_what_waited_or_is_published_again_is_no_alarm(watch: Watch) -> None:
    asked = request()
    with capture_logs() as logs:
        async with watch.running() as health:
            await eventually(lambda: health.ready, "reader and witness have begun")
            await watch.send(topics.SIGNED, signed(asked))
            await watch.send(topics.POSTED, posted(asked, utc_now() - HOUR))
            await watch.read()
            assert health.ready
    assert told(logs) == []
