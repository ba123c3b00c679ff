"""GPKI Mobile says "not me" through the gateway: the registered device, of a code that it was told, once."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx

from libs.contracts.not_me import NotMe
from libs.contracts.problems import ProblemCode
from libs.runtime.clock import utc_now
from services.gateway.not_me import MAX_REPORTS
from tests.integration.gateway.conftest import Door, code_of
from tests.integration.gateway.test_inbox import delivered, registered
from tests.support.devices import Phone
from tests.support.requests import new_user

REFERENCE = "K71"
"""What the fixture's code says."""


async def report(door: Door, phone: Phone, word: NotMe, *, token: str | None = None, **values: Any) -> httpx.Response:
    said = word.model_dump(mode="json")
    body = {name: said["statement"][name] for name in ("request_id", "reference_code", "said_at")}
    return await door.http.post(
        f"/v1/devices/{phone.device_id}/not-me",
        json={**body, "signature": said["signature"], **values},
        headers={"Authorization": f"Bearer {token or phone.token(word.statement.user)}"},
    )


async def published(door: Door, request_id: UUID) -> list[NotMe]:
    """What was handed on, one of each event id."""
    await door.tap.read()
    records = door.tap.of(door.routes.not_me, request_id)
    return list({record.value: NotMe.model_validate_json(record.value or b"") for record in records}.values())


async def test_the_devices_word_is_handed_on_as_it_was_signed_once_however_often_it_is_sent(door: Door) -> None:
    """I-47."""
    user = new_user()
    phone = await registered(door, user, Phone())
    (code,) = await delivered(door, user, phone, b"a message")
    word = phone.not_me(code.request_id, user, reference_code=REFERENCE)
    answers = [await report(door, phone, word) for _ in range(3)]
    assert [(one.status_code, one.json()) for one in answers] == [(202, {"request_id": str(code.request_id)})] * 3
    assert await published(door, code.request_id) == [word]
    rows = await door.room.pool.fetch("select kind from timeline where request_id = $1", code.request_id)
    assert [row["kind"] for row in rows].count("not-me") == 1


async def test_what_the_device_was_not_told_or_did_not_sign_is_refused_and_nothing_is_handed_on(door: Door) -> None:
    """I-47."""
    user, other = new_user(), new_user()
    phone, others = await registered(door, user, Phone()), await registered(door, other, Phone())
    (mine,), (theirs,) = await delivered(door, user, phone, b"mine"), await delivered(door, other, others, b"theirs")
    genuine = phone.not_me(mine.request_id, user, reference_code=REFERENCE)
    stranger = Phone().not_me(mine.request_id, user, reference_code=REFERENCE, device_id=phone.device_id)
    long_ago = utc_now() - timedelta(minutes=6)
    unauthorised = [
        await report(door, phone, stranger),
        await report(door, phone, genuine, said_at="2026-01-01T00:00:00Z"),
        await report(door, phone, phone.not_me(mine.request_id, user, reference_code=REFERENCE, said_at=long_ago)),
        await report(door, phone, genuine, token=door.token(user)),
        await report(door, phone, genuine, token=others.token(other, iss=phone.device_id)),
    ]
    assert [code_of(one) for one in unauthorised] == [ProblemCode.UNAUTHORISED] * len(unauthorised)
    not_found = [
        await report(door, phone, phone.not_me(theirs.request_id, user, reference_code=REFERENCE)),
        await report(door, phone, phone.not_me(mine.request_id, user, reference_code="XYZ")),
        await report(door, phone, phone.not_me(uuid4(), user, reference_code=REFERENCE)),
        await report(door, phone, genuine, token=others.token(other)),
    ]
    assert [code_of(one) for one in not_found] == [ProblemCode.NOT_FOUND] * len(not_found)
    assert await published(door, mine.request_id) == await published(door, theirs.request_id) == []


async def test_a_device_does_not_fill_the_topic(door: Door) -> None:
    user = new_user()
    phone = await registered(door, user, Phone())
    (code,) = await delivered(door, user, phone, b"a message")
    now = utc_now().replace(microsecond=0)
    words = [
        phone.not_me(code.request_id, user, reference_code=REFERENCE, said_at=now - timedelta(seconds=number))
        for number in range(MAX_REPORTS + 1)
    ]
    answers = [await report(door, phone, word) for word in words]
    assert [answer.status_code for answer in answers[:-1]] == [202] * MAX_REPORTS
    assert code_of(answers[-1]) is ProblemCode.TOO_MANY_CALLS
    assert len(await published(door, code.request_id)) == MAX_REPORTS
