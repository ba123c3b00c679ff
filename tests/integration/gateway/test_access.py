"""An id is never a credential: who calls, and for whom, is judged at every call."""

import copy
from datetime import timedelta
from uuid import uuid4

import pytest

from libs.contracts.problems import ProblemCode
from libs.runtime.clock import utc_now
from services.gateway.access import use_up
from services.gateway.authentication import Caller
from services.gateway.schemas import SealingKey
from tests.integration.gateway.conftest import Door, code_of, dispatched
from tests.support.pki import Pki
from tests.support.requests import documents, header, key_id, key_state, medium_resolved, new_user, requested
from tests.support.waiting import eventually

STATUS = "/v1/signings/{}"


async def test_a_request_exists_for_its_own_user_and_caller_only(door: Door) -> None:
    event = await door.awaiting()
    user = event.signed.manifest.header.user
    other = door.pki.caller("etanah", system="eTanah")
    await door.tell(key_state(other, "caller", "etanah", door.pki))
    path = STATUS.format(event.request_id)
    own = await door.get(path, door.token(user))
    assert own.status_code == 200
    strangers = [
        await door.get(path, door.token(new_user())),
        await door.get(path, door.token(user, caller=other, iss="etanah")),
        await door.get(STATUS.format(uuid4()), door.token(user)),
        await door.submit(event, uuid4().hex, user=new_user()),
    ]
    assert [code_of(answer) for answer in strangers] == [ProblemCode.NOT_FOUND] * len(strangers)
    bodies = {answer.text.replace(answer.headers["trace-id"], "") for answer in strangers}
    assert len(bodies) == 1  # whether there is such a request cannot be told from the answer
    assert await door.submitted(event) == []


async def test_a_header_of_the_bearer_scheme_and_a_genuine_token_are_needed_everywhere(door: Door) -> None:
    event = await door.awaiting()
    user = event.signed.manifest.header.user
    unknown = door.pki.caller()
    now = int(utc_now().timestamp())
    tokens = [
        None,
        "x",
        door.token(user, caller=unknown),
        door.token(user, iss="etanah"),
        door.token(user, aud="another"),
        door.token(user, iat=now - 70, exp=now - 10),
        door.token(user, iat=None, exp=now + 600),
        door.token(user, jti=None),
    ]
    post = f"{STATUS.format(event.request_id)}/authorisations"
    body = {"sealing_key_id": "cd" * 32, "sealed": "c2VhbGVk" * 20}
    for token in tokens:
        bearer = {} if token is None else {"Authorization": f"Bearer {token}"}
        for path in ("/v1/sealing-key", STATUS.format(event.request_id)):
            answer = await door.http.get(path, headers=bearer)
            assert code_of(answer) is ProblemCode.UNAUTHORISED
            assert answer.headers["www-authenticate"] == "Bearer"
        answer = await door.http.post(post, json=body, headers={**bearer, "Idempotency-Key": "k"})
        assert code_of(answer) is ProblemCode.UNAUTHORISED
    basic = await door.http.get(STATUS.format(event.request_id), headers={"Authorization": f"Basic {door.token(user)}"})
    assert code_of(basic) is ProblemCode.UNAUTHORISED
    assert await door.submitted(event) == []


async def test_a_token_is_good_for_one_call_on_every_replica(door: Door) -> None:
    event = await door.awaiting()
    token = door.token(event.signed.manifest.header.user)
    path = STATUS.format(event.request_id)
    assert (await door.get(path, token)).status_code == 200
    assert code_of(await door.get(path, token)) is ProblemCode.UNAUTHORISED
    assert code_of(await door.get("/v1/sealing-key", token)) is ProblemCode.UNAUTHORISED
    async with door.cut_off() as twin:
        answer = await twin.get(path, headers={"Authorization": f"Bearer {token}"})
        assert code_of(answer) is ProblemCode.UNAUTHORISED


async def test_used_tokens_are_forgotten_only_when_they_have_expired(door: Door) -> None:
    now = utc_now()
    await door.room.pool.executemany(
        "insert into used_jwt (caller, jti, expires_at) values ('old', $1, $2)",
        [(str(number), now + timedelta(seconds=number - 60)) for number in range(0, 120, 10)],
    )

    async def cleared() -> bool:
        async with door.room.pool.acquire() as connection:
            await use_up(connection, Caller("igfmas", new_user(), uuid4().hex, now), now)
        left = await door.room.pool.fetch("select jti from used_jwt where caller = 'old' order by jti::integer")
        kept = [int(row["jti"]) for row in left]
        assert kept[-6:] == [60, 70, 80, 90, 100, 110]  # those that have yet to expire, and one that just did
        return len(kept) == 6

    await eventually(cleared, "expired ones are cleared away")


async def test_a_key_that_was_retired_admits_nobody(door: Door) -> None:
    gone = door.pki.caller()
    await door.tell(key_state(gone, "caller", "igfmas", door.pki))
    assert (await door.get(STATUS.format(uuid4()), door.token(new_user(), caller=gone))).status_code == 404
    await door.tell(key_state(gone, "caller", "igfmas", door.pki, version=2, retired_at=utc_now()))
    answer = await door.get(STATUS.format(uuid4()), door.token(new_user(), caller=gone))
    assert code_of(answer) is ProblemCode.UNAUTHORISED


async def test_a_key_whose_certificate_has_expired_admits_nobody_though_it_may_connect(door: Door) -> None:
    """The handshake asks no clock; every call does, the database's."""
    past = copy.copy(door.pki)
    past.now -= timedelta(days=365, hours=1)
    gone = past.caller()
    await door.tell(key_state(gone, "caller", "igfmas", past))
    assert (await (await door.connections.of(gone)).get("/v1/sealing-key")).status_code == 401
    answer = await door.get(STATUS.format(uuid4()), door.token(new_user(), caller=gone))
    assert code_of(answer) is ProblemCode.UNAUTHORISED


async def test_a_forged_request_is_not_shown_and_leaves_its_id_to_the_true_one(door: Door) -> None:
    user = new_user()
    true = requested(header(user), documents(1), door.caller)
    forgeries = [
        true.model_copy(update={"signature": b"x" * 64}),
        requested(true.manifest.header, documents(1), door.pki.caller()),
        true.model_copy(update={"manifest": requested(true.manifest.header, documents(2), door.caller).manifest}),
    ]
    before = sum((await door.room.committed(door.routes.requested)).values())
    await door.room.send(door.routes.requested, forgeries)
    await door.room.all_committed(door.routes.requested, before + len(forgeries))
    assert code_of(await door.get(STATUS.format(true.key), door.token(user))) is ProblemCode.NOT_FOUND
    await door.room.send(door.routes.requested, [true])
    await door.room.all_committed(door.routes.requested, before + len(forgeries) + 1)
    (request_id,) = true.identity()[:1]
    assert (await door.status(request_id, user)).state == "requested"
    await door.tap.read()
    assert door.tap.of(door.routes.requested.dead_letter) == []


async def test_the_newest_sealing_key_that_is_not_retired_is_given_with_its_chain(door: Door, pki: Pki) -> None:
    first = await door.get("/v1/sealing-key", door.token(new_user()))
    assert code_of(first) is ProblemCode.UNAVAILABLE
    assert first.headers["retry-after"]
    tomorrow = copy.copy(pki)
    tomorrow.now += timedelta(hours=20)
    old, newer = pki.sealing_key(), tomorrow.sealing_key()
    await door.tell(*(key_state(key, "sealing", "sealing key", pki) for key in (newer, old)))
    given = SealingKey.model_validate_json((await door.get("/v1/sealing-key", door.token(new_user()))).content)
    assert (given.key_id, given.chain) == (key_id(newer), key_state(newer, "sealing", "sealing key", pki).chain)
    await door.tell(key_state(newer, "sealing", "sealing key", pki, version=2, retired_at=utc_now()))
    given = SealingKey.model_validate_json((await door.get("/v1/sealing-key", door.token(new_user()))).content)
    assert given.key_id == key_id(old)


@pytest.mark.parametrize("what", ["not-an-id", "%00", "..%2F..", "1" * 300])
async def test_a_guess_that_is_no_id_is_answered_like_any_other_fault(door: Door, what: str) -> None:
    answer = await door.get(f"/v1/signings/{what}", door.token(new_user()))
    assert code_of(answer) in {ProblemCode.BODY_INVALID, ProblemCode.NOT_FOUND}
    assert what not in answer.text


async def test_who_is_not_told_the_owner_is_not_told_the_request(door: Door) -> None:
    event = medium_resolved(header(new_user()), documents(1), door.caller)
    before = sum((await door.room.committed(door.routes.otp_dispatched)).values())
    await door.room.send(door.routes.otp_dispatched, [dispatched(event)])
    await door.room.all_committed(door.routes.otp_dispatched, before + 1)
    answer = await door.get(STATUS.format(event.request_id), door.token(event.signed.manifest.header.user))
    assert code_of(answer) is ProblemCode.NOT_FOUND
