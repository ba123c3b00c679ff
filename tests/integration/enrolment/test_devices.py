"""An officer's GPKI Mobile: what a registrar confirmed is the officer's device, and nothing else is."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from libs.contracts.enrolment import DeviceRegistration, DeviceRegistrationSubmitted
from services.enrolment import devices
from tests.integration.enrolment.conftest import Office
from tests.support.applications import application, submitted
from tests.support.devices import Phone, registration_submitted
from tests.support.requests import key_id


def confirmed(office: Office, registration: DeviceRegistration, **values: Any) -> DeviceRegistrationSubmitted:
    """The registration as the registrar confirms it."""
    return registration_submitted(
        registration, values.get("key_id", key_id(office.registrar)), values.get("key", office.registrar.key).sign
    )


async def officer(office: Office) -> str:
    """A registered officer."""
    wanted = application()
    await office.submit(submitted(wanted, office.registrar.key))
    await office.until(["users"], 1)
    return wanted.user


async def register(office: Office, *events: DeviceRegistrationSubmitted) -> None:
    await office.room.send(office.routes.device_registration_submitted, events)


async def test_a_confirmed_device_is_the_officers_and_its_channel_comes_first(office: Office) -> None:
    """I-27: a repeat changes nothing, a later device replaces it."""
    async with office.running():
        user = await officer(office)
        phone, later = Phone(), Phone()
        event = confirmed(office, phone.registration(user))
        await register(office, *[event] * 5)
        await office.until(["users"], 2)
        await register(office, confirmed(office, later.registration(user)))
        await office.until(["users"], 3)
        await register(office, event)
        await office.handled(office.routes.device_registration_submitted, 7)
    found = office.users()
    assert [one.version for one in found] == [1, 2, 3]
    devices = [one.device for one in found]
    assert devices[0] is None
    assert [one.device_id for one in devices[1:] if one is not None] == [phone.device_id, later.device_id]
    assert [one.channels for one in found] == [("e-mail",), *[("gpki-mobile", "e-mail")] * 2]
    assert office.refusals() == []


async def test_what_no_registrar_confirmed_is_nobodys_device(office: Office) -> None:
    """I-27: a stranger's signature, and a registrar's over other keys, free the id for the true one."""
    topic = office.routes.device_registration_submitted
    async with office.running():
        user = await officer(office)
        phone, thief = Phone(), Phone()
        true = phone.registration(user)
        forged = confirmed(office, true, key=Ed25519PrivateKey.generate())
        altered = confirmed(office, true).model_copy(
            update={"registration": thief.registration(user, registration=true.registration)}
        )
        await register(office, forged, altered)
        await office.handled(topic, 2)
        assert office.dead_letters(topic) == ["not-signed-by-two-administrators"] * 2
        await register(office, confirmed(office, true))
        await office.until(["users"], 2)
    (_, found) = office.users()
    assert found.device is not None
    assert found.device.device_id == phone.device_id


async def test_a_device_of_nobody_is_refused_and_one_that_overtakes_its_officer_waits(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "OVERTAKEN", timedelta(hours=1))  # its end is said below
    wanted, stranger = application(), application()
    early, never = Phone().registration(wanted.user), Phone().registration(stranger.user)
    async with office.running():
        await register(office, confirmed(office, early), confirmed(office, never))
        await office.parked("user-unknown", 2)
        await office.submit(submitted(wanted, office.registrar.key))
        await office.until(["users"], 1)
        await office.wait_is_over()
        await office.until(["users"], 2)
        await office.until(["refusals"], 1)
    (refusal,) = office.refusals()
    assert (refusal.application, refusal.user, refusal.stage) == (never.registration, stranger.user, "enrolment")
    assert office.users()[-1].user == wanted.user
    assert office.users()[-1].device is not None


async def test_another_device_under_a_used_id_is_put_aside(office: Office) -> None:
    topic = office.routes.device_registration_submitted
    async with office.running():
        user, used = await officer(office), uuid4()
        phone = Phone()
        await register(office, confirmed(office, phone.registration(user, registration=used)))
        await office.until(["users"], 2)
        await register(office, confirmed(office, Phone().registration(user, registration=used)))
        await office.handled(topic, 2)
    assert len(office.dead_letters(topic)) == 1
    device = office.users()[-1].device
    assert device is not None
    assert device.device_id == phone.device_id
