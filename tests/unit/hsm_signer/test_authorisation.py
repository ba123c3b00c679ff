"""The rule of an authorisation: which code counts, what counts as wrong, and when it ends."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from uuid import uuid4

import pytest

from libs.contracts.reasons import Reason
from libs.crypto.challenge import Challenge, make_challenge
from services.hsm_signer import limits
from services.hsm_signer.authorisation import Counts, Expected, Refused, attempts_left, ending, judge_otp, may_try

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
EXPECTED = Expected(uuid4(), "800101145566", uuid4(), b"\x01" * 32)


def challenge(otp: str = "123456", *, age: timedelta = timedelta(), reference: str = "K7Q") -> Challenge:
    delivered = NOW - age
    return make_challenge(
        request_id=str(EXPECTED.request_id),
        user=EXPECTED.user,
        credential_id=str(EXPECTED.credential_id),
        root=EXPECTED.root,
        reference_code=reference,
        channel="e-mail",
        delivered_at=delivered,
        expires_at=delivered + timedelta(minutes=10),
        otp=otp,
    )


def judge(*challenges: Challenge, otp: str = "123456", at: datetime = NOW) -> Challenge | Refused:
    return judge_otp(challenges, otp, expected=EXPECTED, submitted_at=at)


def test_a_right_code_in_time_is_its_challenge() -> None:
    one = challenge()
    assert judge(one) == one


def test_every_live_code_is_right_not_only_the_newest() -> None:
    first, second, third = (
        challenge(otp, age=timedelta(minutes=m)) for otp, m in (("111111", 9), ("222222", 5), ("333333", 0))
    )
    for otp, expected in (("111111", first), ("222222", second), ("333333", third)):
        assert judge(first, second, third, otp=otp) == expected


@pytest.mark.parametrize("seconds", [0, 1])
def test_a_code_is_alive_to_the_last_second_and_not_after(seconds: int) -> None:
    one = challenge(reference="M2T")
    at = one.expires_at + timedelta(seconds=seconds)
    assert judge(one, at=at) == (one if seconds == 0 else Refused(Reason.OTP_EXPIRED, "M2T"))


def test_an_expired_right_code_is_told_from_a_wrong_one() -> None:
    old, young = challenge("111111", age=timedelta(minutes=11)), challenge("222222", reference="NEW")
    assert judge(old, young, otp="111111") == Refused(Reason.OTP_EXPIRED, "NEW")
    assert judge(old, young, otp="999999") == Refused(Reason.OTP_INCORRECT, "NEW")


def test_a_guess_against_expired_codes_only_is_not_counted() -> None:
    refused = judge(challenge(age=timedelta(minutes=11)), otp="999999")
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.OTP_EXPIRED
    assert not refused.counted


@pytest.mark.parametrize(
    "changed",
    [
        {"request_id": str(uuid4())},
        {"user": "900101145566"},
        {"credential_id": str(uuid4())},
        {"root": b"\x02" * 32},
    ],
)
def test_a_challenge_of_another_request_user_credential_or_root_is_none(changed: dict[str, Any]) -> None:
    refused = judge(replace(challenge(), **changed))
    assert refused == Refused(Reason.CHALLENGE_INVALID)
    assert isinstance(refused, Refused)
    assert not refused.counted


def test_only_tried_factors_count() -> None:
    counted = {reason for reason in Reason if Refused(reason).counted}
    assert counted == {Reason.OTP_INCORRECT, Reason.PIN_INCORRECT}


def test_limits_end_the_request_at_the_fifth_code_and_third_pin() -> None:
    assert ending(Counts(4, 2, 2)) is None
    assert ending(Counts(5, 0, 0)) is Reason.TOO_MANY_WRONG_OTP
    assert ending(Counts(0, 3, 0)) is Reason.TOO_MANY_WRONG_PIN
    assert ending(Counts(0, 0, 3)) is Reason.PIN_LOCKED


def test_no_number_of_parallel_attempts_passes_a_limit() -> None:
    """I-11."""
    for otps, pins, row, pending in product(range(5), range(3), range(3), range(6)):
        counts = Counts(otps, pins, row, pending, pending)
        allowed = may_try(counts) is True
        worst = Counts(otps + pending + 1, pins + pending + 1, row + pending + 1)
        within = (
            worst.wrong_otps <= limits.WRONG_OTPS
            and worst.wrong_pins <= limits.WRONG_PINS_OF_REQUEST
            and worst.wrong_pins_in_a_row <= limits.WRONG_PINS_IN_A_ROW
        )
        assert allowed == within, counts


def test_attempts_left_are_those_of_what_was_wrong() -> None:
    assert attempts_left(Reason.OTP_INCORRECT, Counts(2, 0, 0)) == 3
    assert attempts_left(Reason.PIN_INCORRECT, Counts(0, 1, 2)) == 1
    assert attempts_left(Reason.SEAL_EXPIRED, Counts(0, 0, 0)) is None


def test_the_tenth_wrong_code_of_a_day_holds_codes_and_locks_no_pin() -> None:
    """I-45."""
    most = limits.WRONG_OTPS_OF_DAY
    assert most == 10
    assert timedelta(hours=24) == limits.DAY
    nine = Counts(0, 0, 0, wrong_otps_of_day=most - 1)
    assert may_try(nine) is True
    assert may_try(replace(nine, pending_of_credential=1)) is False, "another try under way may be the tenth"
    assert attempts_left(Reason.OTP_INCORRECT, nine) == 1
    ten = Counts(5, 0, 0, wrong_otps_of_day=most, held_until=NOW)
    assert may_try(ten) is Reason.OTP_HELD
    assert ending(ten) is Reason.OTP_HELD, "the officer is told of the hold, not of the request alone"
    assert attempts_left(Reason.OTP_INCORRECT, ten) == 0
    assert ending(replace(ten, wrong_pins_in_a_row=3)) is Reason.PIN_LOCKED
