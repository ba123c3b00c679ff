"""A cancel at the signer: what is not signed never will be, what is signed stays, and each ask has one answer."""

from collections.abc import Sequence

import pytest

from libs.contracts.cancelling import CancelRequested
from libs.contracts.reasons import Reason
from libs.contracts.signing import MediumResolved
from libs.runtime.clock import utc_now
from libs.storage import cancels
from services.hsm_signer import store
from tests.integration.hsm_signer.conftest import Signer
from tests.support.pki import p256_key
from tests.support.requests import cancel_of, documents, header, medium_resolved, new_user, user_state
from tests.support.waiting import eventually


async def new_request(signer: Signer, count: int = 1) -> MediumResolved:
    """A request of an officer whom the signer knows."""
    user = user_state(new_user())
    await signer.know(user, certificate={"certificate": signer.pki.officer(user.user, key=p256_key()).der})
    event = medium_resolved(header(user.user, count), documents(count), signer.caller)
    return event.model_copy(update={"credential_id": user.credential_id})


def cancel(request: MediumResolved, **values: str) -> CancelRequested:
    return cancel_of(request.signed.manifest.header.model_dump(), **values)


async def authorised(signer: Signer, request: MediumResolved, *, signed: Sequence[int]) -> None:
    """PIN and OTP were right, and these documents are signed already."""
    async with signer.room.pool.acquire() as connection, connection.transaction():
        row = await store.lock_request(connection, request.request_id)
        assert row is not None
        await store.authorise(
            connection,
            row,
            attempt="a",
            reserved_at=utc_now(),
            channel="e-mail",
            reference_code="K71",
            documents=[document.id for document in request.signed.manifest.documents],
        )
        await store.mark_signed(connection, request.request_id, signed)


async def test_a_request_that_is_not_authorised_ends_whole_and_its_officers_pin_is_not_tried(signer: Signer) -> None:
    """I-23."""
    request = await new_request(signer, 3)
    await signer.resolve(request)
    asked = cancel(request)
    await signer.cancel(*[asked] * 10)
    (rejected,), (answer,) = signer.rejections(request), signer.answers(request)
    assert (rejected.reason, rejected.documents, rejected.stage) == (Reason.CANCELLED, None, "hsm_signer")
    assert (answer.cancellation, answer.answer) == (asked.cancellation, "accepted")
    assert (await signer.failed(await signer.submit(request))).reason is Reason.CANCELLED
    assert await signer.room.empty("attempt")


async def test_a_cancel_before_its_request_ends_it_when_it_comes(signer: Signer) -> None:
    request = await new_request(signer)
    asked = cancel(request)
    await signer.cancel(*[asked] * 10)
    assert signer.answers(request) == []
    await signer.resolve(request)
    await signer.tap.read()
    assert [one.answer for one in signer.answers(request)] == ["accepted"]
    assert (await signer.rejected(request)).reason is Reason.CANCELLED
    assert await signer.end_reason(request) == Reason.CANCELLED
    assert await signer.room.empty("cancel")


async def test_a_cancel_before_its_request_stops_an_attempt_that_overtakes_the_request_too(signer: Signer) -> None:
    request = await new_request(signer)
    asked = cancel(request)
    await signer.cancel(asked)
    await signer.submit(request)
    assert (await signer.rejected(request)).reason is Reason.CANCELLED
    assert await signer.room.empty("attempt")
    await signer.resolve(request)
    await signer.tap.read()
    assert [one.answer for one in signer.answers(request)] == ["accepted"]
    assert len(signer.rejections(request)) == 1


async def test_a_request_that_comes_while_its_cancel_is_being_kept_is_ended_by_it(signer: Signer) -> None:
    """Neither sees the other's row before it commits: without the lock the cancel would be kept and never applied."""
    request = await new_request(signer)
    pool = await signer.room.more_connections()
    async with pool.acquire() as connection, connection.transaction():
        await cancels.lock(connection, request.request_id)
        await cancels.keep(connection, cancel(request))
        await signer.room.send(signer.resolved, [request])
        waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
        await eventually(lambda: signer.room.count(waiting), "the request waits for the lock")
    await signer.tap.until(lambda: signer.answers(request), "answered")
    assert [one.answer for one in signer.answers(request)] == ["accepted"]
    assert await signer.end_reason(request) == Reason.CANCELLED


async def test_what_is_signed_stays_signed_and_the_rest_is_rejected_by_name(signer: Signer) -> None:
    request = await new_request(signer, 5)
    await signer.resolve(request)
    await authorised(signer, request, signed=[0, 2])
    await signer.cancel(cancel(request))
    ids = [document.id for document in request.signed.manifest.documents]
    (rejected,) = signer.rejections(request)
    assert (rejected.reason, rejected.documents) == (Reason.CANCELLED, (ids[1], ids[3], ids[4]))
    assert [one.answer for one in signer.answers(request)] == ["accepted"]
    async with signer.room.pool.acquire() as connection:
        # The slice that was being signed meanwhile: its signatures go nowhere.
        assert await store.mark_signed(connection, request.request_id, [1, 3]) == set()
        left, _, _ = await store.next_slice(connection, request.request_id, request.credential_id, 25, after=-1)
        assert left == []


async def test_when_all_is_signed_it_is_too_late(signer: Signer) -> None:
    request = await new_request(signer, 2)
    await signer.resolve(request)
    await authorised(signer, request, signed=[0, 1])
    await signer.cancel(cancel(request))
    assert [one.answer for one in signer.answers(request)] == ["too-late"]
    assert signer.rejections(request) == []
    assert await signer.end_reason(request) is None


async def test_what_has_ended_stays_ended_for_its_first_reason_and_a_second_ask_is_told_the_same(
    signer: Signer,
) -> None:
    ended, cancelled = [await new_request(signer) for _ in range(2)]
    for request in (ended, cancelled):
        await signer.resolve(request)
    async with signer.room.pool.acquire() as connection:
        await store.end_request(connection, ended.request_id, Reason.EXPIRED)
    await signer.cancel(cancel(ended), cancel(cancelled), cancel(cancelled))
    assert [one.answer for one in signer.answers(ended)] == ["too-late"]
    assert await signer.end_reason(ended) == Reason.EXPIRED
    assert [one.answer for one in signer.answers(cancelled)] == ["accepted"] * 2
    assert (len(signer.rejections(ended)), len(signer.rejections(cancelled))) == (0, 1)


@pytest.mark.parametrize("other", [{"user": "999999999999"}, {"caller": "somebody-else"}], ids=str)
async def test_a_cancel_of_another_user_or_caller_ends_nothing_before_or_after(
    signer: Signer, other: dict[str, str]
) -> None:
    request = await new_request(signer)
    await signer.cancel(cancel(request, **other))
    await signer.resolve(request)
    await signer.cancel(cancel(request, **other))
    await signer.tap.read()
    assert signer.answers(request) == []
    assert signer.rejections(request) == []
    assert await signer.end_reason(request) is None
    assert signer.dead_letters(signer.cancel_requested) == ["the cancel is not of the request's caller and user"]
