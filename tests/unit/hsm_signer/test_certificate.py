"""Whether a key may be used at this moment: its certificate's state, and its own words of when it is valid."""

from datetime import timedelta

import pytest

from libs.contracts.reasons import Reason
from libs.contracts.state import Certificate
from libs.crypto.pki import Validity
from services.hsm_signer.certificate import certificate_refusal
from tests.support.pki import EPOCH, Pki
from tests.support.requests import certificate_state, new_user, user_state

YEAR, MOMENT = timedelta(days=365), timedelta(seconds=1)


@pytest.fixture(scope="module")
def good() -> Certificate:
    user = user_state(new_user())
    der = Pki().officer(user.user, validity=Validity(EPOCH, EPOCH + YEAR)).der
    return certificate_state(user, certificate=der)


@pytest.mark.parametrize(
    ("after", "refusal"),
    [
        (-MOMENT, Reason.CERTIFICATE_NOT_YET_VALID),
        (timedelta(), None),
        (YEAR, None),
        (YEAR + MOMENT, Reason.CERTIFICATE_EXPIRED),
    ],
)
def test_a_certificate_is_good_from_its_first_moment_to_its_last(
    good: Certificate, after: timedelta, refusal: Reason | None
) -> None:
    """I-15."""
    assert certificate_refusal(good, EPOCH + after) is refusal


@pytest.mark.parametrize(
    ("status", "refusal"),
    [("suspended", Reason.CERTIFICATE_SUSPENDED), ("revoked", Reason.CERTIFICATE_REVOKED)],
)
def test_its_state_counts_whenever_it_is_valid(good: Certificate, status: str, refusal: Reason) -> None:
    """I-15."""
    assert certificate_refusal(good.model_copy(update={"status": status}), EPOCH + MOMENT) is refusal


def test_what_was_never_certified_signs_nothing() -> None:
    assert certificate_refusal(None, EPOCH) is Reason.CERTIFICATE_UNKNOWN
