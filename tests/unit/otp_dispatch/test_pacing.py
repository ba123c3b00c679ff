"""The rule of the pace: ten unanswered codes in a minute, twenty in an hour, thirty in a day."""

from datetime import UTC, datetime, timedelta

import pytest

from services.otp_dispatch.pacing import DAY, MOST, PACES, Held, Officer, pace

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


def sent(*ages: timedelta) -> Officer:
    """Codes of these ages, the youngest first."""
    return Officer(unanswered=[NOW - age for age in sorted(ages)])


def test_the_paces_are_those_of_the_design() -> None:
    assert ((10, timedelta(minutes=1)), (20, timedelta(hours=1)), (30, timedelta(days=1))) == PACES
    assert (30, timedelta(days=1)) == (MOST, DAY)


def test_who_was_sent_nothing_is_sent_a_code() -> None:
    assert pace(Officer(), NOW) is None


@pytest.mark.parametrize(("count", "window"), PACES)
def test_one_less_than_the_most_goes_and_the_most_holds_until_the_oldest_is_out(count: int, window: timedelta) -> None:
    apart = window / (count + 1)
    ages = [apart * number for number in range(1, count + 1)]
    assert pace(sent(*ages[:-1]), NOW) is None
    assert pace(sent(*ages), NOW) == Held(NOW + window - ages[-1])
    assert pace(sent(*ages), NOW + window - ages[-1]) is None


def test_the_longest_hold_counts() -> None:
    burst = sent(*[timedelta(seconds=one) for one in range(10)])
    assert pace(burst, NOW) == Held(NOW + timedelta(seconds=51))
    burst.held_until = NOW + timedelta(seconds=20)
    assert pace(burst, NOW) == Held(NOW + timedelta(seconds=51))
    burst.held_until = NOW + timedelta(hours=1)
    assert pace(burst, NOW) == Held(NOW + timedelta(hours=1))
    assert pace(Officer(held_until=NOW), NOW) is None
