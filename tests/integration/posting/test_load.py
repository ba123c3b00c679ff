"""Many documents, slices and replicas at once: the log has no gap, each document one record, each request one end."""

from libs.contracts import topics
from libs.contracts.reasons import Reason
from libs.crypto.merkle import leaf_hash
from tests.integration.posting.conftest import Posting, Replica
from tests.integration.posting.test_posting import refusal
from tests.support.documents import fresh_ids, signed

DOCUMENTS = 500


GAPS_AND_REPEATS = "select max(position) + 1 - count(*), count(*) - count(distinct record_id) from signing_log"


async def test_500_documents_over_two_replicas_are_posted_once_without_a_gap(posting: Posting, replica: Replica):
    documents = signed(await posting.officer(), fresh_ids(DOCUMENTS))
    request = documents[0].request_id
    async with replica():
        # Each event twice: whichever replica has the partition by then.
        await posting.verify(documents)
        await posting.verify(documents)
        end = await posting.completed(request, seconds=45)
        await posting.settled()
    assert [each.document_id for each in end.posted] == [each.entry.id for each in documents]
    assert await posting.row(GAPS_AND_REPEATS) == (0, 0)
    rows = await posting.database.fetch(
        "select l.leaf_hash, r.value from signing_log l join posted_record r using (record_id) where r.request_id = $1",
        request,
    )
    assert len(rows) == DOCUMENTS
    assert all(leaf_hash(row["value"]) == row["leaf_hash"] for row in rows)
    assert {event.document_id for event in posting.posted(request)} == {each.entry.id for each in documents}
    await posting.completed(request)


async def test_verified_and_rejected_that_interleave_complete_a_request_once(posting: Posting, replica: Replica):
    """I-21."""
    documents = signed(await posting.officer(), fresh_ids(200))
    request, ids = documents[0].request_id, [each.entry.id for each in documents]
    async with replica():
        for start in range(0, 200, 20):
            await posting.verify(documents[start : start + 15])
            await posting.wire.send(
                topics.REJECTED, [refusal(documents, (document,)) for document in ids[start + 10 : start + 20]]
            )
        await posting.wire.send(topics.REJECTED, [refusal(documents, None, reason=Reason.EXPIRED, stage="hsm_signer")])
        await posting.verify(documents)
        end = await posting.completed(request)
        await posting.settled()
    posted = {each.document_id for each in end.posted}
    refused = {document for each in end.rejected for document in each.documents or ()}
    assert not posted & refused
    records = "select count(*) from record where request_id = $1"
    assert await posting.database.fetchval(records, request) == len(posted) == len(posting.posted(request))
    counts = await posting.row("select posted, refused from request where request_id = $1", request)
    assert counts == (len(posted), 200 - len(posted))
    if posted | refused != set(ids):  # some had no outcome when `rejected` of all came: they are in its group
        assert None in [each.documents for each in end.rejected]
    assert await posting.row(GAPS_AND_REPEATS) == (0, 0)
    await posting.completed(request)
