"""An application becomes an officer, and the officer has a credential when its certificate is there."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from libs.bus import administrators
from libs.bus.outcomes import OVERTAKEN
from libs.contracts.cloudevents import Record, encode
from libs.contracts.enrolment import Application, ApplicationSubmitted, credential_id_of
from libs.contracts.state import Certificate, User
from libs.contracts.topics import Topic
from libs.runtime.clock import utc_now
from tests.integration.enrolment.conftest import Office
from tests.support.applications import application, submitted
from tests.support.requests import certificate_state, key_id, key_state
from tests.support.waiting import eventually


def by(office: Office, wanted: Application) -> ApplicationSubmitted:
    return submitted(wanted, office.registrar.key)


def certificate(wanted: Application, **values: object) -> Certificate:
    user = User(
        user=wanted.user,
        version=1,
        name=wanted.name,
        email=wanted.email,
        office=wanted.office,
        medium="roaming-otp",
        channels=("e-mail",),
        credential_id=credential_id_of(wanted),
    )
    return certificate_state(user, **values)


def under_another_id(topic: Topic, event: ApplicationSubmitted, identifier: bytes) -> Record:
    record = encode(topic, event, source="test", time=utc_now())
    headers = tuple((name, identifier if name == "ce_id" else value) for name, value in record.headers)
    return replace(record, headers=headers)


async def test_an_application_registers_the_officer_and_asks_for_a_key_under_the_sealed_pin(office: Office) -> None:
    wanted = application(algorithm="p-256")
    event = by(office, wanted)
    async with office.running():
        await office.submit(event)
        await office.until(["users", "key_requests"], 1)
    (user,), (request,) = office.users(), office.key_requests()
    assert user.model_dump() == {
        "user": wanted.user,
        "version": 1,
        "name": wanted.name,
        "email": wanted.email,
        "office": wanted.office,
        "medium": "roaming-otp",
        "channels": ("e-mail",),
        "credential_id": None,
        "device": None,
    }
    assert request.signed == event.signed
    assert (request.sealing_key_id, request.sealed_pin) == (event.sealing_key_id, event.sealed_pin)
    assert request.credential_id == credential_id_of(wanted)


async def test_the_certificate_gives_the_credential_and_its_revocation_leaves_it(office: Office) -> None:
    wanted = application()
    async with office.running():
        await office.submit(by(office, wanted))
        await office.until(["users"], 1)
        await office.tell(certificate(wanted))
        await office.until(["users"], 2)
        await office.tell(certificate(wanted, version=2, status="revoked"))
        await office.handled(office.routes.certificate, 2)
        await office.submit(by(office, application(wanted.user, email="baru@anm.example")))
        await office.until(["users"], 3)
    first, second, third = office.users()
    assert [user.version for user in (first, second, third)] == [1, 2, 3]
    assert [user.credential_id for user in (first, second, third)] == [
        None,
        credential_id_of(wanted),
        credential_id_of(wanted),
    ]
    assert third.email == "baru@anm.example"


async def test_ten_repeats_register_once(office: Office) -> None:
    wanted = application()
    event, topic = by(office, wanted), office.routes.application_submitted
    async with office.running():
        await office.submit(*[event] * 10)
        await office.room.send(topic, [under_another_id(topic, event, b"another")])
        await office.handled(topic, 11)
        await office.tell(*[certificate(wanted)] * 10)
        await office.handled(office.routes.certificate, 10)
    assert [user.version for user in office.users()] == [1, 2]
    assert len(office.key_requests()) == 1
    assert office.refusals() == []


async def test_an_officer_with_a_live_certificate_is_refused_a_second(office: Office) -> None:
    wanted = application()
    second = application(wanted.user, email="lain@anm.example")
    async with office.running():
        await office.submit(by(office, wanted))
        await office.until(["users"], 1)
        await office.tell(certificate(wanted))
        await office.until(["users"], 2)
        await office.submit(by(office, second))
        await office.until(["refusals"], 1)
    (refusal,) = office.refusals()
    assert (refusal.application, refusal.user, refusal.stage) == (second.application, wanted.user, "enrolment")
    assert [user.email for user in office.users()] == [wanted.email] * 2
    assert len(office.key_requests()) == 1


async def test_what_no_registrar_signed_changes_nobody_and_takes_no_id(office: Office) -> None:
    wanted, thief = application(), Ed25519PrivateKey.generate()
    true = by(office, wanted)
    other = wanted.model_copy(update={"email": "pencuri@elsewhere.example"})
    altered = true.model_copy(update={"signed": true.signed.model_copy(update={"application": other})})
    async with office.running():
        await office.submit(submitted(wanted, thief, by=key_id(office.registrar)), altered)
        await office.handled(office.routes.application_submitted, 2)
        assert office.users() == []
        await office.submit(true)
        await office.until(["users", "key_requests"], 1)
    assert office.dead_letters(office.routes.application_submitted) == ["not-signed-by-two-administrators"] * 2
    assert [user.email for user in office.users()] == [wanted.email]
    assert office.refusals() == []


@pytest.mark.parametrize("who", ["unknown", "a caller", "retired"])
async def test_only_a_registrar_of_today_registers(office: Office, who: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(administrators, "OVERTAKEN", OVERTAKEN / 20)
    someone = office.pki.caller() if who == "a caller" else office.pki.registrar()
    if who == "a caller":
        await office.room.send(office.routes.keys, [key_state(someone, "caller", "igfmas", office.pki)])
    if who == "retired":
        state = key_state(someone, "registrar", "mygpki", office.pki, version=2, retired_at=office.pki.now)
        await office.room.send(office.routes.keys, [state])
    async with office.running():
        await office.submit(submitted(application(), someone.key))
        await office.tap.until(lambda: office.dead_letters(office.routes.application_submitted), "put aside")
    assert office.dead_letters(office.routes.application_submitted) == ["registrar-unknown"]
    assert office.users() == []


async def test_an_application_that_overtakes_its_registrars_key_waits_for_it(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(administrators, "OVERTAKEN", timedelta(hours=1))  # its end is said below
    newcomer = office.pki.registrar()
    async with office.running():
        await office.submit(submitted(application(), newcomer.key))
        await office.parked("registrar-unknown", 1)
        key = key_state(newcomer, "registrar", "mygpki", office.pki)
        await office.room.send(office.routes.keys, [key])
        known = "select count(*) from key_state where key_id = $1"
        await eventually(lambda: office.room.count(known, key.key_id), "the key is known")
        await office.wait_is_over()
        await office.until(["users"], 1)
    assert office.dead_letters(office.routes.application_submitted) == []


async def test_another_application_under_a_used_id_is_put_aside(office: Office) -> None:
    first = application()
    second = application(application=first.application)
    topic = office.routes.application_submitted
    async with office.running():
        await office.submit(by(office, first))
        await office.handled(topic, 1)
        await office.room.send(topic, [under_another_id(topic, by(office, second), b"another")])
        await office.tap.until(lambda: office.dead_letters(topic), "put aside")
    assert office.dead_letters(topic) == ["application-id-used"]
    assert [user.user for user in office.users()] == [first.user]


async def test_versions_of_one_officer_rise_by_one_through_any_number_of_replicas(office: Office) -> None:
    """Two replicas, twenty applications of one officer: the row lock gives each version once."""
    first = application()
    applications = [first, *(application(first.user) for _ in range(19))]
    async with office.running(), office.running():
        await office.submit(*(by(office, each) for each in applications))
        await office.until(["users", "key_requests"], 20)
        await asyncio.gather(*(office.tell(certificate(each)) for each in applications[:1]))
        await office.until(["users"], 21)
    assert [user.version for user in office.users()] == list(range(1, 22))
    assert office.users()[-1].credential_id == credential_id_of(first)
    assert office.users()[-1].email == first.email


async def test_a_certificate_of_nobodys_application_makes_no_officer(office: Office) -> None:
    stranger = application()
    async with office.running():
        await office.tell(certificate(stranger), certificate(application(), medium="token"))
        await office.handled(office.routes.certificate, 2)
    assert office.users() == []
    assert office.dead_letters(office.routes.certificate) == ["credential-unknown"] * 2
