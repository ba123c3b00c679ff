"""Another code is asked for once, by those alone whose request it is, and a submission waits for it."""

import asyncio
import base64
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from libs.contracts.problems import ProblemCode
from libs.contracts.resending import ResendAnswered, ResendRequested
from libs.contracts.signing import MediumResolved
from services.gateway import resending
from services.gateway.resending import MAX_RESENDS
from services.gateway.schemas import ResendAccepted
from tests.integration.gateway.conftest import SEALED, Door, code_of, dispatched
from tests.support.requests import documents, header, medium_resolved, new_user, requested
from tests.support.waiting import eventually
from tests.unit.gateway.histories import signed


async def ask(
    door: Door, event: MediumResolved, key: str, *, user: str | None = None, channel: Any = None
) -> httpx.Response:
    """Ask for another code as the officer's screen does."""
    token = door.token(user or event.signed.manifest.header.user)
    return await door.http.post(
        f"/v1/signings/{event.request_id}/otp-resends",
        json={"channel": channel},
        headers={"Authorization": f"Bearer {token}", "Idempotency-Key": key},
    )


async def asked(door: Door, event: MediumResolved) -> list[ResendRequested]:
    """What is published for a request, repeats included."""
    await door.tap.read()
    records = door.tap.of(door.routes.resend_requested)
    found = [ResendRequested.model_validate_json(record.value or b"") for record in records]
    return [one for one in found if one.request_id == event.request_id]


def answer_to(event: MediumResolved, resend: UUID, **values: Any) -> ResendAnswered:
    told: dict[str, Any] = {"number": 2, "refusal": None, "codes_left": 1, **values}
    return ResendAnswered(request_id=event.request_id, resend=resend, **told)


async def test_one_ask_however_often_is_one_event_with_all_that_otp_dispatch_needs(door: Door) -> None:
    """I-28."""
    event = await door.awaiting()
    key = uuid4().hex
    answers = await asyncio.gather(*(ask(door, event, key, channel="e-mail") for _ in range(5)))
    assert {(one.status_code, one.text) for one in answers} == {(202, answers[0].text)}
    accepted = ResendAccepted.model_validate_json(answers[0].content)
    published = await asked(door, event)
    assert {one.resend for one in published} == {accepted.resend}
    assert (published[0].signed, published[0].credential_id) == (event.signed, event.credential_id)
    assert (published[0].requested_at, published[0].channels) == (event.requested_at, event.channels)
    assert (published[0].caller, published[0].channel) == ("igfmas", "e-mail")

    await door.room.send(door.routes.resend_answered, [answer_to(event, accepted.resend)] * 2)
    head = event.signed.manifest.header
    status = await door.until(head, lambda status: status.resends and status.resends[0].number, "the answer")
    ((resend),) = status.resends
    assert (resend.resend, resend.channel, resend.number, resend.codes_left) == (accepted.resend, "e-mail", 2, 1)
    assert status.state == "awaiting-authorisation"


async def test_too_early_too_late_and_a_token_user_are_each_told_so(door: Door) -> None:
    early = await requested_only(door)
    assert code_of(await ask(door, early, uuid4().hex)) is ProblemCode.RESEND_TOO_EARLY

    token = medium_resolved(header(new_user()), documents(1), door.caller, medium="token", channels=())
    await door.room.send(door.routes.medium_resolved, [token])
    await door.until(token.signed.manifest.header, lambda status: status.medium == "token", "the medium")
    assert code_of(await ask(door, token, uuid4().hex)) is ProblemCode.RESEND_NOT_ROAMING

    late = await door.awaiting()
    head = late.signed.manifest.header
    await door.room.send(door.routes.progressed, [signed(head, 0)])
    await door.until(head, lambda status: status.state == "signing", "a signature")
    assert code_of(await ask(door, late, uuid4().hex)) is ProblemCode.RESEND_TOO_LATE
    for event in (early, token, late):
        assert await asked(door, event) == []


async def test_one_request_is_not_asked_for_codes_without_end(door: Door) -> None:
    event = await door.awaiting()
    answers = [await ask(door, event, uuid4().hex) for _ in range(MAX_RESENDS + 2)]
    assert [answer.status_code for answer in answers[:MAX_RESENDS]] == [202] * MAX_RESENDS
    assert [code_of(answer) for answer in answers[MAX_RESENDS:]] == [ProblemCode.TOO_MANY_CALLS] * 2
    assert len(await asked(door, event)) == MAX_RESENDS


async def requested_only(door: Door) -> MediumResolved:
    """A request whose medium nobody has told yet."""
    event = medium_resolved(header(new_user()), documents(1), door.caller)
    manifest = event.signed.manifest
    wanted = requested(manifest.header.model_dump(), [document.texts for document in manifest.documents], door.caller)
    await door.room.send(door.routes.requested, [wanted])
    await door.until(manifest.header, lambda status: status.state == "requested", "the request")
    return event


async def test_another_user_is_told_that_there_is_no_such_request(door: Door) -> None:
    event = await door.awaiting()
    assert code_of(await ask(door, event, uuid4().hex, user=new_user())) is ProblemCode.NOT_FOUND
    assert await asked(door, event) == []


@pytest.mark.parametrize("channel", ["sms", 7, ["e-mail"]])
async def test_a_channel_that_there_is_not_is_refused(door: Door, channel: object) -> None:
    event = await door.awaiting()
    assert code_of(await ask(door, event, uuid4().hex, channel=channel)) is ProblemCode.BODY_INVALID
    assert await asked(door, event) == []


async def test_a_submission_waits_for_the_code_that_was_asked_for_and_hands_on_both_challenges(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I-28."""
    monkeypatch.setattr(resending, "HOLD", 50.0)  # what it waits for may take its time here
    event = await door.awaiting()
    accepted = ResendAccepted.model_validate_json((await ask(door, event, uuid4().hex)).content)
    submitting = asyncio.create_task(door.submit(event, uuid4().hex, sealed=SEALED + b"both"))
    await door.room.send(door.routes.resend_answered, [answer_to(event, accepted.resend)])
    head = event.signed.manifest.header
    await door.until(head, lambda status: status.resends and status.resends[0].number, "the answer")
    assert not submitting.done(), "the answer is here, its challenge is not"
    await door.room.send(door.routes.otp_dispatched, [dispatched(event, 2)])
    assert (await submitting).status_code == 202
    ((_, published),) = await eventually(lambda: door.submitted(event), "the authorisation")
    assert [one.sealed for one in published.challenges] == [b"challenge 2", b"challenge 1"]
    assert base64.b64encode(published.sealed) == base64.b64encode(SEALED + b"both")


async def test_a_refused_resend_holds_no_submission(door: Door) -> None:
    event = await door.awaiting()
    accepted = ResendAccepted.model_validate_json((await ask(door, event, uuid4().hex)).content)
    refusal = answer_to(event, accepted.resend, number=None, refusal="too-many-codes", codes_left=0)
    await door.room.send(door.routes.resend_answered, [refusal])
    head = event.signed.manifest.header
    status = await door.until(head, lambda status: status.resends and status.resends[0].refusal, "the refusal")
    assert status.state == "awaiting-authorisation"
    assert (await door.submit(event, uuid4().hex)).status_code == 202
    ((_, published),) = await door.submitted(event)
    assert [one.sealed for one in published.challenges] == [b"challenge 1"]
