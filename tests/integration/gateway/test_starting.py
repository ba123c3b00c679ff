"""A signing started over HTTP is the request that iGFMAS would have published, once; what is refused is none."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from libs.contracts.manifest import MAX_DOCUMENTS
from libs.contracts.problems import ProblemCode
from libs.contracts.signing import Requested
from services.gateway.bodies import MAX_LARGE_BODY
from services.gateway.schemas import Problem, Started
from tests.integration.gateway.conftest import Door, code_of
from tests.support.requests import documents, header, key_state, medium_resolved, new_user, requested
from tests.support.waiting import eventually, loop_is_never_held


def fresh(door: Door, count: int = 1, **values: str) -> Requested:
    return requested(header(new_user(), count, **values), documents(count), door.caller)


def id_of(event: Requested) -> UUID:
    return event.identity()[0]


async def published(door: Door, event: Requested) -> list[Requested]:
    """What is published under this request's id, repeats included."""
    await door.tap.read()
    records = [record for record in door.tap.of(door.routes.requested) if record.key == event.key.encode()]
    return [Requested.model_validate_json(record.value or b"") for record in records]


async def rows(door: Door, event: Requested) -> list[str]:
    found = await door.room.pool.fetch("select kind from timeline where request_id = $1 order by seq", id_of(event))
    return [row["kind"] for row in found]


async def test_it_is_published_as_igfmas_would_and_its_status_can_be_read_at_once(door: Door) -> None:
    """I-29."""
    event = fresh(door, 3)
    trace = "0af7651916cd43dd8448eb211c80319c"
    answer = await door.start(event, uuid4().hex, traceparent=f"00-{trace}-b7ad6b7169203331-01")
    assert answer.status_code == 202, answer.text
    started = Started.model_validate_json(answer.content)
    assert (started.request_id, started.root) == (id_of(event), event.commitment.root.hex())
    assert answer.headers["location"] == started.status_url == f"/v1/signings/{id_of(event)}"
    status = await door.status(id_of(event), event.manifest.header["user"])
    assert (status.state, status.documents, status.request) == ("requested", 3, event.manifest.header["request"])
    assert await published(door, event) == [event]
    (record,) = [one for one in door.tap.of(door.routes.requested) if one.key == event.key.encode()]
    assert trace in str(dict(record.headers)["traceparent"])


async def test_the_same_request_again_under_whatever_key_is_the_same_request(door: Door) -> None:
    """I-29."""
    event = fresh(door)
    keys = [uuid4().hex] * 5 + [uuid4().hex for _ in range(5)]
    answers = await asyncio.gather(*(door.start(event, key) for key in keys))
    assert {(answer.status_code, answer.text) for answer in answers} == {(202, answers[0].text)}
    # Repeats on the topic are the same content under the same id, which every consumer knows as a repeat.
    assert set(map(Requested.model_dump_json, await published(door, event))) == {event.model_dump_json()}
    head = event.manifest.header
    after = medium_resolved(head, event.manifest.documents, door.caller)
    await door.room.send(door.routes.medium_resolved, [after])
    await door.until(after.signed.manifest.header, lambda status: status.medium, "resolved")
    assert await rows(door, event) == ["requested", "medium-resolved"]
    assert (await door.start(event, uuid4().hex)).status_code == 202
    assert await rows(door, event) == ["requested", "medium-resolved"]


async def test_the_same_id_with_other_content_is_a_conflict_that_ends_nothing(door: Door) -> None:
    """I-29, I-4."""
    event, key = fresh(door), uuid4().hex
    assert (await door.start(event, key)).status_code == 202
    others = [
        requested(event.manifest.header, documents(2)[1:], door.caller),
        requested({**event.manifest.header, "user": new_user()}, event.manifest.documents, door.caller),
    ]
    for other in others:
        for again in (key, uuid4().hex):
            answer = await door.start(other, again)
            assert (answer.status_code, code_of(answer)) == (409, ProblemCode.ID_CONFLICT)
            assert Problem.model_validate_json(answer.content).refused == other.commitment.root.hex()
    assert await published(door, event) == [event]
    assert await rows(door, event) == ["requested"]
    assert (await door.status(id_of(event), event.manifest.header["user"])).state == "requested"


async def test_of_two_contents_at_once_on_two_replicas_one_is_the_request_and_one_a_conflict(door: Door) -> None:
    """I-29: nothing of the refused one is ever published."""
    first = fresh(door)
    second = requested(first.manifest.header, documents(2)[1:], door.caller)
    async with door.cut_off() as twin:
        answers = await asyncio.gather(
            door.start(first, uuid4().hex, http=twin), door.start(second, uuid4().hex, http=twin)
        )
    refused = [code_of(answer) for answer in answers]
    assert sorted(refused) == [ProblemCode.ID_CONFLICT, ProblemCode.UNAVAILABLE]
    taken = (first, second)[refused.index(ProblemCode.UNAVAILABLE)]
    assert (await door.start(taken, uuid4().hex)).status_code == 202
    assert await published(door, first) == [taken]


async def test_content_that_came_over_the_topic_is_known_too(door: Door) -> None:
    event = fresh(door)
    await door.room.send(door.routes.requested, [event])

    async def known() -> bool:
        return await rows(door, event) == ["requested"]

    await eventually(known, "the request is known")
    assert (await door.start(event, uuid4().hex)).status_code == 202
    other = requested(event.manifest.header, documents(2)[1:], door.caller)
    assert code_of(await door.start(other, uuid4().hex)) is ProblemCode.ID_CONFLICT


async def test_a_request_that_was_stored_and_not_published_is_published_by_the_retry(door: Door) -> None:
    event, key = fresh(door), uuid4().hex
    async with door.cut_off() as twin:
        assert code_of(await door.start(event, key, http=twin)) is ProblemCode.UNAVAILABLE
    assert await published(door, event) == []
    for _ in range(2):
        assert (await door.start(event, key)).status_code == 202
    assert await published(door, event) == [event]


async def test_one_key_for_two_requests_is_a_conflict_and_leaves_no_trace_of_the_second(door: Door) -> None:
    first, second, key = fresh(door), fresh(door), uuid4().hex
    assert (await door.start(first, key)).status_code == 202
    assert code_of(await door.start(second, key)) is ProblemCode.IDEMPOTENCY_KEY_REUSED
    assert await published(door, second) == []
    assert await rows(door, second) == []
    assert (await door.start(second, uuid4().hex)).status_code == 202


async def test_only_the_tokens_caller_and_user_may_be_named_and_only_a_callers_signature_counts(door: Door) -> None:
    stranger = door.pki.caller("somebody-else")
    retired = door.pki.caller("igfmas")
    await door.tell(
        key_state(stranger, "caller", "somebody-else", door.pki),
        key_state(retired, "caller", "igfmas", door.pki, retired_at=door.pki.now - timedelta(seconds=1)),
    )
    event = fresh(door)
    head, listed = event.manifest.header, event.manifest.documents
    assert code_of(await door.start(event, uuid4().hex, user=new_user())) is ProblemCode.CALLER_NOT_ALLOWED
    foreign = requested({**head, "caller": "somebody-else"}, listed, stranger)
    assert code_of(await door.start(foreign, uuid4().hex)) is ProblemCode.CALLER_NOT_ALLOWED
    other_system = requested({**head, "system": "eSPKWS"}, listed, door.caller)
    answer = await door.start(other_system, uuid4().hex)
    assert (answer.status_code, code_of(answer)) == (403, ProblemCode.CALLER_NOT_ALLOWED)
    unsigned = [
        requested(head, listed, stranger),
        requested(head, listed, retired),
        requested(head, listed, door.pki.caller("igfmas")),
        event.model_copy(update={"signature": b"x" * 64}),
        event.model_copy(update={"manifest": event.manifest.model_copy(update={"documents": tuple(documents(2)[1:])})}),
    ]
    for forged in unsigned:
        assert code_of(await door.start(forged, uuid4().hex)) is ProblemCode.CALLER_SIGNATURE_INVALID
    assert await published(door, event) == []
    assert code_of(await door.get(f"/v1/signings/{id_of(event)}", door.token(head["user"]))) is ProblemCode.NOT_FOUND


@pytest.mark.parametrize("count", [1000, MAX_DOCUMENTS])
async def test_a_long_list_passes_whole(door: Door, count: int) -> None:
    event = fresh(door, count)
    async with loop_is_never_held():
        answer = await door.start(event, uuid4().hex)
    assert answer.status_code == 202, answer.text
    (found,) = await published(door, event)
    assert found.commitment.root == event.commitment.root
    assert (await door.status(id_of(event), event.manifest.header["user"])).documents == count


async def test_the_longest_body_that_is_taken_makes_a_record_that_the_topic_takes(door: Door) -> None:
    event = fresh(door)
    content = event.model_dump_json().encode()
    listed = [{**event.manifest.documents[0], "title": "x" * (MAX_LARGE_BODY - len(content))}]
    longest = requested(event.manifest.header, listed, door.caller)
    body = longest.model_dump_json().encode()
    assert MAX_LARGE_BODY - 100 < len(body) <= MAX_LARGE_BODY
    assert code_of(await door.start(longest, uuid4().hex)) is ProblemCode.MANIFEST_INVALID
    await door.room.send(door.routes.requested, [longest])  # the broker takes it: it is not refused for its size
    padded = body + b" " * (MAX_LARGE_BODY + 1 - len(body))
    answer = await door.start(longest, uuid4().hex, content=padded)
    assert (answer.status_code, code_of(answer)) == (413, ProblemCode.TOO_LARGE)


async def test_who_is_not_admitted_is_refused_before_its_body_is_read(door: Door) -> None:
    url = door.http.base_url
    reader, writer = await asyncio.open_connection(url.host, url.port, ssl=door.tls.client())
    head = "POST /v1/signings HTTP/1.1\r\nHost: gateway\r\nIdempotency-Key: k\r\nContent-Length: 1000\r\n\r\n{"
    writer.write(head.encode())
    async with asyncio.timeout(10):
        assert b" 401 " in await reader.readline()
    writer.transport.abort()
