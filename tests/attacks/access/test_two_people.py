"""One person twice is not two: enrolling, re-enrolling and confirming a device each need two different registrars.

Each service judges by itself; each attack works once its own judgement is away.
"""

from dataclasses import replace
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from libs.bus import administrators
from libs.contracts.enrolment import (
    ApplicationSubmitted,
    DeviceRegistrationSubmitted,
    application_signature_input,
    device_signature_input,
)
from libs.crypto.pki import ServicePurpose
from libs.crypto.service_certificates import ServiceIdentity
from services.certificate_authority import issuance
from services.certificate_authority.issuance import Unsigned, Wanted, judge
from services.enrolment import handlers
from services.enrolment.registration import apply
from tests.integration.enrolment.conftest import Office
from tests.integration.enrolment.test_enrolment import certificate
from tests.support.applications import application, certificate_requested, second, submitted
from tests.support.devices import Phone, registration_submitted
from tests.support.pki import Pki
from tests.support.requests import key_id, key_state

NOT_TWO = "not-signed-by-two-administrators"


def believed(*_: object) -> bool:
    """A defence that is switched off."""
    return True


async def second_key_of_the_first(office: Office) -> Ed25519PrivateKey:
    """Another certified key in the same person's name."""
    again = office.pki.registrar()
    await office.room.send(office.routes.keys, [key_state(again, "registrar", "mygpki", office.pki)])
    return again.key


async def one_person_twice(office: Office) -> list[Ed25519PrivateKey]:
    """What somebody who has one registrar's keys can put in the second's place, each of it signed rightly."""
    return [office.registrar.key, await second_key_of_the_first(office)]


async def test_one_registrar_alone_registers_nobody(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """ADM-1, ENR-2, I-49: whose application it is, one person twice is no second; the id stays free."""
    wanted = application()
    genuine = submitted(wanted, office.registrar.key)
    topic = office.routes.application_submitted

    def alone(key: Ed25519PrivateKey) -> ApplicationSubmitted:
        other = second(application_signature_input(wanted), key)
        return genuine.model_copy(update={"signed": genuine.signed.model_copy(update={"second": other})})

    twice = [alone(key) for key in await one_person_twice(office)]
    replayed = genuine.model_copy(
        update={
            "signed": submitted(application(), office.registrar.key).signed.model_copy(update={"application": wanted})
        }
    )
    single = genuine.model_copy(update={"signed": genuine.signed.model_copy(update={"second": None})})
    async with office.running():
        await office.submit(*twice, replayed, single)
        await office.handled(topic, 4)
        assert office.dead_letters(topic) == [NOT_TWO] * 4
        assert office.users() == []
        await office.submit(genuine)
        await office.until(["users", "key_requests"], 1)
        monkeypatch.setattr(administrators, "confirmed_by_two", believed)
        another = application()
        await office.submit(submitted(another, office.registrar.key, validator=office.registrar.key))
        await office.until(["users"], 2)
    assert {user.user for user in office.users()} == {wanted.user, another.user}


async def test_another_pin_than_two_registrars_signed_goes_to_no_signer(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I-49: whoever hands the application on; the id stays free for the true one."""
    wanted = application()
    genuine = submitted(wanted, office.registrar.key)
    planted = genuine.model_copy(update={"sealed_pin": b"sealed by somebody else"})
    older = submitted(application(sealed_pin_sha256=None), office.registrar.key)
    topic = office.routes.application_submitted
    async with office.running():
        await office.submit(planted, older)
        await office.handled(topic, 2)
        assert office.dead_letters(topic) == ["pin-not-confirmed"] * 2
        assert office.users() == []
        await office.submit(genuine)
        await office.until(["users", "key_requests"], 1)
        monkeypatch.setattr(handlers, "is_confirmed_pin", believed)
        await office.submit(
            submitted(application(), office.registrar.key).model_copy(update={"sealed_pin": b"planted"})
        )
        await office.until(["key_requests"], 2)
    assert {one.sealed_pin for one in office.key_requests()} == {genuine.sealed_pin, b"planted"}


async def test_one_registrar_alone_gives_nobody_a_device(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """I-27, I-49: a thief's phone, confirmed twice by one person."""
    wanted, thief = application(), Phone()
    registration = thief.registration(wanted.user)
    topic = office.routes.device_registration_submitted

    def alone(key: Ed25519PrivateKey) -> DeviceRegistrationSubmitted:
        signed = registration_submitted(registration, key_id(office.registrar), office.registrar.key.sign)
        return signed.model_copy(update={"second": second(device_signature_input(registration), key)})

    twice = [alone(key) for key in await one_person_twice(office)]
    async with office.running():
        await office.submit(submitted(wanted, office.registrar.key))
        await office.until(["users"], 1)
        await office.room.send(topic, twice)
        await office.handled(topic, 2)
        assert office.dead_letters(topic) == [NOT_TWO] * 2
        assert [user.device for user in office.users()] == [None]
        monkeypatch.setattr(administrators, "confirmed_by_two", believed)
        again = alone(office.registrar.key).model_copy(
            update={"registration": registration.model_copy(update={"registration": uuid4()})}
        )
        await office.room.send(topic, [again])
        await office.until(["users"], 2)
    assert office.users()[-1].device is not None


@pytest.mark.parametrize("defence", ["on", "off"])
async def test_two_registrars_get_nobody_a_second_certificate_beside_a_good_one(
    office: Office, monkeypatch: pytest.MonkeyPatch, defence: str
) -> None:
    """I-49: both deceived, or both in it, they have somebody enrolled under an officer's number."""
    officers = application()
    theirs = application(officers.user, email="lain@evil.example")
    if defence == "off":
        monkeypatch.setattr(handlers, "apply", lambda officer, wanted: apply(replace(officer, live=False), wanted))
    async with office.running():
        await office.submit(submitted(officers, office.registrar.key))
        await office.until(["users", "key_requests"], 1)
        await office.tell(certificate(officers))
        await office.until(["users"], 2)
        await office.submit(submitted(theirs, office.registrar.key))
        await office.until(["refusals"] if defence == "on" else ["key_requests"], 1 if defence == "on" else 2)
    assert len(office.key_requests()) == (1 if defence == "on" else 2)
    assert (office.users()[-1].email == theirs.email) == (defence == "off")


@pytest.mark.parametrize("whose", ["the same key", "another key of the same person", "a stranger's"])
def test_the_authority_certifies_nobody_for_one_person(monkeypatch: pytest.MonkeyPatch, whose: str) -> None:
    """ADM-1, KEY-7: it believes neither enrolment nor the signer."""
    pki = Pki()
    first, again, other = pki.registrar(), pki.registrar(), pki.validator()
    known = {"mygpki": [first, again], "mygpki-pengesah": [other]}
    registrars = {
        key_id(one): ServiceIdentity(name, ServicePurpose.REGISTRAR, key_id(one), one.key.public_key(), pki.now, None)
        for name, people in known.items()
        for one in people
    }
    key = {"the same key": first.key, "another key of the same person": again.key}.get(whose)
    forged = certificate_requested(application(), first.key, validator=key or Ed25519PrivateKey.generate())
    assert judge(forged, registrars) == Unsigned(NOT_TWO)
    assert isinstance(judge(certificate_requested(application(), first.key), registrars), Wanted)
    monkeypatch.setattr(issuance, "confirmed_by_two", believed)
    assert isinstance(judge(forged, registrars), Wanted)
