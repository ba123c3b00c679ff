"""A device proves itself by its own key, for its own user, for one call."""

from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from libs.contracts.state import User
from libs.runtime.clock import utc_now
from services.gateway.authentication import claimed_user, judge_device
from tests.support.devices import Phone
from tests.support.requests import new_user, user_state

PHONE, OTHER = Phone(), Phone()
NOW = utc_now()
AT = int(NOW.timestamp())
USER = new_user()
OWNER = user_state(USER, device=PHONE.state)


def token(**changed: Any) -> str:
    """A token of the phone, made at NOW."""
    return PHONE.token(USER, **{"iat": AT, "exp": AT + 50, **changed})


def test_the_registered_device_is_admitted_by_its_id_for_its_user() -> None:
    made = token(jti="j")
    assert claimed_user(made) == USER
    caller = judge_device(made, OWNER, NOW)
    assert caller is not None
    assert (caller.name, caller.user, caller.jti) == (PHONE.device_id, USER, "j")


@pytest.mark.parametrize(
    "changed",
    [
        {"key": Ed25519PrivateKey.generate()},
        {"kid": OTHER.device_id},
        {"iss": OTHER.device_id},
        {"iss": "igfmas"},
        {"aud": "another"},
        {"sub": new_user()},
        {"jti": None},
        {"iat": None},
        {"exp": AT + 600},
        {"iat": AT - 120, "exp": AT - 61},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_token_that_is_not_this_devices_for_this_call_admits_nobody(changed: dict[str, Any]) -> None:
    assert judge_device(token(**changed), OWNER, NOW) is None


@pytest.mark.parametrize(
    "user",
    [
        None,
        user_state(USER),
        user_state(USER, device=OTHER.state),
        user_state(USER, device=PHONE.state.model_copy(update={"signing_key": OTHER.state.signing_key})),
        user_state(new_user(), device=PHONE.state),
    ],
    ids=["unknown", "no device", "another device", "another key", "another user"],
)
def test_a_device_that_is_not_registered_for_this_user_now_is_nobody(user: User | None) -> None:
    assert judge_device(token(), user, NOW) is None


def test_a_token_is_good_for_a_minute() -> None:
    made = token(exp=AT + 60)
    assert judge_device(made, OWNER, NOW + timedelta(seconds=59)) is not None
    assert judge_device(made, OWNER, NOW + timedelta(seconds=70)) is None


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "." * 5000, "e30.e30."])
def test_what_is_no_token_names_no_user(text: str) -> None:
    assert claimed_user(text) is None
