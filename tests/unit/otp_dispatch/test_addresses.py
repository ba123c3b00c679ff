"""The rule of the changed address: what counts, from when on, and who is told."""

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from libs.contracts.state import User
from services.otp_dispatch.addresses import (
    ENROLMENT,
    TOLD,
    WAIT,
    Place,
    changes,
    in_use,
    mailboxes,
    moved,
    reachable,
)
from tests.support.devices import Phone
from tests.support.pki import EPOCH
from tests.support.requests import user_state

A, B, C = (f"{name}@anm.example" for name in "abc")
HOUR = timedelta(hours=1)


def officer(version: int = 1, email: str = A, **values: Any) -> User:
    return user_state("800101145566", version=version, email=email, **values)


def history(*states: tuple[timedelta, User], begun: bool = True) -> tuple[Place, ...]:
    """The places after these states, each at its time."""
    places: tuple[Place, ...] = ()
    before: User | None = None
    for after, user in states:
        places = moved(places, before, user, at=EPOCH + after, begun=begun)
        before = user
    return places


def mailbox(places: tuple[Place, ...], after: timedelta) -> str | None:
    found = in_use(places, "e-mail", EPOCH + after)
    return None if found is None else found.value


def test_a_changed_address_counts_to_the_second_a_day_later() -> None:
    """I-54."""
    places = history((0 * HOUR, officer()), (HOUR, officer(2, B)))
    assert mailbox(places, HOUR) == A
    assert mailbox(places, HOUR + WAIT - timedelta(microseconds=1)) == A
    assert mailbox(places, HOUR + WAIT) == B


def test_what_was_taken_back_before_its_day_never_counted() -> None:
    """I-54: flipping to and fro brings no address forward."""
    flips = [(n * HOUR, officer(n + 1, A if n % 2 == 0 else B)) for n in range(30)]
    places = history(*flips)
    assert [mailbox(places, n * HOUR) for n in range(53)] == [A] * 53
    assert mailbox(places, 29 * HOUR + WAIT) == B
    back = history((0 * HOUR, officer()), (HOUR, officer(2, B)), (2 * HOUR, officer(3, A)))
    assert reachable(officer(3, A), back, EPOCH + 2 * HOUR).new_from is None, "codes went on going there"
    through = history((0 * HOUR, officer()), (HOUR, officer(2, C)), (2 * HOUR, officer(3, B)))
    assert [mailbox(through, hours * HOUR) for hours in (1, 25, 26)] == [A, A, B]


def test_who_goes_back_after_the_day_waits_again() -> None:
    places = history((0 * HOUR, officer()), (HOUR, officer(2, B)), (48 * HOUR, officer(3, A)))
    assert [mailbox(places, hours * HOUR) for hours in (47, 48, 71, 72)] == [B, B, B, A]


@pytest.mark.parametrize(
    ("begun", "after", "at_once"),
    [(False, HOUR, True), (True, HOUR, False), (False, ENROLMENT, False)],
)
def test_the_first_enrolment_ends_with_the_first_code_and_after_a_day(
    begun: bool, after: timedelta, at_once: bool
) -> None:
    """I-54."""
    phone = Phone().state
    later = officer(2, B, device=phone)
    places = history((0 * HOUR, officer()), (after, later), begun=begun)
    now = reachable(later, places, EPOCH + after)
    assert (now.user.email, now.user.device) == ((B, phone) if at_once else (A, None))
    assert now.new_from == (None if at_once else EPOCH + after + WAIT)


def test_a_phone_that_was_replaced_gets_nothing_more_and_the_next_one_waits() -> None:
    """I-54."""
    old, new = Phone().state, Phone().state
    first, second = officer(device=old), officer(2, device=new)
    places = history((0 * HOUR, first), (HOUR, second))
    assert reachable(second, places, EPOCH + 2 * HOUR).user.device is None
    assert reachable(second, places, EPOCH + HOUR + WAIT).user.device == new
    gone = officer(3)
    places = history((0 * HOUR, first), (HOUR, gone))
    assert reachable(gone, places, EPOCH + 2 * HOUR).user.device is None


def test_of_an_officer_who_is_met_late_the_address_waits_from_the_brokers_time() -> None:
    """I-54: a database that was made anew does not take the newest state for a first enrolment."""
    assert mailbox(history((0 * HOUR, officer(2))), 0 * HOUR) == A
    places = history((0 * HOUR, officer(3)))
    assert mailbox(places, WAIT - HOUR) is None
    assert reachable(officer(3), places, EPOCH).user.email == ""
    assert mailbox(places, WAIT) == A


def test_who_was_known_before_anybody_kept_when_is_as_registered_until_a_change() -> None:
    known = officer(7)
    assert reachable(known, (), EPOCH).user == known
    places = moved((), known, officer(8, B), at=EPOCH, begun=False)
    assert (mailbox(places, 0 * HOUR), mailbox(places, WAIT)) == (A, B)


def test_every_mailbox_until_now_is_told_the_latest_first_and_a_bounded_number() -> None:
    """I-55."""
    states = [(n * HOUR, officer(n + 1, f"m{n}@anm.example")) for n in range(TOLD + 5)]
    places = history(*states)
    told = mailboxes(places, states[-1][1])
    assert told == tuple(f"m{n}@anm.example" for n in reversed(range(5, TOLD + 5)))
    assert mailboxes((), officer()) == (A,)


def test_what_is_told_is_what_changed_and_nothing_of_the_first_time() -> None:
    """I-55."""
    before = officer(device=Phone().state)
    assert changes(None, before) == ()
    assert changes(officer(credential_id=None), officer(2)) == ()
    assert changes(before, before.model_copy(update={"office": "AG-KL-02", "name": "Lain"})) == ()
    update = {"email": B, "device": Phone().state, "credential_id": uuid4()}
    assert changes(before, before.model_copy(update=update)) == (
        "e-mail-changed", "device-changed", "certificate-changed",
    )  # fmt: skip


def test_times_are_the_brokers_whatever_the_state_says_of_itself() -> None:
    """I-54: `registered_at` is enrolment's word."""
    long_ago: datetime = EPOCH - timedelta(days=30)
    phone = Phone().state.model_copy(update={"registered_at": long_ago})
    places = history((0 * HOUR, officer()), (HOUR, officer(2, device=phone)))
    assert reachable(officer(2, device=phone), places, EPOCH + HOUR).user.device is None
