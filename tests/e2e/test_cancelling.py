"""An officer takes a request back: what is signed stays signed, the rest never is, and every ask has one answer."""

import asyncio
from functools import partial
from uuid import UUID, uuid4

import pytest

from libs.contracts import topics
from libs.contracts.cancelling import CancelAnswered, CancelRequested
from libs.contracts.ids import request_id_of
from libs.contracts.manifest import MAX_DOCUMENTS
from libs.contracts.reasons import Reason
from libs.gpki_client import Problem
from services.igfmas.keys import CALLER
from tests.support.chain import Client, Officers, Request, papers
from tests.support.journal import dead_letters, of_request
from tests.support.producers import send_as_service
from tests.support.waiting import eventually

pytestmark = pytest.mark.stack


async def take_back(request: Request, *, user: str | None = None, key: str | None = None) -> UUID:
    """Ask for it as the officer's screen does; returns the ask's name."""
    whose = user or request.officer.user
    return await request.client.gateway.cancel(request.id, whose, idempotency_key=key or uuid4().hex)


async def answers(request: Request) -> list[tuple[UUID, str]]:
    """(ask, answer) of everything on the topic, repeats included, at least one."""
    records = await eventually(
        partial(of_request, request.client.stack, topics.CANCEL_ANSWERED, request.id), "the answer", every=0.2
    )
    events = [CancelAnswered.model_validate_json(record.value or b"") for record in records]
    return [(event.cancellation, event.answer) for event in events]


async def shown(request: Request) -> list[str | None]:
    status = await request.client.gateway.status(request.id, request.officer.user)
    return [one.answer for one in status.cancellations]


async def ended_once(request: Request) -> None:
    assert len(await of_request(request.client.stack, topics.COMPLETED, request.id)) == 1


async def test_a_request_that_is_cancelled_before_the_otp_is_entered_signs_nothing(
    client: Client, officers: Officers
) -> None:
    """I-23."""
    request = await client.press(officers.maker, papers(3))
    code = await request.otp()
    asked = await take_back(request)
    completed = await request.end()
    assert completed.posted == ()
    assert {(one.stage, one.reason, one.safe_to_retry) for one in completed.rejected} == {
        ("hsm_signer", Reason.CANCELLED, True)
    }
    assert await answers(request) == [(asked, "accepted")]
    await eventually(lambda: shown_as(request, ["accepted"]), "the status shows the answer")
    assert (await request.failure(await request.submit(otp=code))).reason is Reason.CANCELLED
    await client.chain.drain()
    assert not any(document.signatures for document in request.seen.documents.values())
    await ended_once(request)


@pytest.mark.timeout(300)
async def test_a_pukal_of_ten_thousand_cancelled_in_the_middle_says_exactly_what_was_posted(client: Client) -> None:
    """I-23: each document is posted or rejected, never both, the counts say how many, and the end is told once."""
    officer = await client.enrol()
    request = await client.press(officer, papers(MAX_DOCUMENTS))
    await request.authorise(otp=await request.otp())
    documents = request.seen.documents
    await request.until(lambda: sum(bool(one.posted) for one in documents.values()) >= 200, "200 posted")
    await eventually(lambda: state_is(request, "signing"), "the gateway knows that it is being signed")

    asked = await take_back(request)

    completed = await request.end()
    await client.chain.drain()
    signed = {name for name, document in documents.items() if document.signatures}
    posted = {one.document_id for one in completed.posted}
    rejected = [name for one in completed.rejected for name in one.documents or ()]
    assert 200 <= len(signed) < MAX_DOCUMENTS, "not in the middle"
    assert posted == signed
    assert len(rejected) == len(set(rejected))
    assert (len(posted) + len(rejected), posted & set(rejected)) == (MAX_DOCUMENTS, set())
    assert {one.reason for one in completed.rejected} == {Reason.CANCELLED}
    assert all(len(documents[name].signatures) == len(documents[name].records) == 1 for name in posted)
    assert await answers(request) == [(asked, "accepted")]
    await ended_once(request)
    await eventually(lambda: state_is(request, "completed"), "the gateway knows the end")
    counts = (await client.gateway.status(request.id, officer.user)).counts
    assert (counts.signed, counts.posted, counts.rejected) == (len(signed), len(posted), len(rejected))


async def test_a_cancel_after_the_end_is_refused_at_the_door_and_too_late_behind_it(
    client: Client, officers: Officers
) -> None:
    request = await client.press(officers.maker, papers(2))
    assert len((await request.sign()).posted) == 2
    await eventually(lambda: state_is(request, "completed"), "the gateway knows the end")
    with pytest.raises(Problem) as refused:
        await take_back(request)
    assert (refused.value.status, refused.value.code) == (409, "cancellation-too-late")
    late = cancel_event(request)
    await send_as_service(client.stack, topics.CANCEL_REQUESTED, late)
    assert await answers(request) == [(late.cancellation, "too-late")]
    await eventually(lambda: shown_as(request, ["too-late"]), "the status shows the answer")
    await ended_once(request)


async def test_ten_repeats_of_a_cancel_change_nothing(client: Client, officers: Officers) -> None:
    request = await client.press(officers.maker, papers(2))
    await request.dispatched()
    key = uuid4().hex
    await eventually(lambda: state_is(request, "awaiting-authorisation"), "the gateway knows of the code")
    asked = {await take_back(request, key=key) for _ in range(5)}
    repeated = cancel_event(request, cancellation=next(iter(asked)))
    await asyncio.gather(*(send_as_service(client.stack, topics.CANCEL_REQUESTED, repeated) for _ in range(10)))
    await request.end()
    last = cancel_event(request)  # behind the repeats, on their partition: once it is answered, they were read
    await send_as_service(client.stack, topics.CANCEL_REQUESTED, last)
    await eventually(lambda: has_answers(request, 2), "the last answer", every=0.2)
    assert len(asked) == 1
    assert sorted(await answers(request)) == sorted([(*asked, "accepted"), (last.cancellation, "accepted")])
    assert len(await of_request(client.stack, topics.REJECTED, request.id)) == 1
    await ended_once(request)


async def test_a_cancel_before_its_request_ends_it_when_it_comes(client: Client, officers: Officers) -> None:
    name = uuid4().hex
    early = CancelRequested(
        request_id=request_id_of(CALLER, name), cancellation=uuid4(), caller=CALLER, user=officers.maker.user
    )
    await send_as_service(client.stack, topics.CANCEL_REQUESTED, early)
    for service in ("medium_lookup", "hsm_signer"):
        kept = f"SELECT count(*) FROM {service}.cancel WHERE request_id = $1"
        await eventually(partial(client.value, kept, early.request_id), f"{service} keeps it")
    request = await client.press(officers.maker, papers(2), request=name)
    completed = await request.end()
    assert [(one.stage, one.reason) for one in completed.rejected] == [("medium_lookup", Reason.CANCELLED)]
    assert await answers(request) == [(early.cancellation, "accepted")]
    await ended_once(request)


async def test_nobody_elses_cancel_ends_anything(client: Client, officers: Officers) -> None:
    request = await client.press(officers.maker, papers(1))
    await request.otp()
    with pytest.raises(Problem) as refused:
        await take_back(request, user=officers.checker.user)
    assert (refused.value.status, refused.value.code) == (404, "not-found")
    forged = [cancel_event(request, caller="somebody-else"), cancel_event(request, user=officers.checker.user)]
    for event in forged:
        await send_as_service(client.stack, topics.CANCEL_REQUESTED, event)
    await dead_letters(client.stack, topics.CANCEL_REQUESTED, request.id, count=2)
    assert await of_request(client.stack, topics.CANCEL_ANSWERED, request.id) == []
    assert len((await request.sign()).posted) == 1


def cancel_event(request: Request, **values: object) -> CancelRequested:
    """What the gateway would publish, or somebody else who can write to the broker."""
    own = {"request_id": request.id, "cancellation": uuid4(), "caller": CALLER, "user": request.officer.user}
    return CancelRequested.model_validate(own | values)


async def shown_as(request: Request, expected: list[str | None]) -> bool:
    return await shown(request) == expected


async def state_is(request: Request, state: str) -> bool:
    return (await request.client.gateway.status(request.id, request.officer.user)).state == state


async def has_answers(request: Request, count: int) -> bool:
    return len(await of_request(request.client.stack, topics.CANCEL_ANSWERED, request.id)) >= count
