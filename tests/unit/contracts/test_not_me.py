"""Whose word "not me" is: the officer's registered device, about what it signed, in time."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from libs.contracts.not_me import IN_TIME, NotMe, NotMeStatement, disbelieved
from libs.contracts.state import Device as Registered
from libs.contracts.state import User
from libs.gpki_client.device import Device, SealedMessage
from tests.support.requests import new_user, user_state

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)

MESSAGE = SealedMessage(uuid4(), 1, "K7Q", NOW, NOW + timedelta(minutes=5), b"sealed")


def officer(device: Device) -> User:
    keys = {"sealing_key": bytes.fromhex(device.sealing_key), "signing_key": bytes.fromhex(device.signing_key)}
    return user_state(new_user(), device=Registered(device_id=device.device_id, registered_at=NOW, **keys))


def word(device: Device, user: str, **changed: Any) -> NotMe:
    """What the SDK signs, as the gateway makes an event of it."""
    body = device.not_me(MESSAGE, user, at=NOW.replace(microsecond=999_999))
    said = {name: body[name] for name in ("request_id", "reference_code", "said_at")}
    statement = NotMeStatement.model_validate({"user": user, "device_id": device.device_id, **said, **changed})
    return NotMe(statement=statement, signature=base64.b64decode(body["signature"]))


def test_what_the_sdk_signs_is_what_the_platform_checks() -> None:
    """I-47."""
    device = Device.new()
    user = officer(device)
    assert disbelieved(word(device, user.user), user, NOW) is None
    for late in (IN_TIME, -IN_TIME):
        assert disbelieved(word(device, user.user), user, NOW + late) is None
        beyond = late + timedelta(seconds=late / IN_TIME)
        assert disbelieved(word(device, user.user), user, NOW + beyond) == "not-me: not of this time"


@pytest.mark.parametrize(
    "changed",
    [{"request_id": uuid4()}, {"reference_code": "K7R"}, {"said_at": NOW + timedelta(seconds=1)}],
    ids=lambda changed: next(iter(changed)),
)
def test_nothing_of_it_can_be_changed(changed: dict[str, Any]) -> None:
    """I-47."""
    device = Device.new()
    user = officer(device)
    assert disbelieved(word(device, user.user, **changed), user, NOW) == "not-me: the signature does not hold"


def test_a_device_that_is_not_the_officers_or_is_no_more_is_not_believed() -> None:
    """I-47."""
    device = Device.new()
    user, other = officer(device), officer(Device.new())
    not_his = "not-me: not of the officer's device"
    assert disbelieved(word(device, other.user), other, NOW) == not_his
    assert disbelieved(word(device, user.user), user.model_copy(update={"device": None}), NOW) == not_his
    assert disbelieved(word(device, user.user), None, NOW) == not_his
    assert disbelieved(word(device, other.user), user, NOW) == not_his
