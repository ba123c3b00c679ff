"""The OTP in GPKI Mobile, and another one when it does not come: from the registered phone to the posted document."""

import asyncio
import json
from datetime import timedelta
from functools import partial

import pytest

from libs.contracts import topics
from libs.contracts.reasons import Reason
from libs.contracts.resending import ResendAnswered
from libs.contracts.signing import RESERVE_WITHIN, Channel
from libs.gpki_client.device import Device
from tests.support.chain import MAIL_SECONDS, Client, Request, papers
from tests.support.challenges import own_challenge
from tests.support.journal import of_request
from tests.support.mobile import Mobile, on_phone
from tests.support.waiting import eventually

pytestmark = pytest.mark.stack


@pytest.fixture
async def mobile(client: Client) -> Mobile:
    return await on_phone(client, await client.enrol(algorithm="p-256"))


async def another(request: Request, channel: Channel | None) -> ResendAnswered:
    """Ask for another code as the officer's screen does, and wait for what came of it."""
    client = request.client
    asked = await client.gateway.resend(request.id, request.officer.user, channel=channel)

    async def found() -> ResendAnswered | None:
        records = await of_request(client.stack, topics.RESEND_ANSWERED, request.id)
        events = [ResendAnswered.model_validate_json(record.value or b"") for record in records]
        return next((one for one in events if one.resend == asked), None)

    answered: ResendAnswered = await eventually(found, "the answer", every=0.2)
    return answered


async def mailed(request: Request, number: int) -> str:
    """The code of this number, from the officer's mailbox."""
    seen = request.seen.dispatched
    await request.until(lambda: number in seen, f"code {number}")
    assert seen[number][1].channel == "e-mail"
    reference = seen[number][1].reference_code
    code = await request.client.mailbox.otp(request.officer.email, reference, seconds=MAIL_SECONDS)
    request.client.otps.add(code)
    return code


async def test_a_code_in_gpki_mobile_signs_and_the_record_says_how(client: Client, mobile: Mobile) -> None:
    """I-27."""
    request = await client.press(mobile.officer, papers(2))
    code = await mobile.otp(request)
    text = mobile.phone.read(request.id, (await mobile.message(request)).message)
    assert f"Rujukan {text['reference_code']}" in text["body"]
    assert "RM 2,500.00 (2 dokumen)" in text["body"]
    await request.authorise(otp=code)
    completed = await request.end()
    assert len(completed.posted) == 2
    dispatched = await request.dispatched()
    assert (dispatched.channel, dispatched.device_id) == ("gpki-mobile", mobile.phone.device_id)
    assert dispatched.reference_code == text["reference_code"]
    assert (dispatched.expires_at - dispatched.delivered_at).total_seconds() == 300
    record = json.loads(
        await client.value("SELECT value FROM posting.posted_record WHERE request_id = $1 LIMIT 1", request.id)
    )
    assert record["authorisation"] == {"channel": "gpki-mobile", "reference_code": text["reference_code"]}
    (told,) = await eventually(lambda: client.stack.mailbox(mobile.officer.email), "the mailbox is told")
    assert "GPKI Mobile registered" in str(told["Subject"]), "the mailbox is told of the phone, and of nothing else"


@pytest.mark.parametrize("used", [1, 2])
async def test_when_the_phone_is_away_a_code_by_email_works_and_so_does_the_first(
    client: Client, mobile: Mobile, used: int
) -> None:
    """I-28."""
    request = await client.press(mobile.officer, papers(1))
    first = await mobile.otp(request)
    answered = await another(request, "e-mail")
    assert (answered.number, answered.refusal, answered.codes_left) == (2, None, 1)
    second = await mailed(request, 2)
    await request.authorise(otp={1: first, 2: second}[used])
    assert len((await request.end()).posted) == 1
    assert request.seen.documents[request.papers[0].entry.id].verified is not None
    verified = request.seen.documents[request.papers[0].entry.id].verified
    assert verified is not None
    channel = {1: "gpki-mobile", 2: "e-mail"}[used]
    assert verified.authorisation.channel == channel
    record = json.loads(await client.value("SELECT value FROM posting.posted_record WHERE request_id = $1", request.id))
    assert record["authorisation"]["channel"] == channel, "the lower assurance is marked"
    (resend,) = (await client.gateway.status(request.id, request.officer.user)).resends
    assert (resend.channel, resend.number, resend.refusal) == ("e-mail", 2, None)


async def test_a_fourth_code_is_refused_and_ends_nothing(client: Client, mobile: Mobile) -> None:
    """I-28."""
    request = await client.press(mobile.officer, papers(1))
    code = await mobile.otp(request)
    answers = [await another(request, channel) for channel in (None, "e-mail", None)]
    assert [(one.number, one.refusal, one.codes_left) for one in answers] == [
        (2, None, 1),
        (3, None, 0),
        (None, "too-many-codes", 0),
    ]
    assert await mobile.otp(request, 2) != code
    await request.authorise(otp=code)
    assert len((await request.end()).posted) == 1


async def test_a_resend_resets_no_counter(client: Client, mobile: Mobile) -> None:
    """I-28: a wrong code before it still counts, however often another is asked for: of the request and of the day."""
    request = await client.press(mobile.officer, papers(1))
    code = await mobile.otp(request)
    unknown = next(f"{number:06d}" for number in range(10) if f"{number:06d}" not in client.otps)
    failed = [await request.failure(await request.authorise(otp=unknown))]
    for number in (2, 3):
        await another(request, None)
        assert await mobile.otp(request, number) != unknown
        failed.append(await request.failure(await request.authorise(otp=unknown)))
    assert (await another(request, None)).refusal == "too-many-codes"
    failed.append(await request.failure(await request.authorise(otp=unknown)))
    assert [one.attempts_left for one in failed] == [4, 3, 2, 1]
    of_day = "SELECT count(*) FROM hsm_signer.attempt WHERE credential_id = $1 AND state = 'wrong-otp'"
    assert await client.value(of_day, mobile.officer.credential_id) == 4
    await request.authorise(otp=code)
    assert len((await request.end()).posted) == 1


async def test_a_mailbox_that_says_later_is_told_and_another_channel_signs_meanwhile(
    client: Client, mobile: Mobile
) -> None:
    """I-28: nothing is ended over the code that could not be delivered."""
    request = await client.press(mobile.officer, papers(1))
    await mobile.otp(request)
    rules = client.stack.layout.mail_rules
    rules.write_text(json.dumps({mobile.officer.email: {"rcpt": "450 4.2.1 Mailbox busy"}}))
    try:
        asking = asyncio.create_task(another(request, "e-mail"))
        kinds = "SELECT data FROM gateway.timeline WHERE request_id = $1 AND kind = 'waiting'"
        row = json.loads(await eventually(lambda: client.value(kinds, request.id), "`waiting` in the timeline"))
        assert (row["stage"], row["why"], row["documents"]) == ("otp_dispatch", "mailbox-busy", None)
        assert not asking.done()
    finally:
        rules.unlink()
    await client.database.execute("UPDATE otp_dispatch.due SET at = now() WHERE request_id = $1", request.id)
    assert (await asking).number == 2
    await request.authorise(otp=await mailed(request, 2))
    assert len((await request.end()).posted) == 1


async def test_of_several_codes_an_expired_one_is_told_so_and_not_counted_and_a_live_one_signs(
    client: Client, mobile: Mobile
) -> None:
    """A code in GPKI Mobile lives five minutes, whatever lives beside it."""
    request = await client.press(mobile.officer, papers(1))
    dispatched = await request.dispatched()
    make = partial(own_challenge, client, request, dispatched)
    challenges = [
        make(otp="111111", age=timedelta(minutes=5, seconds=30), channel="gpki-mobile"),
        make(otp="222222", age=timedelta(minutes=4), channel="gpki-mobile"),
        make(otp="333333", age=timedelta(minutes=6), channel="e-mail"),
    ]
    failed = await request.failure(await request.submit(otp="111111", challenges=challenges))
    assert (failed.reason, failed.attempts_left) == (Reason.OTP_EXPIRED, None)
    wrong_otps = "SELECT wrong_otps FROM hsm_signer.request WHERE request_id = $1"
    assert await client.value(wrong_otps, request.id) == 0
    await request.submit(otp="222222", challenges=challenges)
    assert len((await request.end()).posted) == 1


async def test_the_request_lives_as_long_as_its_newest_code(client: Client, mobile: Mobile) -> None:
    """I-28: else another code would come to a request that ends before it is typed."""
    request = await client.press(mobile.officer, papers(1))
    await mobile.otp(request)
    assert (await another(request, "e-mail")).number == 2
    await mailed(request, 2)
    until = request.seen.dispatched[2][1].expires_at + RESERVE_WITHIN
    query = "SELECT expires_at FROM hsm_signer.request WHERE request_id = $1"

    async def extended() -> bool:
        return bool(await client.value(query, request.id) == until)

    await eventually(extended, "the signer has heard of the second code")
    assert len((await request.sign()).posted) == 1


async def test_a_phone_that_is_replaced_reads_what_changed_and_for_a_day_codes_go_by_email(
    client: Client, mobile: Mobile
) -> None:
    """I-54, I-55: told on the phone of before and by mail; the status says from when the new phone works."""
    officer = mobile.officer
    await mobile.otp(await client.press(officer, papers(1)))
    replacing = await on_phone(client, officer)
    before = Device(mobile.phone.sealing, mobile.phone.signing)
    async with client.stack.mobile(before, officer.user) as phone:
        (notice,) = await eventually(phone.notices, "the phone of before is told")
    subject, body = before.open_notice(notice)
    assert "GPKI Mobile registered" in subject
    assert f"GPKI Mobile {replacing.phone.device_id[:4]}" in body
    request = await client.press(officer, papers(1))
    dispatched = await request.dispatched()
    assert dispatched.channel == "e-mail"
    await client.desk.dispatch(request.pressed)  # the gateway knows it too
    status = await client.gateway.status(request.id, officer.user)
    (shown,) = status.dispatches
    assert shown.new_address_from == dispatched.new_address_from is not None
    assert shown.explanation is not None
    assert "(waktu Malaysia)" in shown.explanation.detail
    assert len((await request.sign()).posted) == 1
    assert (await replacing.inbox()).messages == ()
