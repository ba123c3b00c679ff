"""PIN and OTP are handed on once, whatever is retried or crashes, and never seen."""

import asyncio
import json
import re
from base64 import b64encode
from datetime import timedelta
from secrets import token_bytes
from uuid import uuid4

import pytest

from libs.contracts.problems import ProblemCode
from libs.contracts.progress import Progressed
from libs.contracts.reasons import Reason
from libs.contracts.signing import INTERACTIVE_DOCUMENTS, AuthorisationFailed, Completed
from libs.runtime.clock import utc_now
from libs.storage import ledger
from services.gateway.schemas import Accepted
from services.gateway.submissions import MAX_AUTHORISATIONS
from tests.integration.gateway.conftest import SEALED, Door, code_of, dispatched
from tests.support.requests import documents, header, medium_resolved, new_user, requested
from tests.unit.gateway.histories import completed, signed


async def lies_anywhere(door: Door, sealed: bytes) -> bool:
    found = "select exists (select from content where position($1::bytea in bytes) > 0)"
    return bool(await door.room.pool.fetchval(found, b64encode(sealed)))


async def test_a_submission_carries_all_that_the_signer_needs(door: Door) -> None:
    event = await door.awaiting(2)
    trace = "0af7651916cd43dd8448eb211c80319c"
    answer = await door.submit(event, "k-1", traceparent=f"00-{trace}-b7ad6b7169203331-01")
    assert answer.status_code == 202
    ((identifier, published),) = await door.submitted(event)
    accepted = Accepted.model_validate_json(answer.content)
    assert accepted.attempt == published.attempt
    assert answer.headers["location"] == accepted.status_url == f"/v1/signings/{event.request_id}"
    assert published.signed == event.signed
    assert (published.sealed, published.sealing_key_id) == (SEALED, "cd" * 32)
    assert [(one.sealing_key_id, one.sealed) for one in published.challenges] == [("cd" * 32, b"challenge 1")]
    (record,) = [
        record
        for record, ce_id in zip(
            door.tap.of(door.routes.interactive), door.tap.ids(door.routes.interactive), strict=True
        )
        if ce_id == identifier
    ]
    assert record.key == str(event.request_id).encode()
    assert trace in str(dict(record.headers)["traceparent"])


async def test_the_newest_three_challenges_go_along_expired_or_not(door: Door) -> None:
    event = await door.awaiting()
    past = utc_now() - timedelta(minutes=1)
    await door.room.send(door.routes.otp_dispatched, [dispatched(event, n, expires=past) for n in (2, 3, 4)])
    head = event.signed.manifest.header
    await door.until(head, lambda status: len(status.dispatches) == 4, "four codes")
    assert (await door.submit(event, uuid4().hex)).status_code == 202
    ((_, published),) = await door.submitted(event)
    assert [one.sealed for one in published.challenges] == [b"challenge 4", b"challenge 3", b"challenge 2"]


@pytest.mark.parametrize("count", [INTERACTIVE_DOCUMENTS, INTERACTIVE_DOCUMENTS + 1])
async def test_a_long_batch_takes_the_bulk_lane(door: Door, count: int) -> None:
    event = await door.awaiting(count)
    assert (await door.submit(event, uuid4().hex)).status_code == 202
    await door.tap.read()
    bulk = [record for record in door.tap.of(door.routes.bulk) if record.key == str(event.request_id).encode()]
    assert len(bulk) == (count > INTERACTIVE_DOCUMENTS)
    assert len(await door.submitted(event)) == 1


async def test_the_same_call_twice_is_one_event_and_one_answer(door: Door) -> None:
    event = await door.awaiting()
    answers = [await door.submit(event, "k-twice-" + event.key) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202] * 3
    assert len({answer.text for answer in answers}) == 1
    assert len(await door.submitted(event)) == 1


async def test_the_same_call_many_times_at_once_is_one_event(door: Door) -> None:
    event = await door.awaiting()
    answers = await asyncio.gather(*(door.submit(event, "k-race-" + event.key) for _ in range(8)))
    assert [answer.status_code for answer in answers] == [202] * 8
    assert len({identifier for identifier, _ in await door.submitted(event)}) == 1


async def test_one_key_for_two_calls_is_a_conflict_and_publishes_nothing(door: Door) -> None:
    event, other = await door.awaiting(), await door.awaiting()
    key = uuid4().hex
    assert (await door.submit(event, key)).status_code == 202
    conflicts = [
        await door.submit(event, key, sealed=b"t" * 200),
        await door.submit(other, key),
    ]
    assert [code_of(answer) for answer in conflicts] == [ProblemCode.IDEMPOTENCY_KEY_REUSED] * 2
    assert len(await door.submitted(event)) == 1
    assert await door.submitted(other) == []


async def test_a_new_attempt_under_a_new_key_is_another_event(door: Door) -> None:
    event = await door.awaiting()
    await door.submit(event, uuid4().hex)
    await door.submit(event, uuid4().hex, sealed=b"t" * 200)
    assert len({identifier for identifier, _ in await door.submitted(event)}) == 2


async def test_what_was_stored_and_not_published_is_published_by_the_retry_under_its_first_id(door: Door) -> None:
    event = await door.awaiting()
    key = uuid4().hex
    async with door.cut_off() as twin:
        for _ in range(2):
            answer = await door.submit(event, key, http=twin)
            assert code_of(answer) is ProblemCode.UNAVAILABLE
            assert int(answer.headers["retry-after"]) > 0
    assert await door.submitted(event) == []
    stored = await door.room.pool.fetchval("select event_id from submission where idempotency_key = $1", key)
    for _ in range(2):
        assert (await door.submit(event, key)).status_code == 202
    ((identifier, published),) = await door.submitted(event)
    assert identifier == str(stored)
    assert published.sealed == SEALED


async def test_a_crash_between_publish_and_its_mark_publishes_the_same_event_again(door: Door) -> None:
    event = await door.awaiting()
    key = uuid4().hex
    async with door.cut_off() as twin:
        await door.submit(event, key, http=twin)
    row = await door.room.pool.fetchrow(
        "select o.* from recorded o join submission s using (event_id) where s.idempotency_key = $1", key
    )
    assert row is not None
    headers = [(name, value.encode("latin-1")) for name, value in json.loads(row["headers"])]
    await door.room.producer.send_and_wait(row["topic"], key=row["key"], value=row["value"], headers=headers)
    assert (await door.submit(event, key)).status_code == 202
    found = await door.submitted(event)
    assert len(found) == 2
    assert len({identifier for identifier, _ in found}) == 1


async def test_what_carries_a_sealed_pin_is_not_kept_once_it_is_published(door: Door) -> None:
    event = await door.awaiting()
    sealed = b"unmistakable" * 20
    assert (await door.submit(event, uuid4().hex, sealed=sealed)).status_code == 202
    kept = await door.room.pool.fetchval("select count(*) from outcome where convert_from(key, 'UTF8') = $1", event.key)
    assert kept == 0
    assert not await lies_anywhere(door, sealed)
    status = await door.status(event.request_id, event.signed.manifest.header.user)
    assert status.state == "awaiting-authorisation"
    kinds = await door.room.pool.fetch("select kind from timeline where request_id = $1", event.request_id)
    assert [row["kind"] for row in kinds].count("authorisation-submitted") == 1


async def test_a_promise_that_the_sweep_publishes_is_in_the_timeline_and_leaves_no_sealed_pin(door: Door) -> None:
    event = await door.awaiting()
    key = uuid4().hex
    async with door.cut_off() as twin:
        await door.submit(event, key, http=twin)
    kinds = await door.room.pool.fetch("select kind from timeline where request_id = $1", event.request_id)
    assert [row["kind"] for row in kinds].count("authorisation-submitted") == 1
    cause = await door.room.pool.fetchval("select event_id from submission where idempotency_key = $1", key)
    assert await lies_anywhere(door, SEALED)
    async with door.room.pool.acquire() as connection:
        ((identifier, _),) = await ledger.unpublished(connection, [cause])
        await ledger.mark_published(connection, [identifier])
        assert await connection.fetchval("select count(*) from outcome where cause = $1", cause) == 0
    assert not await lies_anywhere(door, SEALED)
    assert (await door.submit(event, key)).status_code == 202
    assert await door.submitted(event) == []


async def test_one_request_is_not_sent_more_than_an_officer_needs_however_many_calls_come_at_once(door: Door) -> None:
    """Each carries its request's whole manifest: without a bound one caller could hold up a lane."""
    event, other = await door.awaiting(), await door.awaiting()
    answers = await asyncio.gather(*(door.submit(event, uuid4().hex, sealed=token_bytes(200)) for _ in range(40)))
    refused = [answer for answer in answers if answer.status_code != 202]
    assert len(refused) == 40 - MAX_AUTHORISATIONS
    assert {code_of(answer) for answer in refused} == {ProblemCode.TOO_MANY_CALLS}
    assert len({identifier for identifier, _ in await door.submitted(event)}) == MAX_AUTHORISATIONS
    assert (await door.submit(other, uuid4().hex)).status_code == 202


async def test_a_code_that_overtook_its_request_is_not_called_missing(door: Door) -> None:
    """Between topics there is no order: after a restart the gateway may know of the code first."""
    event = medium_resolved(header(new_user()), documents(1), door.caller)
    head = event.signed.manifest.header
    await door.room.send(door.routes.requested, [requested(head.model_dump(), documents(1), door.caller)])
    await door.room.send(door.routes.otp_dispatched, [dispatched(event)])
    await door.until(head, lambda status: status.dispatches, "the code")
    key = uuid4().hex
    answer = await door.submit(event, key)
    assert (answer.status_code, code_of(answer)) == (503, ProblemCode.UNAVAILABLE)
    assert answer.headers["retry-after"]
    await door.room.send(door.routes.medium_resolved, [event])
    await door.until(head, lambda status: status.state == "awaiting-authorisation", "the medium")
    assert (await door.submit(event, key)).status_code == 202


async def test_before_the_otp_it_is_too_early_and_after_the_signature_too_late(door: Door) -> None:
    event = medium_resolved(header(new_user()), documents(1), door.caller)
    head = event.signed.manifest.header
    await door.room.send(door.routes.medium_resolved, [event])
    await door.until(head, lambda status: status.state == "awaiting-otp", "the medium is known")
    assert code_of(await door.submit(event, "early")) is ProblemCode.AUTHORISATION_TOO_EARLY
    await door.room.send(door.routes.otp_dispatched, [dispatched(event)])
    await door.until(head, lambda status: status.state == "awaiting-authorisation", "a code")
    key = uuid4().hex
    assert (await door.submit(event, key)).status_code == 202
    failure = AuthorisationFailed(
        request_id=event.request_id, attempt="a", reason=Reason.OTP_INCORRECT, attempts_left=4, safe_to_retry=True
    )
    await door.room.send(door.routes.authorisation_failed, [failure])
    await door.until(head, lambda status: len(status.failures) == 1, "the failure")
    assert (await door.submit(event, uuid4().hex, sealed=b"t" * 200)).status_code == 202
    one: Progressed = signed(head, 0)
    await door.room.send(door.routes.progressed, [one])
    await door.until(head, lambda status: status.state == "signing", "a signature")
    assert code_of(await door.submit(event, uuid4().hex)) is ProblemCode.AUTHORISATION_TOO_LATE
    end: Completed = completed(head, [0])
    await door.room.send(door.routes.completed, [end])
    await door.until(head, lambda status: status.state == "completed", "the end")
    assert code_of(await door.submit(event, uuid4().hex)) is ProblemCode.AUTHORISATION_TOO_LATE
    assert (await door.submit(event, key)).status_code == 202  # a retry is answered as it was first
    assert len(await door.submitted(event)) == 2


async def test_secrets_in_a_body_that_is_not_valid_are_neither_echoed_nor_logged_nor_kept(
    door: Door, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    event = await door.awaiting()
    user = event.signed.manifest.header.user
    pin, otp = "Rahsia-7731", "482913"
    bodies = [
        {"sealing_key_id": "cd" * 32, "pin": pin, "otp": otp},
        {"sealing_key_id": pin, "sealed": otp},
        {pin: otp},
        pin,
    ]
    for body in bodies:
        token = door.token(user)
        answer = await door.http.post(
            f"/v1/signings/{event.request_id}/authorisations",
            json=body,
            headers={"Authorization": f"Bearer {token}", "Idempotency-Key": "k"},
        )
        assert code_of(answer) is ProblemCode.BODY_INVALID
        said = capfd.readouterr()
        seen = answer.text + str(answer.headers) + said.out + said.err + caplog.text
        for secret in (pin, otp, token):
            assert secret not in seen
    assert await door.submitted(event) == []


async def test_a_missing_or_strange_idempotency_key_is_refused(door: Door) -> None:
    event = await door.awaiting()
    token = door.token(event.signed.manifest.header.user)
    answer = await door.http.post(
        f"/v1/signings/{event.request_id}/authorisations",
        json={"sealing_key_id": "cd" * 32, "sealed": "c2VhbGVk" * 20},
        headers={"Authorization": f"Bearer {token}"},
    )
    assert code_of(answer) is ProblemCode.BODY_INVALID
    assert re.search("header.idempotency-key", answer.text)
    for key in ("a b", "x" * 129):
        assert code_of(await door.submit(event, key)) is ProblemCode.BODY_INVALID
    assert await door.submitted(event) == []
