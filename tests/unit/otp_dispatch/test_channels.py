"""The rule of the channel: the officer's preference, the ceilings, and a message for one device alone."""

from collections.abc import Collection
from decimal import Decimal
from uuid import uuid4

import pytest

from libs.contracts.manifest import Document
from libs.contracts.signing import Channel
from libs.contracts.state import User
from libs.crypto.sealing import SealError
from services.otp_dispatch.channels import Ceiling, Mailbox, Phone, destinations, sealed_to, too_low_for
from services.otp_dispatch.message import OtpMessage
from tests.support import devices
from tests.support.requests import document, new_user, user_state

PHONE = devices.Phone()
BOTH: tuple[Channel, ...] = ("gpki-mobile", "e-mail")
USER = user_state(new_user(), channels=BOTH, device=PHONE.state)
MOBILE = Phone(USER.device) if USER.device else None
MAIL = Mailbox(USER.email)


@pytest.mark.parametrize(
    ("user", "allowed", "wanted", "but", "found"),
    [
        (USER, BOTH, None, (), (MOBILE, MAIL)),
        (USER.model_copy(update={"channels": ("e-mail", "gpki-mobile")}), BOTH, None, (), (MAIL, MOBILE)),
        (USER, ("e-mail",), None, (), (MAIL,)),
        (USER.model_copy(update={"channels": ("e-mail",)}), BOTH, None, (), (MAIL,)),
        (USER.model_copy(update={"device": None}), BOTH, None, (), (MAIL,)),
        (USER, BOTH, "e-mail", (), (MAIL,)),
        (USER, BOTH, "gpki-mobile", (), (MOBILE,)),
        (USER, BOTH, None, ("e-mail",), (MOBILE,)),
        (USER, BOTH, None, ("gpki-mobile",), (MAIL,)),
        (USER, BOTH, None, BOTH, ()),
        (USER, BOTH, "e-mail", ("e-mail",), ()),
        (USER.model_copy(update={"device": None}), BOTH, "gpki-mobile", (), ()),
        (USER.model_copy(update={"email": "no address"}), BOTH, None, (), (MOBILE,)),
    ],
)
def test_a_code_goes_where_the_officer_prefers_among_what_there_is(
    user: User,
    allowed: tuple[Channel, ...],
    wanted: Channel | None,
    but: Collection[Channel],
    found: tuple[object, ...],
) -> None:
    assert destinations(user, allowed, wanted=wanted, but=but) == found


def listed(*amounts: str, currency: str = "MYR") -> list[Document]:
    return [Document(**document(number, amount=amount, currency=currency)) for number, amount in enumerate(amounts)]


@pytest.mark.parametrize(
    ("documents", "above"),
    [
        (listed("600.00", "400.00"), False),
        (listed("600.00", "400.01"), True),
        (listed("0.01", currency="USD"), True),
        ([*listed("1.00"), *listed("1.00", currency="USD")], True),
    ],
)
def test_the_ceiling_is_the_total_in_ringgit_and_another_currency_is_above_it(
    documents: list[Document], above: bool
) -> None:
    """OTP-7: a day's is one of each request, too; GPKI Mobile's is one of e-mail, the lower assurance, too."""
    for low in (Ceiling(Decimal(1000)), Ceiling(day=Decimal(1000)), Ceiling(Decimal(9000), Decimal(1000))):
        assert too_low_for(documents, {"e-mail": low, "gpki-mobile": Ceiling()}) == ({"e-mail"} if above else set())
        assert too_low_for(documents, {"e-mail": Ceiling(), "gpki-mobile": low}) == (set(BOTH) if above else set())
    assert too_low_for(documents, {"e-mail": Ceiling(), "gpki-mobile": Ceiling()}) == set()


def test_a_message_opens_for_its_device_and_its_request_alone() -> None:
    request_id = uuid4()
    text = OtpMessage(subject="GPKI", body="482913 ialah OTP anda: RM 1,000.00 — Ali Sdn Bhd\n")
    sealed = sealed_to(PHONE.state, text, request_id=request_id, reference_code="K7Q")
    assert PHONE.read(request_id, sealed) == {"subject": text.subject, "body": text.body, "reference_code": "K7Q"}
    assert b"482913" not in sealed
    with pytest.raises(SealError):
        PHONE.read(uuid4(), sealed)
    with pytest.raises(SealError):
        devices.Phone().read(request_id, sealed)
    with pytest.raises(SealError):
        devices.Phone(sealing=PHONE.sealing).read(request_id, sealed)


def test_the_hint_names_the_phone_and_nothing_secret() -> None:
    assert Phone(PHONE.state).hint == f"GPKI Mobile {PHONE.device_id[:4]}"
