"""Reason codes are stable text; safe to try again is said for each."""

import re

from libs.contracts.reasons import Reason

SAFE = {
    "otp-undeliverable", "otp-incorrect", "otp-expired", "otp-used", "too-many-wrong-otp", "pin-incorrect",
    "authorisation-expired", "seal-expired", "expired", "cancelled", "crl-stale", "sah-not-posted", "hsm-unavailable",
    "otp-held", "otp-address-new",
}  # fmt: skip


def test_codes_are_kebab_case_and_are_their_own_text() -> None:
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", reason.value) for reason in Reason)
    assert all(str(reason) == reason.value == reason for reason in Reason)
    assert all(reason.name.replace("_", "-").lower() == reason.value for reason in Reason)


def test_what_is_safe_to_try_again_is_what_no_person_must_mend_first() -> None:
    assert {reason.value for reason in Reason if reason.safe_to_retry} == SAFE


def test_a_doubt_about_who_asks_or_what_was_signed_is_never_safe_to_try_again() -> None:
    held = [r for r in Reason if re.search(r"signature|certificate|attributes|caller|conflict|manifest|challenge", r)]
    assert held
    assert not any(reason.safe_to_retry for reason in held)
