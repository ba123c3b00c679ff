"""otp_dispatch on real Kafka, PostgreSQL and SMTP: one code per request, bound to what the officer reads."""

from datetime import timedelta

import pytest

from libs.contracts.manifest import MAX_DOCUMENTS
from libs.contracts.reasons import Reason
from libs.contracts.signing import MediumResolved
from libs.contracts.waiting import WaitsFor
from libs.crypto.challenge import otp_matches
from libs.runtime.clock import utc_now
from services.otp_dispatch import dispatch
from tests.integration.otp_dispatch.conftest import Dispatching, code_in, without_identifiers
from tests.support.requests import documents, header, key_state, medium_resolved, new_user, user_state
from tests.support.waiting import eventually, loop_is_never_held


async def test_the_same_event_ten_times_is_one_mail_with_one_code(dispatching: Dispatching) -> None:
    await dispatching.publish_keys()
    async with dispatching.replica():
        user = await dispatching.user()
        event = await dispatching.ask(user, count=3)
        await dispatching.room.send(dispatching.routes.medium_resolved, [event] * 9)
        dispatched = await dispatching.dispatched(event)
        await dispatching.room.all_committed(dispatching.routes.medium_resolved, 10)
        await dispatching.tap.read()
    assert len(dispatching.all_dispatched(event)) == 1
    (mail,) = dispatching.sink.mails(user.email)
    otp, reference = code_in(mail)
    assert (dispatched.reference_code, dispatched.number, dispatched.user) == (reference, 1, user.user)
    assert (dispatched.channel, dispatched.destination) == ("e-mail", "p***@anm.example")
    assert dispatched.expires_at - dispatched.delivered_at == timedelta(minutes=10)
    root = event.signed.manifest.commitment().root
    challenge = dispatching.opened(dispatched, root)
    assert otp_matches(challenge, otp)
    assert (challenge.root, challenge.user, challenge.credential_id, challenge.expires_at) == (
        *(root, user.user, str(event.credential_id)),
        dispatched.expires_at,
    )


async def test_after_the_record_the_code_is_nowhere_in_the_database(dispatching: Dispatching) -> None:
    """I-16."""
    await dispatching.publish_keys()
    async with dispatching.replica():
        users = [await dispatching.user() for _ in range(3)]
        events = [await dispatching.ask(user) for user in users]
        for event in events:
            await dispatching.dispatched(event)
        await dispatching.room.all_committed(dispatching.routes.medium_resolved, 3)
    dump = await dispatching.dump()
    for user in users:
        (mail,) = dispatching.sink.mails(user.email)
        otp, reference = code_in(mail)
        assert f"\n{reference}\n" in dump, "the dump does not show texts"
        assert f'"reference_code":"{reference}"' in dump, "the dump does not show bytes"
        assert otp not in dump
        published = b"".join(record.value or b"" for record in dispatching.tap.records).decode("latin-1")
        assert otp not in without_identifiers(published)
    assert await dispatching.room.pool.fetchval("select count(*) from code where closed_code is not null") == 0
    assert await dispatching.room.pool.fetchval("select count(*) from code where delivered_at is not null") == 3


async def test_a_request_of_another_event_id_gets_no_second_code(dispatching: Dispatching) -> None:
    """A code belongs to the request: even an event that should not exist twice ends nothing and sends nothing."""
    await dispatching.publish_keys()
    async with dispatching.replica():
        user = await dispatching.user()
        event = await dispatching.ask(user)
        await dispatching.dispatched(event)
        again = _under_another_id(dispatching, event)
        await dispatching.room.producer.send_and_wait(**again)
        await dispatching.room.all_committed(dispatching.routes.medium_resolved, 2)
        await dispatching.tap.read()
    assert len(dispatching.sink.mails(user.email)) == 1
    assert len(dispatching.all_dispatched(event)) == 1
    assert dispatching.all_rejected(event) == []


async def test_a_forged_or_foreign_event_is_put_aside_and_nothing_else(dispatching: Dispatching) -> None:
    await dispatching.publish_keys()
    async with dispatching.replica():
        user = await dispatching.user()
        true = medium_resolved(header(user.user), documents(1), dispatching.caller)
        unsigned = true.signed.model_copy(update={"signature": b"x" * 64})
        other_system = medium_resolved(header(user.user, system="eSPKWS"), documents(1), dispatching.caller)
        other_caller = medium_resolved(header(user.user, caller="another"), documents(1), dispatching.caller)
        borrowed = medium_resolved(header(user.user), documents(1), dispatching.caller, request_id=true.request_id)
        forged = [true.model_copy(update={"signed": unsigned}), other_system, other_caller, borrowed]
        await dispatching.room.send(dispatching.routes.medium_resolved, forged)
        await dispatching.room.all_committed(dispatching.routes.medium_resolved, len(forged))
        await dispatching.tap.read()
        assert dispatching.dead_letters() == [Reason.CALLER_SIGNATURE_INVALID] * len(forged)
        assert dispatching.sink.mails(user.email) == []
        assert [dispatching.all_rejected(event) for event in forged] == [[]] * len(forged)
        await dispatching.room.send(dispatching.routes.medium_resolved, [true])
        await dispatching.dispatched(true)
    assert len(dispatching.sink.mails(user.email)) == 1


async def test_a_callers_key_that_comes_a_moment_later_is_waited_for(
    dispatching: Dispatching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "OVERTAKEN", timedelta(hours=1))  # its end is said below

    async def parked() -> bool:
        return not await dispatching.room.empty("due where why = 'caller-key-unknown'")

    await dispatching.publish_keys()
    async with dispatching.replica():
        user, late = await dispatching.user(), dispatching.pki.caller()
        event = medium_resolved(header(user.user), documents(1), late)
        await dispatching.room.send(dispatching.routes.medium_resolved, [event])
        await eventually(parked, "the request waits")
        key = key_state(late, "caller", "igfmas", dispatching.pki)
        await dispatching.room.send(dispatching.routes.keys, [key])
        known = "select count(*) from key_state where key_id = $1"
        await eventually(lambda: dispatching.room.count(known, key.key_id), "the key is known")
        await dispatching.room.pool.execute("update due set at = now()")
        await dispatching.dispatched(event)
    assert dispatching.dead_letters() == []


async def test_other_content_under_the_same_id_sends_nothing(dispatching: Dispatching) -> None:
    await dispatching.publish_keys()
    async with dispatching.replica():
        user = await dispatching.user()
        event = await dispatching.ask(user)
        await dispatching.dispatched(event)
        head = event.signed.manifest.header.model_dump()
        other = medium_resolved(head | {"count": "2"}, documents(2), dispatching.caller)
        await dispatching.room.send(dispatching.routes.medium_resolved, [other])
        await dispatching.room.all_committed(dispatching.routes.medium_resolved, 2)
        await dispatching.tap.read()
    (why,) = dispatching.dead_letters()
    assert why.startswith(Reason.ID_CONFLICT)
    assert len(dispatching.sink.mails(user.email)) == 1
    assert dispatching.all_rejected(event) == []


async def test_who_cannot_get_a_code_is_told_why(dispatching: Dispatching) -> None:
    await dispatching.publish_keys()
    async with dispatching.replica():
        user, phone = await dispatching.user(), await dispatching.user(channels=("gpki-mobile",))
        late = await dispatching.ask(user, requested_at=utc_now() - timedelta(minutes=15))
        mobile = await dispatching.ask(phone)
        unknown = await dispatching.ask(user_state(new_user()))
        token = await dispatching.ask(user, medium="token")
        for event, reason in [
            (late, Reason.OTP_UNDELIVERABLE),
            (mobile, Reason.OTP_UNDELIVERABLE),
            (unknown, Reason.USER_UNKNOWN),
        ]:
            rejected = await dispatching.rejected(event)
            assert (rejected.reason, rejected.stage, rejected.documents) == (reason, "otp_dispatch", None)
            assert rejected.safe_to_retry is reason.safe_to_retry
            assert rejected.header == event.signed.manifest.header
        await dispatching.room.all_committed(dispatching.routes.medium_resolved, 4)
    assert dispatching.sink.mails(user.email) == dispatching.sink.mails(phone.email) == []
    assert not dispatching.all_rejected(token)
    assert not dispatching.all_dispatched(token)


async def test_a_user_whose_state_comes_a_moment_later_gets_the_code(
    dispatching: Dispatching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "OVERTAKEN", timedelta(hours=1))  # its end is said below
    await dispatching.publish_keys()
    async with dispatching.replica():
        user = user_state(new_user())
        event = await dispatching.ask(user)

        async def parked() -> bool:
            why = "select count(*) from due where why = $1"
            return await dispatching.room.pool.fetchval(why, Reason.USER_UNKNOWN) == 1

        await eventually(parked, "the request waits")
        await dispatching.room.send(dispatching.routes.user, [user])
        known = "select count(*) from user_state where user_id = $1"
        await eventually(lambda: dispatching.room.count(known, user.user), "the user is known")
        await dispatching.room.pool.execute("update due set at = now()")
        await dispatching.dispatched(event)
    assert len(dispatching.sink.mails(user.email)) == 1


async def test_without_a_sealing_key_codes_wait_for_one(dispatching: Dispatching) -> None:
    await dispatching.publish_keys(sealing=False)
    async with dispatching.replica():
        user = await dispatching.user()
        event = await dispatching.ask(user)
        await eventually(lambda: not dispatching.ready("sealing-key"), "it waits for the key")
        assert await dispatching.room.pool.fetchval("select count(*) from code") == 0
        await dispatching.tap.until(lambda: dispatching.waits(event), "`waiting`")
        key = key_state(dispatching.sealing, "sealing", "sealing key", dispatching.pki)
        await dispatching.room.send(dispatching.routes.keys, [key])
        dispatched = await dispatching.dispatched(event)
    assert dispatched.sealing_key_id == key.key_id
    assert len(dispatching.sink.mails(user.email)) == 1
    (told,) = dispatching.waits(event)
    assert (told.stage, told.why, told.documents) == ("otp_dispatch", WaitsFor.SEALING_KEY, None)


async def test_two_replicas_share_the_work_and_make_one_code_each(dispatching: Dispatching) -> None:
    await dispatching.publish_keys()
    async with dispatching.replica(), dispatching.replica():
        users = [await dispatching.user() for _ in range(20)]
        events = [await dispatching.ask(user) for user in users]
        for event in events:
            await dispatching.dispatched(event)
    for user in users:
        mails = dispatching.sink.mails(user.email)
        assert len({(mail["Message-ID"], code_in(mail)) for mail in mails}) == 1
    assert await dispatching.room.pool.fetchval("select count(*) from code") == len(users)


async def test_ten_thousand_documents_get_their_code_without_holding_the_event_loop(dispatching: Dispatching) -> None:
    await dispatching.publish_keys()
    async with dispatching.replica():
        user = await dispatching.user()
        event = await dispatching.ask(user, count=MAX_DOCUMENTS)
        async with loop_is_never_held():
            await dispatching.room.all_committed(dispatching.routes.medium_resolved, 1)
        await dispatching.dispatched(event)
    (mail,) = dispatching.sink.mails(user.email)
    assert f"Bilangan dokumen: {MAX_DOCUMENTS}" in mail.get_content()


def _under_another_id(dispatching: Dispatching, event: MediumResolved) -> dict[str, object]:
    (record,) = dispatching.tap.of(dispatching.routes.medium_resolved)
    headers = [(name, b"another" if name == "ce_id" else value) for name, value in record.headers]
    assert record.value == event.model_dump_json().encode()
    return {"topic": record.topic, "value": record.value, "key": record.key, "headers": headers}
