"""A process ends when its consumer is out of its group's reach, and never because the broker is away."""

import pytest

from libs.bus.bus import UNANSWERED_MS
from libs.bus.log_start import ASK_TIMEOUT
from libs.bus.outcomes import Unavailable
from libs.bus.reach import FAILURES, Reach, What
from libs.bus.subscriber import RETRY, SESSION_MS


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    ends: list[str] = []
    monkeypatch.setattr("libs.bus.reach.end_process", lambda: ends.append("ended"))
    return ends


async def answers() -> None:
    """A broker that is there."""


async def is_away() -> None:
    raise Unavailable("broker")


@pytest.mark.parametrize("what", ["commit", "poll"])
async def test_it_ends_once_after_so_many_failures_in_a_row(ended: list[str], what: What) -> None:
    reach = Reach("posting", "posting", answers)
    for _ in range(FAILURES - 1):
        await reach.failed(what)
    assert ended == []
    for _ in range(3):
        await reach.failed(what)
    assert ended == ["ended"]


def test_what_aiokafka_gives_up_by_itself_ends_no_process() -> None:
    """It would take longer to start anew."""
    assert FAILURES * (ASK_TIMEOUT + RETRY) > (SESSION_MS + UNANSWERED_MS) / 1000


async def test_while_the_broker_is_away_nothing_counts(ended: list[str]) -> None:
    reach = Reach("posting", "posting", is_away)
    for _ in range(10 * FAILURES):
        await reach.failed("commit")
    assert ended == []
    assert reach.lost_place, "what is not committed is read again all the same"


async def test_a_success_begins_the_count_anew_and_a_poll_says_nothing_about_commits(ended: list[str]) -> None:
    reach = Reach("posting", "posting", answers)
    for _ in range(2 * FAILURES):
        await reach.failed("poll")
        reach.succeeded("poll")
    assert ended == []
    for _ in range(FAILURES):
        await reach.failed("commit")
        reach.succeeded("poll")
    assert ended == ["ended"]
