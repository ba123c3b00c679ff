"""The rule of an authorisation: challenge, time, OTP, and only then the PIN (design section 4.3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from libs.contracts.reasons import Reason
from libs.crypto.challenge import Challenge, otp_matches
from services.hsm_signer import limits


@dataclass(frozen=True)
class Expected:
    """What a challenge must be about, to be of this authorisation."""

    request_id: UUID
    user: str
    credential_id: UUID
    root: bytes


WRONG: Final = {"wrong-otp": Reason.OTP_INCORRECT, "wrong-pin": Reason.PIN_INCORRECT}
"""States of an attempt that counts, and what was answered to it."""


@dataclass(frozen=True)
class Refused:
    """The authorisation fails for this reason; `reference_code` helps the officer to the right message.

    `held_until`: before then nothing is tried for this officer.
    """

    reason: Reason
    reference_code: str | None = None
    held_until: datetime | None = None

    @property
    def counted(self) -> bool:
        """Whether this attempt counts: only a code that was tried and is wrong, only a PIN that was tried."""
        return self.reason in WRONG.values()

    @property
    def state(self) -> str:
        """What becomes of the attempt's slot."""
        return next((state for state, reason in WRONG.items() if reason is self.reason), "void")


def judge_otp(
    challenges: Sequence[Challenge], otp: str, *, expected: Expected, submitted_at: datetime
) -> Challenge | Refused:
    """The challenge that this OTP answers in time, or why there is none.

    `submitted_at` is the broker's append time: nobody's clock but the broker's decides. Every challenge is compared,
    so that the time taken does not tell which one was near.
    """
    about = [challenge for challenge in challenges if _is_about(challenge, expected)]
    if not about:
        return Refused(Reason.CHALLENGE_INVALID)
    newest = max(about, key=lambda challenge: challenge.delivered_at)
    live = [challenge for challenge in about if submitted_at <= challenge.expires_at]
    right = [challenge for challenge in about if otp_matches(challenge, otp)]
    in_time = [challenge for challenge in right if challenge in live]
    if in_time:
        return in_time[0]
    if right or not live:
        return Refused(Reason.OTP_EXPIRED, newest.reference_code)
    return Refused(Reason.OTP_INCORRECT, newest.reference_code)


@dataclass(frozen=True)
class Counts:
    """What was wrong so far, this attempt included, and what is being tried at this moment by others.

    `wrong_otps_of_day` are the officer's in all requests; `held_until` is when the first of them counts no more, once
    they are as many as there may be.
    """

    wrong_otps: int
    wrong_pins: int
    wrong_pins_in_a_row: int
    pending_of_request: int = 0
    pending_of_credential: int = 0
    wrong_otps_of_day: int = 0
    held_until: datetime | None = None


def may_try(counts: Counts) -> bool | Reason:
    """True: try. False: others are being tried, wait for them. A reason: no more tries.

    Every attempt under way counts as if it were wrong, so that no number of parallel guesses passes a limit.
    """
    ended = ending(counts)
    if ended is not None:
        return ended
    return (
        counts.wrong_otps + counts.pending_of_request < limits.WRONG_OTPS
        and counts.wrong_pins + counts.pending_of_request < limits.WRONG_PINS_OF_REQUEST
        and counts.wrong_pins_in_a_row + counts.pending_of_credential < limits.WRONG_PINS_IN_A_ROW
        and counts.wrong_otps_of_day + counts.pending_of_credential < limits.WRONG_OTPS_OF_DAY
    )


def ending(counts: Counts) -> Reason | None:
    """Why these counts end the request, if they do."""
    if counts.wrong_pins_in_a_row >= limits.WRONG_PINS_IN_A_ROW:
        return Reason.PIN_LOCKED
    if counts.wrong_pins >= limits.WRONG_PINS_OF_REQUEST:
        return Reason.TOO_MANY_WRONG_PIN
    if counts.wrong_otps_of_day >= limits.WRONG_OTPS_OF_DAY:
        return Reason.OTP_HELD
    if counts.wrong_otps >= limits.WRONG_OTPS:
        return Reason.TOO_MANY_WRONG_OTP
    return None


def attempts_left(reason: Reason, counts: Counts) -> int | None:
    """How many more tries the officer has of what was wrong."""
    if reason is Reason.OTP_INCORRECT:
        of_day = limits.WRONG_OTPS_OF_DAY - counts.wrong_otps_of_day
        return max(0, min(limits.WRONG_OTPS - counts.wrong_otps, of_day))
    if reason is Reason.PIN_INCORRECT:
        of_request = limits.WRONG_PINS_OF_REQUEST - counts.wrong_pins
        in_a_row = limits.WRONG_PINS_IN_A_ROW - counts.wrong_pins_in_a_row
        return max(0, min(of_request, in_a_row))
    return None


def _is_about(challenge: Challenge, expected: Expected) -> bool:
    return (
        challenge.request_id == str(expected.request_id)
        and challenge.user == expected.user
        and challenge.credential_id == str(expected.credential_id)
        and challenge.root == expected.root
    )
