"""A changed address: it gets codes a day later, whoever says what meanwhile, and every mailbox of before is told."""

from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

from libs.contracts.cloudevents import Record, encode
from libs.contracts.pin import PinAnswered
from libs.contracts.reasons import Reason
from libs.contracts.state import User
from libs.runtime.clock import utc_now
from services.otp_dispatch import addresses
from services.otp_dispatch.app import serve
from services.otp_dispatch.notices import GIVE_UP
from tests.integration.otp_dispatch.changes import (
    all_answered,
    become,
    codes,
    elsewhere,
    no_answer_recorded,
    notices,
    pass_time,
    signing,
    told_to,
    works_from,
)
from tests.integration.otp_dispatch.conftest import Dispatching
from tests.integration.otp_dispatch.test_failures import process
from tests.integration.otp_dispatch.test_gpki_mobile import BOTH, with_phone
from tests.integration.otp_dispatch.test_pacing import told
from tests.support.devices import Phone
from tests.support.requests import certificate_state, document, header, medium_resolved
from tests.support.waiting import eventually

DAY = timedelta(hours=24)


async def test_a_changed_address_gets_codes_a_day_later_and_the_one_before_is_told(dispatching: Dispatching) -> None:
    """I-54, I-55."""
    await dispatching.publish_keys()
    async with dispatching.replica():
        user = await signing(dispatching)
        before = utc_now()
        new = await become(dispatching, user, email=elsewhere())
        first = await dispatching.dispatched(await dispatching.ask(new))
        await all_answered(dispatching)
        assert (codes(dispatching, user.email), codes(dispatching, new.email)) == (2, 0)
        assert first.new_address_from is not None
        assert before + DAY - timedelta(seconds=5) < first.new_address_from <= utc_now() + DAY
        (said,) = notices(dispatching, user.email)
        assert notices(dispatching, new.email) == []
        assert said.index("Alamat e-mel anda") < said.index("-- English --") < said.index("e-mail address for OTPs")
        assert "b***@anm.example" in said
        assert new.email not in said
        assert "AP anda" in said
        await pass_time(dispatching, DAY - timedelta(minutes=1))
        await dispatching.dispatched(await dispatching.ask(new))
        assert codes(dispatching, new.email) == 0
        await pass_time(dispatching, timedelta(minutes=1))
        later = await dispatching.dispatched(await dispatching.ask(new))
        assert later.new_address_from is None
    assert (codes(dispatching, user.email), codes(dispatching, new.email)) == (3, 1)


async def test_what_is_said_again_older_or_otherwise_neither_begins_the_day_anew_nor_ends_it(
    dispatching: Dispatching,
) -> None:
    """I-54: only the broker's time of the first state with this address counts."""
    topic = dispatching.routes.user
    await dispatching.publish_keys()
    async with dispatching.replica():
        user = await signing(dispatching)
        new = await become(dispatching, user, email=elsewhere())
        armed = await works_from(dispatching, user, new.email)

        def again(state: User) -> Record:
            record = encode(topic, state, source="enrolment", time=utc_now() - timedelta(days=2))
            headers = [(name, str(uuid4()).encode() if name == "ce_id" else text) for name, text in record.headers]
            return Record(record.topic, record.key, record.value, tuple(headers))

        forged = [again(new), again(user), again(user.model_copy(update={"email": "lain@anm.example"}))]
        await dispatching.room.send(topic, forged)
        said = await become(dispatching, new, office="AG-KL-02")
        assert await works_from(dispatching, user, new.email) == armed
        assert await dispatching.room.count("select count(*) from place where user_id = $1", user.user) == 2
        # Taken back, and changed again: the day begins with the change that is in force.
        back = await become(dispatching, said, email=user.email)
        await dispatching.dispatched(await dispatching.ask(back))
        assert (codes(dispatching, user.email), codes(dispatching, new.email)) == (2, 0)
        once_more = await become(dispatching, back, email=new.email)
        assert await works_from(dispatching, user, new.email) > armed
        await dispatching.dispatched(await dispatching.ask(once_more))
        assert (codes(dispatching, user.email), codes(dispatching, new.email)) == (3, 0)


async def test_a_new_phone_waits_a_day_the_mailbox_is_told_and_the_phone_before_gets_nothing(
    dispatching: Dispatching,
) -> None:
    """I-54: for a day codes go by e-mail; above its ceiling the officer is told when the phone works."""
    await dispatching.publish_keys()
    old, new = Phone(), Phone()
    async with dispatching.replica(email_otp_ceiling_myr=Decimal(1000)):
        user = await dispatching.user(channels=BOTH, device=old.state)
        assert (await dispatching.dispatched(await dispatching.ask(user, channels=BOTH))).channel == "gpki-mobile"
        later = await become(dispatching, user, device=new.state)
        small = await dispatching.ask(later, channels=BOTH)
        mailed = await dispatching.dispatched(small)
        assert (mailed.channel, mailed.device_id) == ("e-mail", None)
        large = medium_resolved(header(user.user), [document(0, amount="1200.00")], dispatching.caller, channels=BOTH)
        await dispatching.room.send(dispatching.routes.medium_resolved, [large])
        rejected = await dispatching.rejected(large)
        assert (rejected.reason, rejected.safe_to_retry) == (Reason.OTP_ADDRESS_NEW, True)
        assert rejected.held_until == mailed.new_address_from == await works_from(dispatching, user, new.device_id)
        asked = await dispatching.answer(await dispatching.resend(small, channel="gpki-mobile"))
        assert (asked.refusal, asked.held_until) == ("channel-unavailable", rejected.held_until)
        await all_answered(dispatching)
        (said,) = notices(dispatching, user.email)
        assert f"GPKI Mobile {new.device_id[:4]}" in said
        (shown,) = await told_to(dispatching, old)
        assert shown["body"].splitlines() == said.splitlines()
        assert await told_to(dispatching, new, count=0) == []
        await pass_time(dispatching, DAY)
        phoned = await dispatching.dispatched(await dispatching.ask(later, channels=BOTH))
    assert (phoned.channel, phoned.device_id) == ("gpki-mobile", new.device_id)


async def test_a_mailbox_of_before_that_is_gone_ends_the_request_with_when_the_new_one_works(
    dispatching: Dispatching,
) -> None:
    """I-54: who has lost the old mailbox waits, and is told until when; the notice that it refuses is left at that."""
    await dispatching.publish_keys()
    async with dispatching.replica():
        user = await signing(dispatching)
        dispatching.sink.rules(**{user.email: {"rcpt": "550 5.1.1 No such user"}})
        new = await become(dispatching, user, email=elsewhere())
        rejected = await dispatching.rejected(await dispatching.ask(new))
        assert (rejected.reason, rejected.safe_to_retry) == (Reason.OTP_ADDRESS_NEW, True)
        assert rejected.held_until == await works_from(dispatching, user, new.email)
        await all_answered(dispatching)
        assert await dispatching.room.pool.fetchval("select answer from notice") == "refused: 550"


async def test_what_is_registered_with_the_first_enrolment_works_at_once(dispatching: Dispatching) -> None:
    """I-54: until the first code, and no longer than a day; the mailbox of before is told all the same."""
    await dispatching.publish_keys()
    phone = Phone()
    async with dispatching.replica():
        typed = await dispatching.user(credential_id=None, channels=BOTH)
        mended = await become(dispatching, typed, email=elsewhere(), credential_id=uuid4())
        assert (await dispatching.dispatched(await dispatching.ask(mended, channels=BOTH))).channel == "e-mail"
        assert codes(dispatching, mended.email) == 1
        fresh = await dispatching.user(channels=BOTH)
        handed = await become(dispatching, fresh, device=phone.state)
        assert (await dispatching.dispatched(await dispatching.ask(handed, channels=BOTH))).channel == "gpki-mobile"
        idle = await dispatching.user(channels=BOTH)
        await pass_time(dispatching, addresses.ENROLMENT)
        late = await become(dispatching, idle, device=Phone().state)
        assert (await dispatching.dispatched(await dispatching.ask(late, channels=BOTH))).channel == "e-mail"
        await all_answered(dispatching)
        for user in (typed, fresh, idle):
            assert len(notices(dispatching, user.email)) == 1


async def test_while_the_relay_is_away_codes_to_phones_go_on_and_the_notice_comes_when_it_is_back_once(
    dispatching: Dispatching,
) -> None:
    """I-55: over two replicas, and nobody waits for it."""
    await dispatching.publish_keys()
    phone = Phone()
    async with dispatching.replica(), dispatching.replica():
        user, mobile = await signing(dispatching), await with_phone(dispatching, phone)
        await dispatching.sink.kill()
        await become(dispatching, user, email=elsewhere())
        tried = "select count(*) from due where what = 'timer.otp_dispatch.notice' and tries > 0"
        await eventually(lambda: dispatching.room.count(tried), "the notice was tried and waits")
        assert (await dispatching.dispatched(await dispatching.ask(mobile, channels=BOTH))).channel == "gpki-mobile"
        await dispatching.sink.start()
        await dispatching.room.pool.execute("update due set at = now()")
        await all_answered(dispatching)
        assert await dispatching.room.pool.fetchval("select answer from notice") == "delivered"
    assert len(notices(dispatching, user.email)) == 1


async def test_a_crash_between_the_relays_answer_and_the_record_repeats_the_same_mail_and_no_other(
    dispatching: Dispatching,
) -> None:
    """I-55."""
    await dispatching.publish_keys()
    async with process(dispatching) as victim:
        user = await signing(dispatching)
        async with no_answer_recorded(dispatching):
            await become(dispatching, user, email=elsewhere())
            await eventually(lambda: notices(dispatching, user.email), "the mail was taken")
            victim.kill()
            await victim.wait()
    assert await dispatching.room.count("select count(*) from notice where answer is null") == 1
    async with process(dispatching):
        await all_answered(dispatching)
    mails = [m for m in dispatching.sink.mails(user.email) if "OTP," not in str(m["Subject"])]
    assert len(mails) >= 2
    assert len({mail["Message-ID"] for mail in mails}) == 1
    assert len({(mail["Date"], mail["Subject"], mail.get_content()) for mail in mails}) == 1


async def test_a_pin_that_was_changed_or_unlocked_is_told_to_mailbox_and_phone(dispatching: Dispatching) -> None:
    """I-55: also to the mailbox that codes still go to; of what was refused nothing is told."""
    await dispatching.publish_keys()
    phone = Phone()
    async with dispatching.replica():
        user = await signing(dispatching, channels=BOTH, device=phone.state)
        new = await become(dispatching, user, email=elsewhere())
        assert new.credential_id is not None

        def answer(result: str) -> PinAnswered:
            return PinAnswered.model_validate(
                {"answers": uuid4(), "credential_id": new.credential_id, "user": user.user, "result": result}
            )

        changed = answer("changed")
        await told(
            dispatching, dispatching.routes.pin_answered, changed, answer("unlocked"), answer("refused"), changed
        )
        await all_answered(dispatching)
        shown = await told_to(dispatching, phone, count=3)
    assert sum("PIN Sijil Digital anda" in one["body"] for one in shown) == 2
    assert [text for text in notices(dispatching, new.email) if "PIN" not in text] == []
    assert len(notices(dispatching, new.email)) == 2
    assert len(notices(dispatching, user.email)) == 3


async def test_a_certificate_that_is_suspended_good_again_or_revoked_is_told_to_mailbox_and_phone(
    dispatching: Dispatching,
) -> None:
    """I-55: each once; not that it was issued, and not what the topic keeps of long ago."""
    await dispatching.publish_keys()
    phone = Phone()
    async with dispatching.replica():
        user = await signing(dispatching, channels=BOTH, device=phone.state)
        states = [
            certificate_state(user, version=number, status=status)
            for number, status in enumerate(("good", "suspended", "good", "revoked"), start=1)
        ]
        await told(dispatching, dispatching.routes.certificate, *states, *states[1:])
        await all_answered(dispatching)
        shown = await told_to(dispatching, phone, count=3)
        mails = notices(dispatching, user.email)
        assert len(mails) == 3
        for malay, english in (
            ("sijil digital anda telah digantung", "digital certificate was suspended"),
            ("telah ditarik balik", "suspension of your digital certificate was lifted"),
            ("sijil digital anda telah dibatalkan", "digital certificate was revoked"),
        ):
            for texts in (mails, [one["body"] for one in shown]):
                (said,) = [text.lower() for text in texts if malay in text.lower()]
                assert said.index(malay) < said.index("-- english --") < said.index(english)
    later = utc_now() + GIVE_UP + timedelta(hours=1)
    async with serve(dispatching.settings, dispatching.health, dispatching.routes, clock=lambda: later):
        await told(dispatching, dispatching.routes.certificate, certificate_state(user, version=5, status="suspended"))
    assert await dispatching.room.count("select count(*) from notice") == 3


async def test_a_new_certificate_is_told_to_every_mailbox_of_before(dispatching: Dispatching) -> None:
    """I-55: but no first certificate."""
    await dispatching.publish_keys()
    async with dispatching.replica():
        first = await dispatching.user(credential_id=None)
        user = await become(dispatching, first, credential_id=uuid4())
        await dispatching.dispatched(await dispatching.ask(user))
        assert await dispatching.room.empty("notice")
        moved = await become(dispatching, user, email=elsewhere())
        anew = await become(dispatching, moved, email=elsewhere(), credential_id=uuid4())
        await all_answered(dispatching)
    assert len(notices(dispatching, user.email)) == 2
    (both,) = notices(dispatching, moved.email)
    assert "sijil digital yang baharu" in both.lower()
    assert "alamat e-mel anda" in both.lower()
    assert notices(dispatching, anew.email) == []
