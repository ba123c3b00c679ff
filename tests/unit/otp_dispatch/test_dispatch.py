"""The rule of otp_dispatch: who gets a code, until when it is tried, and what is refused."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from libs.bus.outcomes import Done, Outcome, Park, Poison
from libs.bus.trust import usable_key
from libs.contracts.manifest import Header
from libs.contracts.reasons import Reason
from libs.contracts.resending import ResendRequested
from libs.contracts.signing import DELIVERY_WITHIN, RESERVE_WITHIN, MediumResolved
from libs.contracts.state import User
from libs.crypto.service_certificates import ServiceIdentity
from services.otp_dispatch.channels import Ceiling, Mailbox, masked
from services.otp_dispatch.dispatch import Asked, Failed, History, Ready, judge, rejected, wait
from tests.support.devices import Phone, resend_of
from tests.support.pki import EPOCH, Pki
from tests.support.requests import (
    Caller,
    documents,
    header,
    key_state,
    medium_resolved,
    new_user,
    user_state,
)


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki()


@pytest.fixture(scope="module")
def caller(pki: Pki) -> Caller:
    return pki.caller()


@pytest.fixture(scope="module")
def identity(pki: Pki, caller: Caller) -> ServiceIdentity:
    root = pki.service_root.certificate.public_bytes(Encoding.DER)
    found = usable_key(key_state(caller, "caller", "igfmas", pki), root, EPOCH)
    assert found is not None
    return found


@pytest.fixture
def user() -> User:
    return user_state(new_user())


@pytest.fixture
def event(user: User, caller: Caller) -> MediumResolved:
    return medium_resolved(header(user.user, 2), documents(2), caller, requested_at=EPOCH)


def judged(
    event: Asked, identity: ServiceIdentity | None, user: User | None, **changes: Any
) -> Ready | Failed | Outcome:
    appended_at = EPOCH + timedelta(seconds=1)
    values: dict[str, Any] = {
        "key_known": True,
        "appended_at": appended_at,
        "waited": False,
        "now": EPOCH,
        "history": History(),
        "ceilings": {"e-mail": Ceiling(), "gpki-mobile": Ceiling()},
    }
    return judge(event, identity=identity, user=user, **(values | changes))


def reason(outcome: Ready | Failed | Outcome) -> tuple[Reason, bool]:
    assert isinstance(outcome, Failed)
    end = rejected(Header.model_validate(header("700101000000")), outcome).event
    assert (end.stage, end.documents) == ("otp_dispatch", None)
    return end.reason, end.safe_to_retry


def test_a_genuine_request_of_a_known_user_gets_a_code_for_its_own_root(
    event: MediumResolved, identity: ServiceIdentity, user: User
) -> None:
    """I-18."""
    ready = judged(event, identity, user)
    assert isinstance(ready, Ready)
    assert ready.root == event.signed.manifest.commitment().root
    assert ready.options == (Mailbox(user.email),)
    assert ready.deadline == EPOCH + DELIVERY_WITHIN


def test_a_token_user_gets_no_code(event: MediumResolved, user: User) -> None:
    assert judged(event.model_copy(update={"medium": "token"}), None, user) == Done()


def test_the_callers_signature_is_checked_again(
    event: MediumResolved, identity: ServiceIdentity, user: User, caller: Caller
) -> None:
    """I-18."""
    poison = Poison("caller-signature-invalid")
    assert judged(event, None, user) == poison
    forged = event.signed.model_copy(update={"signature": b"x" * 64})
    assert judged(event.model_copy(update={"signed": forged}), identity, user) == poison
    changed = medium_resolved(header(user.user), documents(1), caller).signed.manifest
    swapped = event.signed.model_copy(update={"manifest": changed})
    assert judged(event.model_copy(update={"signed": swapped}), identity, user) == poison


def test_a_callers_key_that_is_not_known_is_waited_for_once(event: MediumResolved, user: User) -> None:
    assert judged(event, None, user, key_known=False) == Park(timedelta(seconds=5), "caller-key-unknown")
    assert judged(event, None, user, key_known=False, waited=True) == Poison("caller-signature-invalid")
    assert judged(event.model_copy(update={"medium": "token"}), None, user, key_known=False) == Done()


def test_a_key_that_is_known_and_not_usable_is_not_waited_for(event: MediumResolved, user: User) -> None:
    """Retired, or out of its validity: no later event makes it good."""
    assert judged(event, None, user) == Poison("caller-signature-invalid")


def test_a_manifest_under_another_requests_id_is_poison(
    event: MediumResolved, identity: ServiceIdentity, user: User
) -> None:
    assert isinstance(judged(event.model_copy(update={"request_id": uuid4()}), identity, user), Poison)


@pytest.mark.parametrize("change", [{"system": "eSPKWS"}, {"caller": "another"}], ids=str)
def test_caller_and_system_are_what_the_key_says(
    identity: ServiceIdentity, user: User, caller: Caller, change: dict[str, str]
) -> None:
    event = medium_resolved(header(user.user, **change), documents(1), caller, requested_at=EPOCH)
    assert isinstance(judged(event, identity, user), Poison)


def test_an_unknown_user_is_waited_for_once(event: MediumResolved, identity: ServiceIdentity) -> None:
    assert judged(event, identity, None) == Park(timedelta(seconds=5), "user-unknown")
    assert reason(judged(event, identity, None, waited=True)) == (Reason.USER_UNKNOWN, False)


@pytest.mark.parametrize("side", ["event", "user"])
def test_a_user_without_a_channel_of_this_release_is_undeliverable(
    event: MediumResolved, identity: ServiceIdentity, user: User, side: str
) -> None:
    mobile = {"channels": ("gpki-mobile",)}
    if side == "event":
        event = event.model_copy(update=mobile)
    else:
        user = user.model_copy(update=mobile)
    assert reason(judged(event, identity, user)) == (Reason.OTP_UNDELIVERABLE, True)


@pytest.mark.parametrize(
    "email", ["", "siti", "Siti <siti@anm.example>", "a@anm.example>\r\nRCPT TO:<b@anm.example", "a@b@c", "a@b,c@d"]
)
def test_what_is_no_plain_address_gets_no_code(
    event: MediumResolved, identity: ServiceIdentity, user: User, email: str
) -> None:
    outcome = judged(event, identity, user.model_copy(update={"email": email}))
    assert reason(outcome) == (Reason.OTP_UNDELIVERABLE, True)


def test_fifteen_minutes_after_the_request_nothing_is_sent_any_more(
    event: MediumResolved, identity: ServiceIdentity, user: User
) -> None:
    last = EPOCH + DELIVERY_WITHIN - timedelta(microseconds=1)
    assert isinstance(judged(event, identity, user, now=last), Ready)
    late = judged(event, identity, user, now=EPOCH + DELIVERY_WITHIN)
    assert reason(late) == (Reason.OTP_UNDELIVERABLE, True)


def test_a_later_requested_at_keeps_no_request_open(
    event: MediumResolved, identity: ServiceIdentity, user: User
) -> None:
    event = event.model_copy(update={"requested_at": EPOCH + timedelta(days=1)})
    ready = judged(event, identity, user, appended_at=EPOCH)
    assert isinstance(ready, Ready)
    assert ready.deadline == EPOCH + DELIVERY_WITHIN


def test_a_mailbox_that_says_later_is_left_alone_longer_each_time_but_never_past_the_deadline() -> None:
    deadline = EPOCH + DELIVERY_WITHIN

    def seconds(tries: int, now: datetime = EPOCH) -> float:
        return wait(tries, now=now, deadline=deadline).total_seconds()

    assert [seconds(tries) for tries in (0, 1, 2, 3, 4, 1000)] == [5, 10, 10, 10, 10, 10]
    assert seconds(9, deadline - timedelta(seconds=7)) == 7
    assert seconds(9, deadline + timedelta(seconds=7)) == 0


@pytest.mark.parametrize(
    ("address", "hint"),
    [("siti.aminah@anm.gov.my", "s***@anm.gov.my"), ("a@b.my", "a***@b.my"), ("nonsense", "***@nonsense")],
)
def test_an_address_is_shown_as_a_hint_to_its_owner(address: str, hint: str) -> None:
    assert masked(address) == hint


PHONE = Phone()
BOTH = ("gpki-mobile", "e-mail")


def resend(event: MediumResolved, **values: Any) -> ResendRequested:
    return resend_of(event.model_copy(update={"channels": BOTH}), **values)


def test_a_resend_is_judged_like_the_first_code_and_its_channel_is_the_officers_choice(
    event: MediumResolved, identity: ServiceIdentity, user: User
) -> None:
    mobile = user.model_copy(update={"channels": BOTH, "device": PHONE.state})
    for asked, channels in [
        (None, ["gpki-mobile", "e-mail"]),
        ("e-mail", ["e-mail"]),
        ("gpki-mobile", ["gpki-mobile"]),
    ]:
        ready = judged(resend(event, channel=asked), identity, mobile)
        assert isinstance(ready, Ready)
        assert [one.channel for one in ready.options] == channels
    refused = judged(resend(event, channel="gpki-mobile"), identity, user)
    assert isinstance(refused, Failed)
    assert refused.refusal == "channel-unavailable"


@pytest.mark.parametrize(
    "change", [{"user": "700101999999"}, {"caller": "another"}, {"request_id": UUID(int=1)}], ids=str
)
def test_a_resend_that_says_something_else_than_the_caller_signed_is_poison(
    event: MediumResolved, identity: ServiceIdentity, user: User, change: dict[str, Any]
) -> None:
    assert judged(resend(event, **change), identity, user) == Poison("caller-signature-invalid")
    assert judged(resend(event), None, user) == Poison("caller-signature-invalid")


def test_a_resend_is_in_time_while_the_signer_keeps_the_request_open(
    event: MediumResolved, identity: ServiceIdentity, user: User
) -> None:
    asked, after = resend(event), EPOCH + timedelta(minutes=30)
    moment = timedelta(microseconds=1)

    def refusal(now: datetime, history: History) -> str | None:
        found = judged(asked, identity, user, now=now, appended_at=now, history=history)
        return found.refusal if isinstance(found, Failed) else None

    assert refusal(EPOCH + DELIVERY_WITHIN - moment, History()) is None
    assert refusal(EPOCH + DELIVERY_WITHIN, History()) == "too-late"
    delivered = History(1, after)
    assert refusal(after + RESERVE_WITHIN - moment, delivered) is None
    assert refusal(after + RESERVE_WITHIN, delivered) == "too-late"
    early = History(1, EPOCH + timedelta(minutes=5))
    assert refusal(EPOCH + timedelta(minutes=11), early) == "too-late", "the signer has ended it: no code is of use"
    assert refusal(EPOCH, History(1, None, ended=True)) == "too-late"


def test_above_the_ceiling_only_gpki_mobile_will_do(
    event: MediumResolved, identity: ServiceIdentity, user: User
) -> None:
    both = event.model_copy(update={"channels": BOTH})
    low = {"ceilings": {"e-mail": Ceiling(Decimal("1.00")), "gpki-mobile": Ceiling()}}
    assert reason(judged(both, identity, user, **low)) == (Reason.OTP_CHANNEL_NOT_ALLOWED, False)
    mobile = user.model_copy(update={"channels": ("e-mail", "gpki-mobile"), "device": PHONE.state})
    ready = judged(both, identity, mobile, **low)
    assert isinstance(ready, Ready)
    assert [one.channel for one in ready.options] == ["gpki-mobile"]
    refused = judged(resend(event, channel="e-mail"), identity, mobile, **low)
    assert isinstance(refused, Failed)
    assert refused.refusal == "channel-unavailable"
    high = {"e-mail": Ceiling(Decimal(1_000_000)), "gpki-mobile": Ceiling()}
    assert isinstance(judged(both, identity, user, ceilings=high), Ready)


def test_above_the_ceiling_of_every_channel_there_is_no_code_and_it_says_of_which(
    event: MediumResolved, identity: ServiceIdentity, user: User
) -> None:
    both = event.model_copy(update={"channels": BOTH})
    mobile = user.model_copy(update={"channels": BOTH, "device": PHONE.state})
    low = {"e-mail": Ceiling(), "gpki-mobile": Ceiling(day=Decimal("1.00"))}
    refused = judged(both, identity, mobile, ceilings=low)
    assert reason(refused) == (Reason.OTP_CHANNEL_NOT_ALLOWED, False)
    assert isinstance(refused, Failed)
    assert refused.detail == "the total is too high for gpki-mobile and e-mail"
    asked = judged(resend(event, channel="gpki-mobile"), identity, mobile, ceilings=low)
    assert isinstance(asked, Failed)
    assert (asked.refusal, asked.detail) == ("channel-unavailable", "the total is too high for gpki-mobile")


def test_there_are_three_codes_and_the_first_has_its_number_before_it_is_reserved() -> None:
    assert [History(highest).left for highest in (0, 1, 2, 3, 4)] == [2, 2, 1, 0, 0]
    assert History(2, ended=True).left == 0
