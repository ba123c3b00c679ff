"""The rule of the device: the later registration counts, and nothing is sealed to a key that cannot open."""

from datetime import timedelta

from services.enrolment.devices import registered
from services.enrolment.registration import Officer, Refused, user_state
from tests.support.devices import Phone
from tests.support.pki import EPOCH

OFFICER = Officer("800101145566", 3, "N", "a@anm.example", "PTJ", None, live=False, medium="roaming-otp")
LATER = EPOCH + timedelta(seconds=1)


def test_the_later_registration_counts_in_whichever_order_they_are_handled() -> None:
    first, second = Phone(), Phone()
    one, two = first.registration(OFFICER.user_id), second.registration(OFFICER.user_id)
    after = registered(OFFICER, one, EPOCH)
    assert isinstance(after, Officer)
    forward = registered(after, two, LATER)
    assert isinstance(forward, Officer)
    assert (forward.version, forward.device and forward.device.device_id) == (5, second.device_id)
    assert registered(forward, one, EPOCH) == forward
    assert user_state(forward).channels == ("gpki-mobile", "e-mail")
    assert user_state(OFFICER).channels == ("e-mail",)


def test_a_key_to_which_nothing_can_be_sealed_is_refused() -> None:
    """A point of small order; found at delivery, it would cost the officer the code."""
    registration = Phone().registration(OFFICER.user_id, sealing_key="00" * 32)
    assert isinstance(registered(OFFICER, registration, EPOCH), Refused)
