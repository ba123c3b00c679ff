"""A PIN over the whole chain: changed with the officer's GPKI Mobile, and forgotten, which takes a new certificate."""

from dataclasses import replace
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from libs.contracts import topics
from libs.contracts.pin import PinAnswered, PinChangeSubmitted
from libs.contracts.reasons import Reason
from libs.gpki_client.device import Device
from services.igfmas.desk import Refused
from tests.support.chain import PIN_PREFIX, Client, papers
from tests.support.copies import registered
from tests.support.journal import of_request
from tests.support.mobile import Mobile, on_phone
from tests.support.waiting import eventually

pytestmark = pytest.mark.stack

NEW_PIN = f"{PIN_PREFIX}bateri-kopi"


async def change_pin(mobile: Mobile, *, old: str, new: str) -> PinAnswered:
    """As GPKI Mobile does it with the SDK, and iGFMAS hands it on."""
    client, officer = mobile.client, mobile.officer
    device = Device(mobile.phone.sealing, mobile.phone.signing)
    value = device.pin_change(
        await client.sealing_key(),
        old=old,
        new=new,
        change=uuid4(),
        user=officer.user,
        credential_id=officer.credential_id,
    )
    event = PinChangeSubmitted.model_validate(value)
    await client.chain.send(topics.PIN_CHANGE_SUBMITTED, event)

    async def answered() -> PinAnswered | None:
        records = await of_request(client.stack, topics.PIN_ANSWERED, officer.credential_id)
        answers = [PinAnswered.model_validate_json(record.value or b"") for record in records]
        return next((answer for answer in answers if answer.answers == event.change.change), None)

    answer: PinAnswered = await eventually(answered, "the change is answered", every=0.2)
    return answer


async def test_a_pin_is_changed_with_gpki_mobile_and_only_the_new_one_signs(client: Client) -> None:
    mobile = await on_phone(client, await client.enrol(algorithm="p-256"))
    officer = mobile.officer
    weak = await change_pin(mobile, old=officer.pin, new="12345678")
    assert (weak.result, weak.reason) == ("refused", Reason.PIN_TOO_WEAK)
    assert (await change_pin(mobile, old=officer.pin, new=NEW_PIN)).result == "changed"
    request = await client.press(officer, papers(1))
    code = await mobile.otp(request)
    failed = await request.failure(await request.authorise(otp=code))
    assert failed.reason is Reason.PIN_INCORRECT
    await request.authorise(otp=code, pin=NEW_PIN)
    assert (await request.end()).posted


async def test_a_forgotten_pin_is_a_new_key_and_certificate_and_the_old_key_is_gone(client: Client) -> None:
    old = await client.enrol(algorithm="p-256")
    renewed = replace(old, application=uuid4(), pin=NEW_PIN)
    with pytest.raises(Refused):  # as long as the old certificate is good
        await client.desk.enrol(replace(old, application=uuid4()))
    before = client.chain.certificates[old.credential_id].certificate
    await client.desk.revoke(old)
    ended = "SELECT NOT live FROM enrolment.officer WHERE user_id = $1"
    await eventually(lambda: client.value(ended, old.user), "enrolment has heard of it")
    certificate = await client.desk.enrol(renewed)
    await registered(client, renewed.user, renewed.credential_id)
    assert renewed.credential_id != old.credential_id
    assert _key(certificate.certificate) != _key(before), "never a recovered key"
    destroyed = "SELECT wrapped IS NULL FROM hsm_signer.credential WHERE credential_id = $1"
    await eventually(lambda: client.value(destroyed, old.credential_id), "the old key is destroyed")
    assert (await (await client.press(renewed, papers(1))).sign()).posted


async def test_a_pin_that_is_easy_to_guess_is_refused_with_the_application(client: Client) -> None:
    officer = replace(client.new_officer(), pin="12345678")
    with pytest.raises(Refused, match="easy to guess"):
        await client.desk.enrol(officer)
    assert client.chain.refused[officer.application].reason is Reason.PIN_TOO_WEAK


def _key(certificate: bytes) -> bytes:
    public = x509.load_der_x509_certificate(certificate).public_key()
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
