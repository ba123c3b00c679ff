"""The code in GPKI Mobile: delivered by being recorded, once, to the one device, and above the ceiling nowhere else."""

from decimal import Decimal
from typing import Any

import pytest

from libs.contracts.reasons import Reason
from libs.contracts.signing import MediumResolved
from libs.contracts.state import User
from libs.crypto.challenge import otp_matches
from tests.integration.otp_dispatch.conftest import Dispatching
from tests.integration.otp_dispatch.test_failures import no_record, process
from tests.support.devices import Phone
from tests.support.requests import document, documents, header, medium_resolved
from tests.support.waiting import eventually

BOTH = ("gpki-mobile", "e-mail")


async def with_phone(dispatching: Dispatching, phone: Phone, **values: Any) -> User:
    """An officer who has registered this phone."""
    return await dispatching.user(channels=BOTH, device=phone.state, **values)


async def test_the_code_is_sealed_to_the_phone_and_bound_like_any_other(dispatching: Dispatching) -> None:
    """I-16, I-27."""
    await dispatching.publish_keys()
    phone = Phone()
    async with dispatching.replica():
        user = await with_phone(dispatching, phone)
        event = await dispatching.ask(user, count=2, channels=BOTH)
        dispatched = await dispatching.dispatched(event)
        dump = await dispatching.dump()
    assert (dispatched.channel, dispatched.device_id) == ("gpki-mobile", phone.device_id)
    assert (dispatched.expires_at - dispatched.delivered_at).total_seconds() == 300
    assert dispatched.message is not None
    text = phone.read(event.request_id, dispatched.message)
    assert f"Rujukan {dispatched.reference_code}." in text["body"]
    assert "Jumlah: RM 202.00 (2 dokumen)" in text["body"]
    challenge = dispatching.opened(dispatched, event.signed.manifest.commitment().root)
    assert otp_matches(challenge, phone.otp(dispatched))
    assert (challenge.channel, challenge.expires_at) == ("gpki-mobile", dispatched.expires_at)
    assert dispatching.sink.mails(user.email) == []
    assert f"\n{dispatched.reference_code}\n" in dump
    assert phone.otp(dispatched) not in dump
    assert "ialah OTP anda" not in dump


async def test_a_crash_before_the_record_gives_the_phone_one_code_and_the_reserved_one(
    dispatching: Dispatching,
) -> None:
    """I-2: nothing was delivered before the record, and after it what is recorded is what is published."""
    await dispatching.publish_keys()
    phone = Phone()
    async with process(dispatching) as victim:
        user = await with_phone(dispatching, phone)
        async with no_record(dispatching):
            event = await dispatching.ask(user, channels=BOTH)
            count = "select count(*) from code where closed_code is not null"
            await eventually(lambda: dispatching.room.count(count), "the code is reserved")
            reserved = await dispatching.room.pool.fetchval("select reference_code from code")
            victim.kill()
            await victim.wait()
    await dispatching.tap.read()
    assert dispatching.all_dispatched(event) == []
    async with process(dispatching):
        dispatched = await dispatching.dispatched(event)
    assert dispatched.reference_code == reserved
    root = event.signed.manifest.commitment().root
    assert otp_matches(dispatching.opened(dispatched, root), phone.otp(dispatched))
    assert await dispatching.room.count("select count(*) from code") == 1
    assert await dispatching.room.count("select count(*) from code where closed_code is not null") == 0


async def test_a_replay_of_the_record_publishes_the_same_message(dispatching: Dispatching) -> None:
    """I-2: the seal is random, so bytes that are made anew would be other bytes."""
    await dispatching.publish_keys()
    phone = Phone()
    async with dispatching.replica():
        user = await with_phone(dispatching, phone)
        event = await dispatching.ask(user, channels=BOTH)
        await dispatching.dispatched(event)
        await dispatching.room.all_committed(dispatching.routes.medium_resolved, 1)
    # As a crash between publishing and marking leaves it, and the offset with it.
    await dispatching.room.pool.execute(
        "insert into unpublished select event_id, cause from outcome where topic = $1 on conflict do nothing",
        dispatching.routes.otp_dispatched.name,
    )
    async with dispatching.replica():
        await dispatching.room.send(dispatching.routes.medium_resolved, [event])
        topic = dispatching.routes.otp_dispatched
        await dispatching.tap.until(lambda: len(dispatching.tap.of(topic)) == 2, "it is published again")
    first, second = dispatching.tap.of(topic)
    assert first.value == second.value
    assert len(set(dispatching.tap.ids(topic))) == 1


async def test_without_a_phone_the_code_goes_by_email_whatever_the_preference(dispatching: Dispatching) -> None:
    await dispatching.publish_keys()
    async with dispatching.replica():
        user = await dispatching.user(channels=BOTH)
        dispatched = await dispatching.dispatched(await dispatching.ask(user, channels=BOTH))
    assert (dispatched.channel, dispatched.device_id, dispatched.message) == ("e-mail", None, None)
    assert len(dispatching.sink.mails(user.email)) == 1


async def test_a_code_that_was_reserved_for_the_mail_never_goes_to_a_phone_that_came_later(
    dispatching: Dispatching,
) -> None:
    await dispatching.publish_keys()
    async with dispatching.replica():
        user = await dispatching.user(channels=("e-mail",))
        dispatching.sink.rules(**{user.email: {"rcpt": "450 4.2.1 Mailbox busy"}})
        event = await dispatching.ask(user, channels=BOTH)
        await eventually(lambda: dispatching.room.count("select count(*) from due"), "the mailbox is left alone")
        later = user.model_copy(update={"version": 2, "channels": BOTH, "device": Phone().state})
        await dispatching.room.send(dispatching.routes.user, [later])
        known = "select count(*) from user_state where user_id = $1 and version = 2"
        await eventually(lambda: dispatching.room.count(known, user.user), "the phone is known")
        dispatching.sink.rules()
        await dispatching.room.pool.execute("update due set at = now()")
        dispatched = await dispatching.dispatched(event)
    assert dispatched.channel == "e-mail"
    mails = [mail for mail in dispatching.sink.mails(user.email) if "OTP," in str(mail["Subject"])]
    assert len(mails) == 1, "beside the notice of the phone"


async def test_while_the_relay_is_away_what_is_read_with_a_mail_still_reaches_a_phone(
    dispatching: Dispatching,
) -> None:
    """I-6: what does not need the relay is settled, the mail waits."""
    await dispatching.publish_keys()
    phone = Phone()
    async with dispatching.replica():
        mailed, mobile = await dispatching.user(), await with_phone(dispatching, phone)
    await dispatching.sink.kill()
    waits = await dispatching.ask(mailed)
    goes = await dispatching.ask(mobile, channels=BOTH)
    async with dispatching.replica():
        assert (await dispatching.dispatched(goes)).channel == "gpki-mobile"
        assert dispatching.all_dispatched(waits) == []
        await dispatching.sink.start()
        await dispatching.dispatched(waits)


@pytest.mark.parametrize("currency", ["MYR", "USD"])
async def test_above_the_ceiling_no_code_goes_by_email(dispatching: Dispatching, currency: str) -> None:
    """The total counts; another currency is above any ceiling."""
    await dispatching.publish_keys()
    amount = "600.00" if currency == "MYR" else "1.00"
    listed = [document(number, amount=amount, currency=currency) for number in range(2)]

    async def ask(user: User) -> MediumResolved:
        event = medium_resolved(header(user.user, 2), listed, dispatching.caller, channels=BOTH)
        await dispatching.room.send(dispatching.routes.medium_resolved, [event])
        return event

    async with dispatching.replica(email_otp_ceiling_myr=Decimal(1000)):
        poor, mobile = await dispatching.user(channels=BOTH), await with_phone(dispatching, Phone())
        refused, phoned = await ask(poor), await ask(mobile)
        below = medium_resolved(header(poor.user), documents(1), dispatching.caller)
        await dispatching.room.send(dispatching.routes.medium_resolved, [below])
        rejected = await dispatching.rejected(refused)
        assert (rejected.reason, rejected.safe_to_retry) == (Reason.OTP_CHANNEL_NOT_ALLOWED, False)
        assert (await dispatching.dispatched(phoned)).channel == "gpki-mobile"
        assert (await dispatching.dispatched(below)).channel == "e-mail"
        answered = await dispatching.answer(await dispatching.resend(phoned, channel="e-mail"))
        assert (answered.number, answered.refusal, answered.codes_left) == (None, "channel-unavailable", 2)
    assert dispatching.sink.mails(mobile.email) == []
    assert len(dispatching.sink.mails(poor.email)) == 1
    assert dispatching.all_rejected(phoned) == []


async def test_above_gpki_mobiles_own_ceiling_no_code_goes_at_all(dispatching: Dispatching) -> None:
    """OTP-7: nor by e-mail, the lower assurance, which has no ceiling of its own here."""
    await dispatching.publish_keys()
    async with dispatching.replica(gpki_mobile_otp_ceiling_myr=Decimal(1000)):
        users = await with_phone(dispatching, Phone()), await dispatching.user(channels=BOTH)
        for user, channel in zip(users, BOTH, strict=True):
            above, fits = (
                medium_resolved(header(user.user), [document(0, amount=amount)], dispatching.caller, channels=BOTH)
                for amount in ("1000.01", "1000.00")
            )
            await dispatching.room.send(dispatching.routes.medium_resolved, [above, fits])
            rejected = await dispatching.rejected(above)
            assert (rejected.reason, rejected.safe_to_retry) == (Reason.OTP_CHANNEL_NOT_ALLOWED, False)
            assert (await dispatching.dispatched(fits)).channel == channel
