"""Another code: one per ask, three per request, and no refusal of it ends anything."""

from datetime import timedelta
from functools import partial

import pytest

from libs.contracts.resending import ResendRequested
from libs.contracts.signing import OtpDispatched
from libs.crypto.challenge import otp_matches
from libs.runtime.clock import utc_now
from services.otp_dispatch import codes as making
from tests.integration.otp_dispatch.conftest import Dispatching, code_in
from tests.integration.otp_dispatch.test_gpki_mobile import BOTH, with_phone
from tests.support.devices import Phone, resend_of
from tests.support.waiting import eventually

LOOKED = "select count(*) from due where tries >= $1"

BUSY = {"rcpt": "450 4.2.1 Mailbox busy"}


async def test_the_same_ask_ten_times_is_one_more_code_and_one_answer(dispatching: Dispatching) -> None:
    """I-28."""
    await dispatching.publish_keys()
    async with dispatching.replica():
        user = await dispatching.user()
        event = await dispatching.ask(user)
        await dispatching.dispatched(event)
        asked = await dispatching.resend(event)
        await dispatching.room.send(dispatching.routes.resend_requested, [asked] * 9)
        answered = await dispatching.answer(asked)
        second = await dispatching.numbered(event, 2)
        await resends_handled(dispatching, 10)
        await dispatching.tap.read()
    assert (answered.number, answered.refusal, answered.codes_left) == (2, None, 1)
    assert len(dispatching.all_answers(asked)) == 1
    assert [one.number for one in dispatching.all_dispatched(event)] == [1, 2]
    mails = dispatching.sink.mails(user.email)
    codes = {reference: otp for otp, reference in map(code_in, mails)}
    assert len(mails) == len(codes) == 2
    for dispatched in dispatching.all_dispatched(event):
        challenge = dispatching.opened(dispatched, event.signed.manifest.commitment().root)
        assert otp_matches(challenge, codes[dispatched.reference_code])
    assert second.expires_at - second.delivered_at == timedelta(minutes=10)
    assert await dispatching.room.count("select count(*) from code where closed_code is not null") == 0


async def test_of_many_asks_at_once_two_get_a_code_and_the_others_are_told_why_not(dispatching: Dispatching) -> None:
    """I-28: numbers are given under the request's lock, whichever replica reads the ask."""
    await dispatching.publish_keys()
    phone = Phone()
    async with dispatching.replica(), dispatching.replica():
        user = await with_phone(dispatching, phone)
        event = await dispatching.ask(user, channels=BOTH)
        await dispatching.dispatched(event)
        asks = [resend_of(event) for _ in range(6)]
        await dispatching.room.send(dispatching.routes.resend_requested, asks)
        answers = [await dispatching.answer(asked) for asked in asks]
    assert sorted(one.number for one in answers if one.number) == [2, 3]
    refused = [one for one in answers if one.number is None]
    assert [(one.refusal, one.codes_left) for one in refused] == [("too-many-codes", 0)] * 4
    assert [one.number for one in sorted(dispatching.all_dispatched(event), key=by_number)] == [1, 2, 3]
    assert len({phone.otp(one) for one in dispatching.all_dispatched(event)}) > 1
    assert dispatching.all_rejected(event) == []


async def test_a_first_code_that_fails_ends_nothing_once_another_was_delivered(dispatching: Dispatching) -> None:
    """I-28: the mailbox says "later", the phone gets its code, then the mailbox says no."""
    await dispatching.publish_keys()
    phone = Phone()
    async with dispatching.replica():
        user = await with_phone(dispatching, phone)
        user = user.model_copy(update={"version": 2, "channels": ("e-mail", "gpki-mobile")})
        await dispatching.room.send(dispatching.routes.user, [user])
        known = "select count(*) from user_state where user_id = $1 and version = 2"
        await eventually(lambda: dispatching.room.count(known, user.user), "the preference is known")
        dispatching.sink.rules(**{user.email: BUSY})
        event = await dispatching.ask(user, channels=BOTH)
        await eventually(lambda: dispatching.room.count("select count(*) from due"), "the mailbox is left alone")
        answered = await dispatching.answer(await dispatching.resend(event, channel="gpki-mobile"))
        assert (answered.number, answered.codes_left) == (2, 1)
        assert (await dispatching.numbered(event, 2)).channel == "gpki-mobile"
        dispatching.sink.rules(**{user.email: {"rcpt": "550 5.1.1 No such user"}})
        await dispatching.room.pool.execute("update due set at = now()")
        await eventually(lambda: dispatching.room.empty("due"), "the first code is given up")
        third = await dispatching.answer(await dispatching.resend(event, channel="gpki-mobile"))
        await dispatching.tap.read()
    assert third.number == 3
    assert dispatching.all_rejected(event) == []
    assert await dispatching.room.count("select count(*) from code where closed_code is not null") == 0


async def test_a_mailbox_that_refuses_another_code_ends_nothing(dispatching: Dispatching) -> None:
    """I-28. Its number is not given again: the mailbox may have taken it before it refused."""
    await dispatching.publish_keys()
    async with dispatching.replica():
        user = await dispatching.user()
        event = await dispatching.ask(user)
        await dispatching.dispatched(event)
        dispatching.sink.rules(**{user.email: {"rcpt": "550 5.1.1 No such user"}})
        refused = await dispatching.answer(await dispatching.resend(event))
        dispatching.sink.rules()
        answered = await dispatching.answer(await dispatching.resend(event))
    assert (refused.number, refused.refusal, refused.codes_left) == (None, "channel-unavailable", 1)
    assert (answered.number, answered.codes_left) == (3, 0)
    assert dispatching.all_rejected(event) == []


async def test_a_mailbox_that_says_later_is_told_once_and_the_ask_answered_when_it_takes_it(
    dispatching: Dispatching,
) -> None:
    await dispatching.publish_keys()
    async with dispatching.replica():
        user = await dispatching.user()
        dispatching.sink.rules(**{user.email: BUSY})
        event = await dispatching.ask(user)
        await dispatching.tap.until(lambda: dispatching.waits(event), "`waiting`")
        for tries in (1, 2):
            await dispatching.room.pool.execute("update due set at = now()")
            await eventually(partial(dispatching.room.count, LOOKED, tries), "it looked again")
        asked = await dispatching.resend(event)
        await resends_handled(dispatching, 1)
        await dispatching.tap.read()
        assert dispatching.all_answers(asked) == []
        dispatching.sink.rules()
        await dispatching.room.pool.execute("update due set at = now()")
        answered = await dispatching.answer(asked)
        await dispatching.numbered(event, 1)
    assert answered.number == 2
    (waits,) = dispatching.waits(event)
    assert (waits.stage, waits.why, waits.documents) == ("otp_dispatch", "mailbox-busy", None)
    assert waits.next_look > event.requested_at
    assert user.email not in waits.model_dump_json()
    assert len(dispatching.sink.mails(user.email)) == 2


async def test_after_its_request_ended_or_its_time_an_ask_is_too_late(dispatching: Dispatching) -> None:
    await dispatching.publish_keys()
    async with dispatching.replica():
        user = await dispatching.user()
        dispatching.sink.rules(**{user.email: {"rcpt": "550 5.1.1 No such user"}})
        ended = await dispatching.ask(user)
        await dispatching.rejected(ended)
        dispatching.sink.rules()
        old = await dispatching.ask(user)
        await dispatching.dispatched(old)
        await dispatching.room.pool.execute(
            "update code set expires_at = now() - interval '6 minutes' where request_id = $1", old.request_id
        )
        unheard = resend_of(old, requested_at=utc_now() - timedelta(minutes=16))
        asks = [await dispatching.resend(ended), await dispatching.resend(old), unheard]
        await dispatching.room.send(dispatching.routes.resend_requested, [unheard])
        answers = [await dispatching.answer(asked) for asked in asks]
    assert [(one.number, one.refusal, one.codes_left) for one in answers] == [(None, "too-late", 0)] * 3
    assert len(dispatching.sink.mails(user.email)) == 1


async def test_an_ask_that_its_caller_did_not_sign_is_put_aside_and_answered_nothing(
    dispatching: Dispatching,
) -> None:
    await dispatching.publish_keys()
    async with dispatching.replica():
        user, other = await dispatching.user(), await dispatching.user()
        event = await dispatching.ask(user)
        await dispatching.dispatched(event)
        true = resend_of(event)
        unsigned = event.signed.model_copy(update={"signature": b"x" * 64})
        forged: list[ResendRequested] = [
            resend_of(event, signed=unsigned),
            resend_of(event, user=other.user),
            resend_of(event, caller="another"),
        ]
        await dispatching.room.send(dispatching.routes.resend_requested, [*forged, true])
        await dispatching.answer(true)
        await resends_handled(dispatching, 4)
        await dispatching.tap.read()
    letters = dispatching.dead_letters(dispatching.routes.resend_requested)
    assert letters == ["caller-signature-invalid"] * 3
    assert [dispatching.all_answers(asked) for asked in forged] == [[]] * 3
    assert len(dispatching.sink.mails(user.email)) == 2
    assert dispatching.sink.mails(other.email) == []


async def resends_handled(dispatching: Dispatching, count: int) -> None:
    """Wait until so many asks are handled; they have a lane of their own."""
    room = dispatching.room
    await room.all_committed(dispatching.routes.resend_requested, count, f"{room.schema}.resends")


def by_number(event: OtpDispatched) -> int:
    return event.number


async def test_no_two_live_codes_of_one_officer_have_the_same_reference(
    dispatching: Dispatching, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The officer tells his messages by it. A code that has expired, or another officer's, is in nobody's way."""
    drawn = iter(["AAA", "AAA", "BBB", "AAA", "BBB", "CCC", "AAA", "AAA"])
    monkeypatch.setattr(making, "new_reference_code", lambda: next(drawn))
    await dispatching.publish_keys()
    async with dispatching.replica():
        user, other = await dispatching.user(), await dispatching.user()
        first, second = [await dispatching.ask(user), await dispatching.ask(user)]
        references = [(await dispatching.dispatched(event)).reference_code for event in (first, second)]
        asked = await dispatching.answer(await dispatching.resend(second))
        assert asked.number is not None
        references.append((await dispatching.numbered(second, asked.number)).reference_code)
        assert sorted(references) == ["AAA", "BBB", "CCC"]
        assert (await dispatching.dispatched(await dispatching.ask(other))).reference_code == "AAA"
        await dispatching.room.pool.execute("update code set expires_at = now() where reference_code = 'AAA'")
        assert (await dispatching.dispatched(await dispatching.ask(user))).reference_code == "AAA"
