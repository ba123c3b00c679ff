"""A token's application becomes an officer who signs with that token, or moves an officer to it."""

from functools import partial

from libs.contracts.enrolment import Application, TokenApplication, TokenCertificateRequested, credential_id_of
from libs.contracts.state import Certificate
from libs.runtime.clock import utc_now
from tests.integration.enrolment.conftest import Office
from tests.support.applications import application, csr, submitted, token_application, token_submitted
from tests.support.pki import p256_key


def certificate(wanted: Application | TokenApplication) -> Certificate:
    return Certificate(
        credential_id=credential_id_of(wanted),
        user=wanted.user,
        version=1,
        medium="token" if isinstance(wanted, TokenApplication) else "roaming-otp",
        status="good",
        certificate=b"certificate",
        issuer=b"issuer",
        status_since=utc_now(),
    )


def requests(office: Office) -> list[TokenCertificateRequested]:
    records = office.tap.of(office.routes.token_certificate_requested)
    return [TokenCertificateRequested.model_validate_json(record.value or b"") for record in records]


async def test_a_tokens_application_registers_the_officer_and_asks_the_authority(office: Office) -> None:
    request = csr(p256_key())
    wanted = token_application(request=request)
    event = token_submitted(wanted, office.registrar.key, request)
    async with office.running():
        await office.room.send(office.routes.token_application_submitted, [event] * 3)
        await office.tap.until(partial(requests, office), "the request for a certificate")
        await office.tell(certificate(wanted))
        await office.until(["users"], 2)
    (asked,) = requests(office)
    assert (asked.signed, asked.csr, asked.credential_id) == (event.signed, request, credential_id_of(wanted))
    before, after = office.users()
    assert (before.medium, before.channels, before.credential_id) == ("token", (), None)
    assert (after.medium, after.channels, after.credential_id) == ("token", (), credential_id_of(wanted))
    assert office.key_requests() == []


async def test_another_request_than_the_registrar_signed_is_put_aside_and_takes_no_id(office: Office) -> None:
    request = csr(p256_key())
    wanted = token_application(request=request)
    topic = office.routes.token_application_submitted
    async with office.running():
        await office.room.send(topic, [token_submitted(wanted, office.registrar.key, csr(p256_key()))])
        await office.handled(topic, 1)
        assert (office.users(), requests(office)) == ([], [])
        await office.room.send(topic, [token_submitted(wanted, office.registrar.key, request)])
        await office.tap.until(partial(requests, office), "the true one is taken")
    assert office.dead_letters(topic) == ["csr-not-confirmed"]


async def test_an_officer_moves_to_a_token_and_back_with_the_new_certificate(office: Office) -> None:
    """I-26."""
    request = csr(p256_key())
    first = application()
    moving = token_application(first.user, request)
    back = application(first.user)
    async with office.running():
        await office.submit(submitted(first, office.registrar.key))
        await office.until(["users"], 1)
        await office.tell(certificate(first))
        await office.until(["users"], 2)
        await office.room.send(
            office.routes.token_application_submitted, [token_submitted(moving, office.registrar.key, request)]
        )
        await office.until(["users"], 3)
        await office.tell(certificate(moving))
        await office.until(["users"], 4)
        await office.submit(submitted(back, office.registrar.key))
        await office.until(["users"], 5)
        await office.tell(certificate(back))
        await office.until(["users"], 6)
    assert [(user.medium, user.credential_id) for user in office.users()] == [
        ("roaming-otp", None),
        ("roaming-otp", credential_id_of(first)),
        ("roaming-otp", credential_id_of(first)),
        ("token", credential_id_of(moving)),
        ("token", credential_id_of(moving)),
        ("roaming-otp", credential_id_of(back)),
    ]
    assert office.refusals() == []


async def test_an_officer_with_a_live_token_is_refused_a_second(office: Office) -> None:
    request, other = csr(p256_key()), csr(p256_key())
    wanted = token_application(request=request)
    second = token_application(wanted.user, other)
    topic = office.routes.token_application_submitted
    async with office.running():
        await office.room.send(topic, [token_submitted(wanted, office.registrar.key, request)])
        await office.until(["users"], 1)
        await office.tell(certificate(wanted))
        await office.until(["users"], 2)
        await office.room.send(topic, [token_submitted(second, office.registrar.key, other)])
        await office.until(["refusals"], 1)
    (refusal,) = office.refusals()
    assert (refusal.application, refusal.stage) == (second.application, "enrolment")
    assert len(requests(office)) == 1
