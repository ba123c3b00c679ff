"""A cancel of what medium_lookup ends is answered once; what it has handed on is another's to answer."""

from datetime import timedelta

import pytest

from libs.contracts.reasons import Reason
from libs.storage import cancels
from services.medium_lookup import handlers
from tests.integration.medium_lookup.conftest import Lookup
from tests.support.requests import (
    cancel_of,
    certificate_state,
    documents,
    header,
    new_user,
    requested,
    user_state,
)
from tests.support.waiting import eventually


async def test_a_cancel_before_its_request_ends_it_when_it_comes_and_is_answered_once(lookup: Lookup) -> None:
    """I-23."""
    user = await lookup.user()
    event = requested(header(user.user), documents(1), lookup.caller)
    asked = cancel_of(event.manifest.header)
    await lookup.cancel(*[asked] * 10)
    assert lookup.answers(asked.request_id) == []

    await lookup.room.send(lookup.routes.requested, [event] * 2)
    await lookup.handled(2)
    (rejected,) = lookup.rejected(asked.request_id)
    assert (rejected.reason, rejected.documents, rejected.safe_to_retry) == (Reason.CANCELLED, None, True)
    (answer,) = lookup.answers(asked.request_id)
    assert (answer.cancellation, answer.answer) == (asked.cancellation, "accepted")
    assert lookup.resolved() == []
    assert await lookup.room.empty("cancel")

    await lookup.cancel(*[asked] * 10)
    assert lookup.answers(asked.request_id) == [answer]
    assert lookup.dead_letters(lookup.routes.cancel_requested) == []


async def test_a_cancel_of_a_request_that_waits_for_its_user_ends_it_instead(
    lookup: Lookup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "OVERTAKEN", timedelta(hours=1))  # its end is said below
    user = user_state(new_user())
    event = requested(header(user.user), documents(1), lookup.caller)
    await lookup.room.send(lookup.routes.requested, [event])
    await eventually(lambda: lookup.room.count("select count(*) from due where partition is not null"), "it waits")
    asked = cancel_of(event.manifest.header)
    await lookup.cancel(asked)
    await lookup.room.send(lookup.routes.certificate, [certificate_state(user)])
    await lookup.tell(lookup.routes.user, user)
    await lookup.room.pool.execute("update due set at = now()")
    await lookup.tap.until(lambda: lookup.answers(asked.request_id), "answered")
    (rejected,) = lookup.rejected(asked.request_id)
    assert rejected.reason is Reason.CANCELLED
    assert lookup.resolved() == []


async def test_what_was_handed_on_is_answered_by_nobody_here_and_not_ended(lookup: Lookup) -> None:
    user = await lookup.user()
    event = requested(header(user.user), documents(1), lookup.caller)
    await lookup.room.send(lookup.routes.requested, [event])
    await lookup.handled(1)
    asked = cancel_of(event.manifest.header)
    await lookup.cancel(asked)
    assert len(lookup.resolved()) == 1
    assert not lookup.answers(asked.request_id)
    assert not lookup.rejected(asked.request_id)
    assert await lookup.room.empty("cancel")


async def test_a_cancel_of_what_was_refused_here_is_too_late(lookup: Lookup) -> None:
    event = requested(header((await lookup.user()).user, system="eSPKWS"), documents(1), lookup.caller)
    await lookup.room.send(lookup.routes.requested, [event])
    await lookup.handled(1)
    asked = cancel_of(event.manifest.header)
    await lookup.cancel(asked)
    assert [one.answer for one in lookup.answers(asked.request_id)] == ["too-late"]
    assert [one.reason for one in lookup.rejected(asked.request_id)] == [Reason.CALLER_NOT_ALLOWED]


@pytest.mark.parametrize("other", [{"user": "999999999999"}, {"caller": "somebody-else"}], ids=str)
async def test_a_cancel_of_another_user_or_caller_ends_nothing_before_or_after(
    lookup: Lookup, other: dict[str, str]
) -> None:
    user = await lookup.user()
    resolved, refused = (
        requested(header(user.user, **head), documents(1), lookup.caller) for head in ({}, {"system": "eSPKWS"})
    )
    forged = [cancel_of(event.manifest.header, **other) for event in (resolved, refused)]
    await lookup.cancel(forged[0])
    await lookup.room.send(lookup.routes.requested, [resolved, refused])
    await lookup.handled(2)
    await lookup.cancel(forged[1])
    assert [str(one.request_id) for one in lookup.resolved()] == [resolved.key]
    assert lookup.answers(forged[0].request_id) == lookup.answers(forged[1].request_id) == []
    assert lookup.dead_letters(lookup.routes.cancel_requested) == ["the cancel is not of the request's caller and user"]


async def test_a_request_that_comes_while_its_cancel_is_being_kept_is_ended_by_it(lookup: Lookup) -> None:
    """Neither sees the other's row before it commits: without the lock the cancel would be kept and never applied."""
    event = requested(header((await lookup.user()).user), documents(1), lookup.caller)
    asked = cancel_of(event.manifest.header)
    pool = await lookup.room.more_connections()
    async with pool.acquire() as connection, connection.transaction():
        await cancels.lock(connection, asked.request_id)
        await cancels.keep(connection, asked)
        await lookup.room.send(lookup.routes.requested, [event])
        waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
        await eventually(lambda: lookup.room.count(waiting), "the request waits for the lock")
    await lookup.handled(1)
    assert [one.answer for one in lookup.answers(asked.request_id)] == ["accepted"]
    assert lookup.resolved() == []
