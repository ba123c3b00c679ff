"""A cancel is handed on once, by those alone whose request it is, and the status tells what came of it."""

import asyncio
from uuid import uuid4

from libs.contracts.cancelling import CancelAnswer, CancelAnswered
from libs.contracts.problems import ProblemCode
from libs.contracts.progress import Progressed
from libs.contracts.signing import Completed
from services.gateway.schemas import CancelAccepted, SigningStatus
from tests.integration.gateway.conftest import Door, code_of
from tests.support.requests import documents, header, key_state, medium_resolved, new_user
from tests.unit.gateway.histories import completed, signed


def answers(status: SigningStatus) -> list[CancelAnswer | None]:
    return [one.answer for one in status.cancellations]


async def test_a_cancel_is_published_shown_as_asked_and_then_with_its_answer(door: Door) -> None:
    event = await door.awaiting()
    head = event.signed.manifest.header
    answer = await door.cancel(event, uuid4().hex)
    assert answer.status_code == 202
    accepted = CancelAccepted.model_validate_json(answer.content)
    assert answer.headers["location"] == accepted.status_url == f"/v1/signings/{event.request_id}"
    ((_, published),) = await door.cancels(event)
    assert (published.cancellation, published.caller, published.user) == (accepted.cancellation, "igfmas", head.user)
    (asked,) = (await door.status(event.request_id, head.user)).cancellations
    assert (asked.cancellation, asked.answer) == (accepted.cancellation, None)

    told = CancelAnswered(request_id=event.request_id, cancellation=accepted.cancellation, answer="accepted")
    await door.room.send(door.routes.cancel_answered, [told] * 2)
    await door.until(head, lambda status: answers(status) == ["accepted"], "the answer")
    rows = await door.room.pool.fetch("select kind from timeline where request_id = $1 order by seq", event.request_id)
    assert [row["kind"] for row in rows if row["kind"].startswith("cancel")] == ["cancel-requested", "cancel-answered"]


async def test_the_same_cancel_many_times_at_once_is_one_event_and_one_answer(door: Door) -> None:
    event = await door.awaiting()
    key = uuid4().hex
    found = await asyncio.gather(*(door.cancel(event, key) for _ in range(10)))
    assert {(answer.status_code, answer.text) for answer in found} == {(202, found[0].text)}
    assert len({identifier for identifier, _ in await door.cancels(event)}) == 1
    status = await door.status(event.request_id, event.signed.manifest.header.user)
    assert answers(status) == [None]


async def test_another_user_or_caller_is_told_that_there_is_no_such_request(door: Door) -> None:
    event = await door.awaiting()
    stranger = door.pki.caller("somebody-else")
    await door.tell(key_state(stranger, "caller", "somebody-else", door.pki))
    refused = [
        await door.cancel(event, uuid4().hex, user=new_user()),
        await door.cancel(event, uuid4().hex, caller=stranger, iss="somebody-else"),
    ]
    unknown = medium_resolved(header(new_user()), documents(1), door.caller)
    refused.append(await door.cancel(unknown, uuid4().hex))
    assert [code_of(answer) for answer in refused] == [ProblemCode.NOT_FOUND] * 3
    assert await door.cancels(event) == await door.cancels(unknown) == []


async def test_while_it_is_signed_it_can_be_cancelled_and_at_its_end_no_longer(door: Door) -> None:
    event = await door.awaiting(2)
    head = event.signed.manifest.header
    one: Progressed = signed(head, 0)
    await door.room.send(door.routes.progressed, [one])
    await door.until(head, lambda status: status.state == "signing", "a signature")
    key = uuid4().hex
    assert (await door.cancel(event, key)).status_code == 202
    end: Completed = completed(head, [0], [1])
    await door.room.send(door.routes.completed, [end])
    await door.until(head, lambda status: status.state == "completed", "the end")
    late = await door.cancel(event, uuid4().hex)
    assert (late.status_code, code_of(late)) == (409, ProblemCode.CANCELLATION_TOO_LATE)
    assert (await door.cancel(event, key)).status_code == 202  # a retry is answered as it was first
    assert len(await door.cancels(event)) == 1


async def test_one_key_for_an_authorisation_and_a_cancel_is_a_conflict(door: Door) -> None:
    event, other = await door.awaiting(), await door.awaiting()
    keys = uuid4().hex, uuid4().hex
    assert (await door.submit(event, keys[0])).status_code == 202
    assert (await door.cancel(event, keys[1])).status_code == 202
    conflicts = [
        await door.cancel(event, keys[0]),
        await door.submit(event, keys[1]),
        await door.cancel(other, keys[1]),
    ]
    assert [code_of(answer) for answer in conflicts] == [ProblemCode.IDEMPOTENCY_KEY_REUSED] * 3
    assert (len(await door.cancels(event)), len(await door.submitted(event))) == (1, 1)
    assert await door.cancels(other) == []


async def test_a_cancel_that_was_stored_and_not_published_is_published_by_the_retry(door: Door) -> None:
    event = await door.awaiting()
    key = uuid4().hex
    async with door.cut_off() as twin:
        assert code_of(await door.cancel(event, key, http=twin)) is ProblemCode.UNAVAILABLE
    assert await door.cancels(event) == []
    stored = await door.room.pool.fetchval("select event_id from submission where idempotency_key = $1", key)
    for _ in range(2):
        assert (await door.cancel(event, key)).status_code == 202
    ((identifier, _),) = await door.cancels(event)
    assert identifier == str(stored)


async def test_a_missing_idempotency_key_is_refused(door: Door) -> None:
    event = await door.awaiting()
    token = door.token(event.signed.manifest.header.user)
    answer = await door.http.post(
        f"/v1/signings/{event.request_id}/cancellation", headers={"Authorization": f"Bearer {token}"}
    )
    assert code_of(answer) is ProblemCode.BODY_INVALID
    assert await door.cancels(event) == []
