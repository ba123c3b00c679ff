"""What fails around otp_dispatch: a crash, the relay, one mailbox. Nothing is lost, and no second code exists."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from libs.contracts.reasons import Reason
from libs.contracts.signing import MediumResolved
from libs.contracts.waiting import WaitsFor
from libs.crypto.challenge import otp_matches
from libs.runtime.clock import utc_now
from libs.runtime.settings import secret_fields
from services.otp_dispatch import under_way
from services.otp_dispatch.app import serve
from tests.integration.otp_dispatch.conftest import Dispatching, code_in
from tests.support.stack import WITH_US
from tests.support.waiting import eventually


async def test_a_crash_between_mail_and_record_sends_the_same_code_again(dispatching: Dispatching) -> None:
    await dispatching.publish_keys()
    async with process(dispatching) as victim:
        user = await dispatching.user()
        async with no_record(dispatching):  # the crash falls between mail and record
            event = await dispatching.ask(user)
            await eventually(lambda: dispatching.sink.mails(user.email), "the mail is out")
            victim.kill()
            await victim.wait()
    await dispatching.tap.read()
    assert dispatching.all_dispatched(event) == []
    otp, _ = code_in(dispatching.sink.mails(user.email)[0])
    assert await dispatching.room.pool.fetchval("select count(*) from code where closed_code is not null") == 1
    assert otp not in await dispatching.dump()

    async with process(dispatching):
        dispatched = await dispatching.dispatched(event)
    mails = dispatching.sink.mails(user.email)
    assert len(mails) == 2
    assert len({(mail["Message-ID"], code_in(mail)) for mail in mails}) == 1
    challenge = dispatching.opened(dispatched, event.signed.manifest.commitment().root)
    assert otp_matches(challenge, otp)
    assert await dispatching.room.pool.fetchval("select count(*) from code") == 1
    assert await dispatching.room.pool.fetchval("select count(*) from code where closed_code is not null") == 0
    assert otp not in await dispatching.dump()


async def test_while_the_relay_is_away_requests_wait_and_then_get_one_mail_each(dispatching: Dispatching) -> None:
    await dispatching.publish_keys()
    async with dispatching.replica():
        users = [await dispatching.user() for _ in range(8)]
        before = [await dispatching.ask(user) for user in users[:2]]
        for event in before:
            await dispatching.dispatched(event)
        await dispatching.sink.kill()
        during = [await dispatching.ask(user) for user in users[2:]]
        await eventually(lambda: not dispatching.ready("relay"), "it waits for the relay")
        await dispatching.tap.read()
        assert [dispatching.all_dispatched(event) for event in during] == [[]] * len(during)
        await dispatching.tap.until(lambda: any(map(dispatching.waits, during)), "`waiting`")
        await dispatching.sink.start()
        for event in during:
            await dispatching.dispatched(event)
        await eventually(lambda: dispatching.ready("relay"), "it is well again")
    for user in users:
        assert len(dispatching.sink.mails(user.email)) == 1
    assert dispatching.dead_letters() == []
    assert [dispatching.all_rejected(event) for event in during] == [[]] * len(during)
    told = [wait for event in during for wait in dispatching.waits(event)]
    assert {(wait.stage, wait.why, wait.documents) for wait in told} == {("otp_dispatch", WaitsFor.RELAY, None)}
    assert len(told) == len({wait.request_id for wait in told}), "each once"


@pytest.mark.parametrize(
    "rule",
    [{"rcpt": "450 4.2.1 Mailbox busy"}, {"data": "452 4.2.2 Mailbox full"}, {"rcpt": "421 4.3.2 Closing"}],
    ids=str,
)
async def test_of_all_mailboxes_only_the_one_that_says_later_waits(
    dispatching: Dispatching, rule: dict[str, str]
) -> None:
    await dispatching.publish_keys()
    async with dispatching.replica():
        busy, well = await dispatching.user(), await dispatching.user()
        dispatching.sink.rules(**{busy.email: rule})
        waits, goes = await dispatching.ask(busy), await dispatching.ask(well)
        await dispatching.dispatched(goes)
        await eventually(lambda: due(dispatching, waits), "the mailbox is left alone")
        assert dispatching.ready("relay")
        assert not dispatching.all_dispatched(waits)
        assert not dispatching.all_rejected(waits)
        reserved = await code_row(dispatching, waits)
        dispatching.sink.rules()
        await dispatching.room.pool.execute("update due set at = now()")
        dispatched = await dispatching.dispatched(waits)
    (mail,) = dispatching.sink.mails(busy.email)
    assert mail["Message-ID"] == reserved["message_id"]
    assert code_in(mail)[1] == dispatched.reference_code == reserved["reference_code"]
    assert await dispatching.room.pool.fetchval("select count(*) from due") == 0


async def test_a_mailbox_that_the_relay_is_slow_with_holds_up_no_other_and_gets_one_mail(
    dispatching: Dispatching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_way, "PATIENCE", 1.0)
    await dispatching.publish_keys()
    async with dispatching.replica():
        slow, well = await dispatching.user(), await dispatching.user()
        dispatching.sink.rules(**{slow.email: {"held": True}})
        waits = await dispatching.ask(slow)
        await eventually(lambda: due(dispatching, waits), "its message goes on by itself")
        await dispatching.dispatched(await dispatching.ask(well))
        assert not dispatching.all_dispatched(waits)
        dispatching.sink.rules()
        await dispatching.dispatched(waits)
    assert len(dispatching.sink.mails(slow.email)) == 1
    assert await dispatching.room.pool.fetchval("select count(*) from due") == 0


@pytest.mark.parametrize("rule", [{"rcpt": "550 5.1.1 No such user"}, {"data": "554 5.6.0 Refused"}], ids=str)
async def test_a_mailbox_that_says_no_ends_the_request_and_the_code(
    dispatching: Dispatching, rule: dict[str, str]
) -> None:
    await dispatching.publish_keys()
    async with dispatching.replica():
        user, well = await dispatching.user(), await dispatching.user()
        dispatching.sink.rules(**{user.email: rule})
        event, goes = await dispatching.ask(user), await dispatching.ask(well)
        rejected = await dispatching.rejected(event)
        await dispatching.dispatched(goes)
    assert (rejected.reason, rejected.safe_to_retry) == (Reason.OTP_UNDELIVERABLE, True)
    assert user.email not in rejected.model_dump_json()
    assert (await code_row(dispatching, event))["closed_code"] is None
    assert dispatching.sink.mails(user.email) == []


async def test_a_mailbox_that_says_later_for_fifteen_minutes_is_given_up(dispatching: Dispatching) -> None:
    await dispatching.publish_keys()
    ahead = timedelta()
    clock = lambda: utc_now() + ahead  # noqa: E731
    async with serve(dispatching.settings, dispatching.health, dispatching.routes, clock=clock):
        user = await dispatching.user()
        dispatching.sink.rules(**{user.email: {"rcpt": "450 4.2.1 Mailbox busy"}})
        event = await dispatching.ask(user)
        await eventually(lambda: due(dispatching, event), "the mailbox is left alone")
        assert (await code_row(dispatching, event))["closed_code"] is not None
        ahead = timedelta(minutes=15)
        await dispatching.room.pool.execute("update due set at = now()")
        rejected = await dispatching.rejected(event)
    assert rejected.reason is Reason.OTP_UNDELIVERABLE
    assert (await code_row(dispatching, event))["closed_code"] is None
    assert dispatching.sink.mails(user.email) == []


async def test_with_another_key_a_reserved_code_is_given_up_not_replaced(dispatching: Dispatching) -> None:
    """The code may have been read already; a second one under the same number must never exist."""
    await dispatching.publish_keys()
    user_rule = {"rcpt": "450 4.2.1 Mailbox busy"}
    async with dispatching.replica():
        user = await dispatching.user()
        dispatching.sink.rules(**{user.email: user_rule})
        event = await dispatching.ask(user)
        await eventually(lambda: due(dispatching, event), "the mailbox is left alone")
    dispatching.sink.rules()
    await dispatching.room.pool.execute("update due set at = now()")
    other = type(dispatching.settings.otp_key)(b"00" * 32)
    async with dispatching.replica(otp_key=other):
        rejected = await dispatching.rejected(event)
    assert rejected.reason is Reason.OTP_UNDELIVERABLE
    assert dispatching.sink.mails(user.email) == []


@asynccontextmanager
async def process(dispatching: Dispatching, *, stderr: int | None = None) -> AsyncIterator[asyncio.subprocess.Process]:
    """A replica as a process; killed at the end if it still runs."""
    settings = dispatching.settings
    topics = {name: topic.name for name, topic in vars(dispatching.routes).items()}
    environment = {
        "PATH": os.environ["PATH"],
        "GPKI_SECRETS_DIR": str(dispatching.secrets),
        **{
            f"GPKI_{name.upper()}": str(getattr(settings, name))
            for name in type(settings).model_fields
            if name not in secret_fields(type(settings)) and getattr(settings, name) is not None
        },
    }
    child = await asyncio.create_subprocess_exec(
        *(*WITH_US, sys.executable, "-m", "tests.integration.otp_dispatch.replica", json.dumps(topics)),
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=stderr,
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


async def due(dispatching: Dispatching, event: MediumResolved) -> bool:
    """Whether this request waits for its mailbox."""
    query = "select count(*) from due where request_id = $1 and why like 'mailbox%'"
    return await dispatching.room.pool.fetchval(query, event.request_id) == 1


async def code_row(dispatching: Dispatching, event: MediumResolved) -> dict[str, object]:
    """The one code of a request."""
    (row,) = await dispatching.room.pool.fetch("select * from code where request_id = $1", event.request_id)
    return dict(row)


@asynccontextmanager
async def no_record(dispatching: Dispatching) -> AsyncIterator[None]:
    """Readers pass, and the reservation of a code; what follows from an event cannot be recorded."""
    known = "select count(distinct purpose) from key_state where purpose in ('caller', 'sealing')"

    async def recorded() -> bool:
        return await dispatching.room.count(known) == 2

    await eventually(recorded, "the keys are recorded, which they could not be now")
    blocker = await dispatching.room.superuser()
    try:
        async with blocker.transaction():
            await blocker.execute(f"lock table {dispatching.room.schema}.inbox in share mode")
            yield
    finally:
        await blocker.close()
