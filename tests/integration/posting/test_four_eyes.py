"""A `peraku` is posted only upon a posted `sah` of the same content by another user."""

from dataclasses import replace

import pytest

from libs.contracts import topics
from libs.contracts.reasons import Reason
from libs.contracts.waiting import Waiting
from tests.integration.posting.conftest import Posting
from tests.support.documents import Officer, document, fresh_ids, manifest, sign, signed


async def post_sah(posting: Posting, ids: list[str]) -> Officer:
    maker = await posting.officer()
    documents = signed(maker, ids)
    await posting.verify(documents)
    assert len((await posting.completed(documents[0].request_id)).posted) == len(ids)
    return maker


async def age(posting: Posting, request: object, seconds: int) -> None:
    """Let what is parked of a request have waited so much longer."""
    await posting.database.execute(
        "update due set created_at = created_at - make_interval(secs => $2), at = now() where request_id = $1",
        request,
        seconds,
    )


async def parked(posting: Posting, request: object, count: int = 1) -> None:
    query = "select count(*) from due where why = 'sah-not-posted' and request_id = $1"

    async def all_parked() -> bool:
        return await posting.database.fetchval(query, request) == count

    await posting.wire.tap.until(all_parked, "parked")


async def test_a_peraku_by_another_user_is_posted(posting: Posting):
    ids = fresh_ids(30)
    await post_sah(posting, ids)
    peraku = signed(await posting.officer(), ids, action="peraku")
    await posting.verify(peraku)
    end = await posting.completed(peraku[0].request_id)
    assert [each.document_id for each in end.posted] == ids
    assert end.rejected == ()


async def test_a_peraku_by_the_user_who_certified_is_refused_at_once(posting: Posting):
    ids = fresh_ids(2)
    maker = await post_sah(posting, ids)
    peraku = signed(maker, ids, action="peraku")
    await posting.verify(peraku)
    end = await posting.completed(peraku[0].request_id)
    assert [(each.reason, each.documents) for each in end.rejected] == [(Reason.SAH_NOT_POSTED, tuple(sorted(ids)))]
    assert {event.detail for event in posting.rejected(end.request_id)} == {"sah-by-same-user"}


@pytest.mark.parametrize("other", [{"amount": "1250.51"}, {"currency": "USD"}])
async def test_a_peraku_of_other_content_is_refused_at_once(posting: Posting, other: dict[str, str]):
    ids = fresh_ids(1)
    await post_sah(posting, ids)
    checker = await posting.officer()
    peraku = sign(checker, manifest(checker.user, [document(ids[0], **other)], action="peraku"))
    await posting.verify(peraku)
    end = await posting.completed(peraku[0].request_id)
    assert [each.reason for each in end.rejected] == [Reason.SAH_NOT_POSTED]
    assert {event.detail for event in posting.rejected(end.request_id)} == {"sah-of-other-content"}


async def test_a_peraku_of_other_bytes_is_refused_at_once(posting: Posting):
    ids = fresh_ids(1)
    await post_sah(posting, ids)
    checker = await posting.officer()
    entry = replace(document(ids[0]), sha256="0" * 64)
    peraku = sign(checker, manifest(checker.user, [entry], action="peraku"))
    await posting.verify(peraku)
    assert (await posting.completed(peraku[0].request_id)).rejected[0].reason is Reason.SAH_NOT_POSTED


async def test_a_peraku_that_overtook_its_sah_waits_for_it(posting: Posting):
    ids = fresh_ids(3)
    peraku = signed(await posting.officer(), ids, action="peraku")
    await posting.verify(peraku)
    await parked(posting, peraku[0].request_id, 3)
    await post_sah(posting, ids)
    end = await posting.completed(peraku[0].request_id)
    assert [each.document_id for each in end.posted] == ids


async def test_a_peraku_whose_sah_never_comes_is_refused_after_a_minute(posting: Posting):
    peraku = signed(await posting.officer(), fresh_ids(1), action="peraku")
    request = peraku[0].request_id
    await posting.verify(peraku)
    await parked(posting, request)
    await age(posting, request, 50)
    tries = "select tries from due where request_id = $1"
    await posting.wire.tap.until(lambda: posting.database.fetchval(tries, request), "parked again before a minute")
    assert posting.rejected(request) == []
    await age(posting, request, 10)
    end = await posting.completed(request)
    assert [(each.reason, each.safe_to_retry) for each in end.rejected] == [(Reason.SAH_NOT_POSTED, True)]


async def test_sah_and_peraku_that_arrive_together_are_both_posted(posting: Posting):
    ids = fresh_ids(12)
    sah = signed(await posting.officer(), ids)
    peraku = signed(await posting.officer(), ids, action="peraku")
    await posting.verify([event for pair in zip(peraku, sah, strict=True) for event in pair])
    assert len((await posting.completed(sah[0].request_id)).posted) == 12
    assert len((await posting.completed(peraku[0].request_id)).posted) == 12


async def test_documents_that_wait_for_their_sah_are_told_once(posting: Posting):
    ids = fresh_ids(4)
    peraku = signed(await posting.officer(), ids, action="peraku")
    request_id = peraku[0].request_id
    await posting.verify(peraku)
    await parked(posting, request_id, len(ids))

    def told() -> list[Waiting]:
        return posting.wire.events(topics.WAITING, Waiting, request_id)

    await posting.wire.tap.until(lambda: len({name for event in told() for name in event.documents or ()}) == 4, "told")
    await posting.database.execute("update due set at = now() where request_id = $1", request_id)
    tries = "select count(*) from due where request_id = $1 and tries > 0"

    async def looked() -> bool:
        return await posting.database.fetchval(tries, request_id) == len(ids)

    await posting.wire.tap.until(looked, "looked again")
    await age(posting, request_id, 60)
    await posting.completed(request_id)
    assert {(event.stage, event.why) for event in told()} == {("posting", Reason.SAH_NOT_POSTED)}
    assert sorted(name for event in told() for name in event.documents or ()) == sorted(ids)
