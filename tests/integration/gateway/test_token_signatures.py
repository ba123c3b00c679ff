"""A token's signatures are handed on once, each with its document's place under the root, and for its request only."""

import asyncio
import base64
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import httpx
import pytest

from libs.contracts.manifest import root_of_document
from libs.contracts.problems import ProblemCode
from libs.contracts.signing import Completed, MediumResolved
from libs.contracts.token_route import MAX_TOKEN_DOCUMENTS, TokenSigned
from services.gateway.bodies import MAX_BODY, MAX_TOKEN_BODY
from services.gateway.schemas import Counts
from services.gateway.token_schemas import SignaturesAccepted
from tests.integration.gateway.conftest import Door, code_of
from tests.support.requests import documents, header, medium_resolved, new_user, requested
from tests.unit.gateway.histories import completed

CMS = b"c" * 2500


async def asked(door: Door, count: int = 1) -> MediumResolved:
    """A request that waits for a token."""
    event = medium_resolved(header(new_user(), count), documents(count), door.caller, medium="token", channels=())
    await door.room.send(door.routes.medium_resolved, [event])
    head = event.signed.manifest.header
    await door.until(head, lambda status: status.state == "awaiting-token-signatures", "the medium is known")
    return event


def names(event: MediumResolved) -> list[str]:
    return [document.id for document in event.signed.manifest.documents]


async def hand_in(
    door: Door,
    event: MediumResolved,
    key: str,
    signed: Sequence[str] | None = None,
    *,
    cms: bytes = CMS,
    user: str | None = None,
    http: httpx.AsyncClient | None = None,
    content: bytes | None = None,
) -> httpx.Response:
    """Signatures of these documents, or of all; or other content."""
    told = names(event) if signed is None else signed
    body = {"signatures": [{"document": name, "cms": base64.b64encode(cms).decode()} for name in told]}
    token = door.token(user or event.signed.manifest.header.user)
    sent: dict[str, Any] = {"json": body} if content is None else {"content": content}
    return await (http or door.http).post(
        f"/v1/signings/{event.request_id}/token-signatures",
        headers={"Authorization": f"Bearer {token}", "Idempotency-Key": key},
        **sent,
    )


async def published(door: Door, event: MediumResolved) -> list[tuple[str, TokenSigned]]:
    """(event id, event) of every signature that is published for a request, repeats included."""
    await door.tap.read()
    topic = door.routes.token_signed
    read = [TokenSigned.model_validate_json(record.value or b"") for record in door.tap.of(topic)]
    return [one for one in zip(door.tap.ids(topic), read, strict=True) if one[1].request_id == event.request_id]


async def test_every_signature_is_published_with_its_place_under_the_root_and_counted(door: Door) -> None:
    event = await asked(door, 3)
    head, root = event.signed.manifest.header, event.signed.manifest.commitment().root
    answer = await hand_in(door, event, uuid4().hex, names(event)[:2])
    assert answer.status_code == 202, answer.text
    accepted = SignaturesAccepted.model_validate_json(answer.content)
    assert answer.headers["location"] == accepted.status_url == f"/v1/signings/{event.request_id}"
    assert accepted.accepted == 2
    status = await door.status(event.request_id, head.user)
    assert (status.state, status.counts) == ("awaiting-token-signatures", Counts(signed=2))
    assert (await hand_in(door, event, uuid4().hex, names(event)[1:])).status_code == 202
    status = await door.status(event.request_id, head.user)
    assert (status.state, status.counts) == ("signing", Counts(signed=3)), "a document counts once"
    found = [one for _, one in await published(door, event)]
    assert {one.entry.id for one in found} == set(names(event))
    assert {root_of_document(one.header, one.entry, one.index, one.path) for one in found} == {root}
    assert {one.cms for one in found} == {CMS}


async def test_the_same_call_many_times_at_once_is_one_event_per_document(door: Door) -> None:
    event = await asked(door, 2)
    key = uuid4().hex
    answers = await asyncio.gather(*(hand_in(door, event, key) for _ in range(8)))
    assert {(answer.status_code, answer.text) for answer in answers} == {(202, answers[0].text)}
    assert len({identifier for identifier, _ in await published(door, event)}) == 2
    other = await hand_in(door, event, key, cms=b"other")
    assert code_of(other) is ProblemCode.IDEMPOTENCY_KEY_REUSED


async def test_what_was_stored_and_not_published_is_published_whole_by_the_retry(door: Door) -> None:
    event = await asked(door, 3)
    key = uuid4().hex
    async with door.cut_off() as twin:
        assert code_of(await hand_in(door, event, key, http=twin)) is ProblemCode.UNAVAILABLE
    assert await published(door, event) == []
    rows = await door.room.pool.fetch(
        "select u.event_id from unpublished u join submission s on s.event_id = u.cause where s.idempotency_key = $1",
        key,
    )
    for _ in range(2):
        assert (await hand_in(door, event, key)).status_code == 202
    found = await published(door, event)
    assert {identifier for identifier, _ in found} == {str(row["event_id"]) for row in rows}
    assert len(found) == 3
    kept = "select count(*) from outcome where event_id = any($1)"
    assert await door.room.pool.fetchval(kept, [row["event_id"] for row in rows]) == 3, (
        "to be published again, if need be"
    )


async def test_each_medium_has_its_own_door(door: Door) -> None:
    by_token, by_otp = await asked(door), await door.awaiting()
    assert code_of(await door.submit(by_token, uuid4().hex)) is ProblemCode.WRONG_MEDIUM
    assert code_of(await hand_in(door, by_otp, uuid4().hex)) is ProblemCode.WRONG_MEDIUM
    assert await door.submitted(by_token) == []
    assert await published(door, by_otp) == []


async def test_before_the_medium_is_known_it_is_too_early_and_after_the_end_too_late(door: Door) -> None:
    head = header(new_user())
    await door.room.send(door.routes.requested, [requested(head, documents(1), door.caller)])
    event = medium_resolved(head, documents(1), door.caller, medium="token", channels=())
    known = event.signed.manifest.header
    await door.until(known, lambda status: status.state == "requested", "the request is known")
    early = await hand_in(door, event, uuid4().hex)
    assert (early.status_code, code_of(early)) == (409, ProblemCode.TOKEN_SIGNATURES_TOO_EARLY)
    await door.room.send(door.routes.medium_resolved, [event])
    await door.until(known, lambda status: status.medium == "token", "the medium is known")
    key = uuid4().hex
    assert (await hand_in(door, event, key)).status_code == 202
    end: Completed = completed(known, [0])
    await door.room.send(door.routes.completed, [end])
    await door.until(known, lambda status: status.state == "completed", "the end")
    late = await hand_in(door, event, uuid4().hex)
    assert (late.status_code, code_of(late)) == (409, ProblemCode.TOKEN_SIGNATURES_TOO_LATE)
    assert (await hand_in(door, event, key)).status_code == 202  # a retry is answered as it was first
    assert len(await published(door, event)) == 1


async def test_a_document_of_another_request_takes_none_of_the_call(door: Door) -> None:
    event = await asked(door)
    answer = await hand_in(door, event, uuid4().hex, [*names(event), "BB999999"])
    assert (answer.status_code, code_of(answer)) == (422, ProblemCode.DOCUMENT_NOT_IN_REQUEST)
    twice = await hand_in(door, event, uuid4().hex, names(event) * 2)
    assert code_of(twice) is ProblemCode.BODY_INVALID
    assert code_of(await hand_in(door, event, uuid4().hex, user=new_user())) is ProblemCode.NOT_FOUND
    assert await published(door, event) == []


@pytest.mark.parametrize("content", [b"", b"{", b'{"signatures": [], "signatures": []}'])
async def test_what_is_no_strict_json_is_malformed(door: Door, content: bytes) -> None:
    event = await asked(door)
    assert code_of(await hand_in(door, event, uuid4().hex, content=content)) is ProblemCode.MALFORMED


async def test_as_many_signatures_as_a_token_may_make_are_taken_in_one_call_and_no_larger_body(door: Door) -> None:
    event = await asked(door, MAX_TOKEN_DOCUMENTS)
    assert (
        code_of(await hand_in(door, event, uuid4().hex, content=b" " * (MAX_TOKEN_BODY + 1))) is ProblemCode.TOO_LARGE
    )
    answer = await hand_in(door, event, uuid4().hex)
    assert (answer.status_code, len(answer.request.content) > MAX_BODY) == (202, True)
    assert len(await published(door, event)) == MAX_TOKEN_DOCUMENTS
