"""How many codes an officer is sent: whoever asks, through whichever replica, and what ends a hold."""

from datetime import datetime, timedelta

import pytest

from libs.bus import outcomes
from libs.contracts.base import Event
from libs.contracts.not_me import HOLD, NotMe
from libs.contracts.progress import Progressed
from libs.contracts.reasons import Reason
from libs.contracts.signing import AuthorisationFailed, MediumResolved
from libs.contracts.state import User
from libs.contracts.topics import Topic
from libs.contracts.waiting import WaitsFor
from libs.runtime import metrics
from libs.runtime.clock import utc_now
from services.otp_dispatch import pacing
from tests.integration.otp_dispatch.conftest import Dispatching
from tests.integration.otp_dispatch.test_gpki_mobile import BOTH, with_phone
from tests.support.devices import Phone
from tests.support.waiting import eventually

MINUTE = 10
"""Codes in a minute."""

HELD_UNTIL = "select held_until from officer where user_id = $1"


async def told(dispatching: Dispatching, topic: Topic, *events: Event) -> None:
    """Tell it what the signer, or a device, said, and wait until it was heard."""
    room = dispatching.room
    await room.send(topic, events)
    await dispatching.tap.read()
    await room.all_committed(topic, len(dispatching.tap.of(topic)), f"{room.schema}.answers")


async def unanswered(dispatching: Dispatching, user: User, count: int, *, age: timedelta) -> None:
    """So many codes went to the officer so long ago, and nobody answered."""
    await dispatching.room.pool.execute("insert into officer (user_id) values ($1) on conflict do nothing", user.user)
    await dispatching.room.pool.execute(
        "insert into code (request_id, number, reference_code, message_id, sealing_key, user_id, reserved_at) "
        "select gen_random_uuid(), 1, 'K7Q', '<x>', '', $1, now() - $3::interval from generate_series(1, $2)",
        user.user,
        count,
        age,
    )


async def is_held(dispatching: Dispatching, event: MediumResolved) -> datetime:
    """The request is refused over a hold, which ends then."""
    rejected = await dispatching.rejected(event)
    assert (rejected.reason, rejected.documents, rejected.safe_to_retry) == (Reason.OTP_HELD, None, True)
    assert rejected.held_until is not None
    return rejected.held_until


async def test_a_flood_over_two_replicas_is_ten_mails_and_a_right_answer_lets_the_next_one_go(
    dispatching: Dispatching,
) -> None:
    """I-46: what is over the pace waits, and says so; another officer waits for nobody."""
    await dispatching.publish_keys()
    async with dispatching.replica(), dispatching.replica():
        user, other = await dispatching.user(), await dispatching.user()
        events = [await dispatching.ask(user) for _ in range(MINUTE + 3)]
        await dispatching.dispatched(await dispatching.ask(other))

        def each_is_told() -> bool:  # a replica that tells to wait does not wait for the other's mails
            return all(dispatching.waits(event) or dispatching.all_dispatched(event) for event in events)

        await dispatching.tap.until(each_is_told, "each got a code, or is told to wait")
        assert sum(bool(dispatching.waits(event)) for event in events) == 3
        sent = [event for event in events if dispatching.all_dispatched(event)]
        assert len(sent) == len(dispatching.sink.mails(user.email)) == MINUTE
        (waits,) = {wait.why for event in events for wait in dispatching.waits(event)}
        assert waits == WaitsFor.OTP_PACE
        assert not any(dispatching.all_rejected(event) for event in events)
        right = Progressed(request_id=sent[0].request_id, stage="signed", documents=("BB000000",))
        await told(dispatching, dispatching.routes.progressed, right)
        await dispatching.room.pool.execute("update due set at = now()")
        for event in events:
            await dispatching.dispatched(event)
    assert len(dispatching.sink.mails(user.email)) == len(events)


async def test_without_the_pace_the_same_flood_fills_the_mailbox(
    dispatching: Dispatching, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I-46, switched off."""
    monkeypatch.setattr(pacing, "PACES", ())
    await dispatching.publish_keys()
    async with dispatching.replica():
        user = await dispatching.user()
        events = [await dispatching.ask(user) for _ in range(MINUTE + 3)]
        for event in events:
            await dispatching.dispatched(event)
    assert len(dispatching.sink.mails(user.email)) == MINUTE + 3


@pytest.mark.parametrize("freed_by", [Reason.PIN_INCORRECT, Reason.AUTHORISATION_EXPIRED])
async def test_thirty_codes_of_a_day_that_nobody_answered_hold_the_next_until_the_first_is_a_day_old(
    dispatching: Dispatching, freed_by: Reason
) -> None:
    """I-46: said with its end; an open request keeps its code, and its ask for another is answered `held`."""
    await dispatching.publish_keys()
    async with dispatching.replica():
        user = await dispatching.user()
        await unanswered(dispatching, user, 29, age=timedelta(hours=2))
        first = await dispatching.ask(user)
        await dispatching.dispatched(first)
        until = await is_held(dispatching, await dispatching.ask(user))
        assert timedelta(hours=21, minutes=59) < until - utc_now() <= timedelta(hours=22)
        answered = await dispatching.answer(await dispatching.resend(first))
        assert (answered.number, answered.refusal, answered.codes_left) == (None, "held", 2)
        assert answered.held_until == until
        assert not dispatching.all_rejected(first)
        await told(dispatching, dispatching.routes.authorisation_failed, failed(first, Reason.OTP_INCORRECT))
        assert await is_held(dispatching, await dispatching.ask(user)) == until
        # A wrong PIN is tried beside a right code only; and what our outage kept is held against nobody.
        await told(dispatching, dispatching.routes.authorisation_failed, failed(first, freed_by))
        await dispatching.dispatched(await dispatching.ask(user))


async def test_the_signers_hold_holds_further_codes_for_no_longer_than_a_day(dispatching: Dispatching) -> None:
    """I-45: and a wrong code is no right answer. Who is held is told to a person."""
    alarms = metrics.ALARMS.labels("otp_dispatch", Reason.OTP_HELD)._value
    before = alarms.get()
    await dispatching.publish_keys()
    async with dispatching.replica():
        user = await dispatching.user()
        event = await dispatching.ask(user)
        await dispatching.dispatched(event)
        soon = utc_now() + timedelta(hours=3)
        held = failed(event, Reason.OTP_INCORRECT, held_until=soon)
        await told(dispatching, dispatching.routes.authorisation_failed, held)
        assert alarms.get() == before
        assert await is_held(dispatching, await dispatching.ask(user)) == soon
        assert alarms.get() == before + 1
        far = failed(event, Reason.OTP_INCORRECT, held_until=utc_now() + timedelta(days=365))
        await told(dispatching, dispatching.routes.authorisation_failed, far)
        until = await is_held(dispatching, await dispatching.ask(user))
        assert until <= utc_now() + timedelta(hours=24)


async def test_not_me_holds_for_an_hour_and_forged_stale_or_said_again_it_holds_nothing(
    dispatching: Dispatching, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I-47."""
    monkeypatch.setattr(outcomes, "OVERTAKEN", timedelta(hours=1))  # until it is had to look again
    await dispatching.publish_keys()
    phone, stranger = Phone(), Phone()
    topic = dispatching.routes.not_me
    async with dispatching.replica():
        user, other = await with_phone(dispatching, phone), await dispatching.user()
        mine, others = await dispatching.ask(user, channels=BOTH), await dispatching.ask(other)
        await dispatching.dispatched(mine)
        await dispatching.dispatched(others)
        genuine = phone.not_me(mine.request_id, user.user)
        forgeries: list[NotMe] = [
            stranger.not_me(mine.request_id, user.user),
            stranger.not_me(mine.request_id, user.user, device_id=phone.device_id),
            phone.not_me(mine.request_id, user.user, said_at=utc_now() - timedelta(minutes=6)),
            phone.not_me(others.request_id, user.user),
            phone.not_me(others.request_id, other.user),
            genuine.model_copy(update={"statement": genuine.statement.model_copy(update={"reference_code": "XYZ"})}),
        ]
        await dispatching.room.send(topic, forgeries)
        why = "select count(*) from due where why like 'not-me%'"
        await eventually(lambda: _equals(dispatching, why, len(forgeries)), "each is looked at twice")
        await dispatching.room.pool.execute("update due set at = now()")
        await dispatching.tap.until(lambda: len(dispatching.dead_letters(topic)) == len(forgeries), "dead letters")
        assert await dispatching.room.pool.fetchval(HELD_UNTIL, user.user) is None
        assert await dispatching.room.pool.fetchval(HELD_UNTIL, other.user) is None
        await told(dispatching, topic, genuine)
        until = await is_held(dispatching, await dispatching.ask(user, channels=BOTH))
        assert until == genuine.statement.said_at + HOLD
        await told(dispatching, topic, genuine, genuine)
        assert await dispatching.room.pool.fetchval(HELD_UNTIL, user.user) == until


def failed(event: MediumResolved, reason: Reason, **values: datetime) -> AuthorisationFailed:
    """What the signer says of an attempt."""
    attempt = f"{reason}-{len(values)}-{values.get('held_until')}"
    return AuthorisationFailed(
        request_id=event.request_id, attempt=attempt, reason=reason, safe_to_retry=True, **values
    )


async def _equals(dispatching: Dispatching, query: str, expected: int) -> bool:
    return bool(await dispatching.room.count(query) == expected)
