"""Attacks on where codes go: an address or a phone that is not the officer's. Each succeeds once the day is no day."""

from datetime import timedelta
from uuid import uuid4

import pytest

from libs.contracts.cloudevents import Record, encode
from libs.contracts.state import User
from libs.runtime.clock import utc_now
from services.otp_dispatch import addresses
from tests.integration.otp_dispatch.changes import become, codes, elsewhere, notices, signing
from tests.integration.otp_dispatch.conftest import Dispatching, dispatching, pki, shared_sink
from tests.integration.otp_dispatch.test_gpki_mobile import BOTH
from tests.support.devices import Phone
from tests.support.waiting import eventually

__all__ = ["dispatching", "pki", "shared_sink"]

pytestmark = pytest.mark.stack


@pytest.fixture(params=["on", "off"])
def defence(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "off":
        monkeypatch.setattr(addresses, "WAIT", timedelta(minutes=-1))  # the service's clock may be behind
    return str(request.param)


async def test_a_thief_who_had_the_address_changed_gets_no_code_for_a_day_and_the_officer_is_told(
    dispatching: Dispatching, defence: str
) -> None:
    """I-54, I-55: two registrars were deceived, or enrolment is compromised; the PIN is stolen."""
    await dispatching.publish_keys()
    async with dispatching.replica():
        officer = await signing(dispatching)
        stolen = await become(dispatching, officer, email=elsewhere())
        asked = [await dispatching.ask(stolen) for _ in range(3)]
        for one in asked:
            await dispatching.dispatched(one)
        await eventually(lambda: notices(dispatching, officer.email), "the officer is told")
    assert codes(dispatching, stolen.email) == (0 if defence == "on" else 3)
    assert codes(dispatching, officer.email) == (4 if defence == "on" else 1)


async def test_a_thief_who_had_a_phone_registered_gets_no_code_for_a_day_and_the_officer_is_told(
    dispatching: Dispatching, defence: str
) -> None:
    """I-54, I-55."""
    await dispatching.publish_keys()
    thief = Phone()
    async with dispatching.replica():
        officer = await signing(dispatching, channels=BOTH)
        stolen = await become(dispatching, officer, device=thief.state)
        dispatched = await dispatching.dispatched(await dispatching.ask(stolen, channels=BOTH))
        await eventually(lambda: notices(dispatching, officer.email), "the officer is told")
    assert dispatched.channel == ("e-mail" if defence == "on" else "gpki-mobile")
    assert (dispatched.device_id == thief.device_id) == (defence == "off")


async def test_a_compromised_enrolment_cannot_say_that_it_was_long_ago(dispatching: Dispatching, defence: str) -> None:
    """I-54: no claim in state or headers, no number of versions, no detour and no replay brings the day forward."""
    topic = dispatching.routes.user
    await dispatching.publish_keys()

    def backdated(state: User) -> Record:
        record = encode(topic, state, source="enrolment", time=utc_now() - timedelta(days=30))
        headers = [(name, str(uuid4()).encode() if name == "ce_id" else text) for name, text in record.headers]
        return Record(record.topic, record.key, record.value, tuple(headers))

    async with dispatching.replica():
        officer = await signing(dispatching, channels=BOTH)
        phone = Phone().state.model_copy(update={"registered_at": utc_now() - timedelta(days=30)})
        address = elsewhere()

        def state(version: int, email: str) -> User:
            return officer.model_copy(update={"version": version, "email": email, "device": phone})

        lies = [
            backdated(state(2, address)), backdated(state(1, address)), backdated(state(2, address)),
            backdated(state(3, officer.email)), backdated(state(4, elsewhere())), backdated(state(1_000_000, address)),
            backdated(state(0, address)), backdated(state(1_000_000, address)),
        ]  # fmt: skip
        await dispatching.room.send(topic, lies)
        known = "select count(*) from user_state where user_id = $1 and version = 1000000"
        await eventually(lambda: dispatching.room.count(known, officer.user), "the last lie is known")
        moved = state(1_000_000, address)
        by_mail = await dispatching.dispatched(await dispatching.ask(moved, channels=("e-mail",)))
        by_choice = await dispatching.dispatched(await dispatching.ask(moved, channels=BOTH))
    assert by_mail.channel == "e-mail"
    assert by_choice.channel == ("e-mail" if defence == "on" else "gpki-mobile")
    assert codes(dispatching, address) == (0 if defence == "on" else 1)
