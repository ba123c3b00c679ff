"""What a guesser tries with the slots of attempts: no order of blobs and requests gives a guess that is not counted."""

from functools import partial

import pytest

from libs.contracts.reasons import Reason
from libs.crypto.sealing import PURPOSE_AUTHORISATION, seal, sealing_info
from libs.crypto.secrets import Secrets
from services.igfmas.enrolment import Officer
from tests.support.chain import PIN_PREFIX, Client, Request, papers, wrong
from tests.support.waiting import eventually

pytestmark = pytest.mark.stack

WRONG_PIN = f"{PIN_PREFIX}of-a-guesser"


@pytest.fixture
async def officer(client: Client) -> Officer:
    return await client.enrol(algorithm="p-256")


async def sealed_for(client: Client, request: Request, *, otp: str, pin: str) -> tuple[str, bytes]:
    """(sealing key id, blob) as the officer's page would make them."""
    key = await client.sealing_key()
    info = sealing_info(PURPOSE_AUTHORISATION, str(request.id), request.signed.manifest.commitment().root, key.key_id)
    return key.key_id, seal(Secrets(pin=pin, otp=otp).encode(), client.sealing_public_key(key.key_id), info)


async def counted(client: Client, request: Request) -> tuple[int, int]:
    row = await client.database.fetchrow(
        "SELECT wrong_otps, wrong_pins FROM hsm_signer.request WHERE request_id = $1", request.id
    )
    assert row is not None
    return row["wrong_otps"], row["wrong_pins"]


@pytest.mark.parametrize("factor", ["otp", "pin"])
async def test_a_blob_that_was_void_in_another_request_is_counted_in_its_own(
    client: Client, officer: Officer, factor: str
) -> None:
    """I-11: an attempt is one request's; that it could not be tried elsewhere makes it no free guess here."""
    target, other = await client.press(officer, papers(1)), await client.press(officer, papers(1))
    code = await target.otp()
    await other.otp()
    otp, pin = (wrong(code), officer.pin) if factor == "otp" else (code, WRONG_PIN)
    sealing_key_id, blob = await sealed_for(client, target, otp=otp, pin=pin)
    elsewhere = await other.failure(await other.submit(key_id=sealing_key_id, sealed=blob))
    assert elsewhere.reason is Reason.SEAL_INVALID
    here = await target.failure(await target.submit(key_id=sealing_key_id, sealed=blob))
    assert here.reason is (Reason.OTP_INCORRECT if factor == "otp" else Reason.PIN_INCORRECT)
    assert await counted(client, target) == ((1, 0) if factor == "otp" else (0, 1))
    assert await counted(client, other) == (0, 0)


async def test_no_slot_stays_taken_when_the_request_ends_before_it_is_tried(client: Client, officer: Officer) -> None:
    """I-11: a slot that was taken and never tried is given back, or an outage would lock the officer out."""
    for _ in range(3):
        ended = await client.press(officer, papers(1))
        code = await ended.otp()
        sealing_key_id, blob = await sealed_for(client, ended, otp=code, pin=officer.pin)
        submission = await ended.submission(key_id=sealing_key_id, sealed=blob)
        here = "SELECT true FROM hsm_signer.request WHERE request_id = $1"
        await eventually(partial(client.value, here, ended.id), "the signer has the request")
        await client.database.execute(
            "INSERT INTO hsm_signer.attempt (request_id, attempt, credential_id) VALUES ($1, $2, $3)",
            ended.id,
            submission.attempt,
            officer.credential_id,
        )
        await client.database.execute(
            "UPDATE hsm_signer.request SET ended_at = now(), end_reason = 'expired' WHERE request_id = $1", ended.id
        )
        failed = await ended.failure(await ended.submit(key_id=sealing_key_id, sealed=blob))
        assert failed.reason is Reason.EXPIRED
    pending = await client.value(
        "SELECT count(*) FROM hsm_signer.attempt WHERE credential_id = $1 AND state = 'pending'", officer.credential_id
    )
    assert pending == 0
    later = await client.press(officer, papers(1))
    await later.authorise(otp=await later.otp())
    assert len((await later.end()).posted) == 1


async def test_one_caller_who_contradicts_himself_stops_nobody(client: Client, officer: Officer) -> None:
    """The same blob under another sealing key is refused at the door, and past the door it stops no lane."""
    request = await client.press(officer, papers(1))
    code = await request.otp()
    sealing_key_id, blob = await sealed_for(client, request, otp=wrong(code), pin=officer.pin)
    await request.failure(await request.submit(key_id=sealing_key_id, sealed=blob))
    for number in range(25):
        await request.submit(key_id=f"{number:064x}", sealed=blob)
    other = await client.enrol(algorithm="p-256")
    served = await client.press(other, papers(1))
    await served.authorise(otp=await served.otp())
    assert len((await served.end()).posted) == 1
