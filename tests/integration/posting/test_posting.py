"""A document is posted once, by those who may, and its request is completed once."""

import asyncio
from datetime import timedelta
from hashlib import sha256

import pytest

from libs.bus.outcomes import OVERTAKEN
from libs.contracts import topics
from libs.contracts.reasons import Reason
from libs.contracts.signing import Rejected
from libs.crypto.cms import CmsTemplate
from libs.crypto.cms_reading import parse
from libs.storage import state
from services.posting import sitting
from tests.integration.posting.conftest import Posting
from tests.support.documents import document, fresh_ids, manifest, officer, sign, signed, verified


def refusal(events, ids, *, reason=Reason.CERTIFICATE_REVOKED, stage="crl_verifier"):
    """Another stage's refusal of these documents, or of all for None."""
    return Rejected(
        request_id=events[0].request_id,
        header=events[0].header,
        documents=ids,
        stage=stage,
        reason=reason,
        safe_to_retry=reason.safe_to_retry,
    )


async def test_the_same_event_ten_times_is_one_record_one_position_one_posted(posting: Posting):
    """I-20."""
    documents = signed(await posting.officer(), fresh_ids(3))
    request = documents[0].request_id
    for _ in range(10):
        await posting.verify(documents)
    await posting.completed(request)
    await posting.settled()
    records = await posting.database.fetch("select record_id from record where request_id = $1", request)
    places = await posting.database.fetch(
        "select position from signing_log where record_id = any ($1)", [row["record_id"] for row in records]
    )
    assert len(records) == len(places) == len(posting.posted(request)) == 3
    assert {event.log_position for event in posting.posted(request)} == {row["position"] for row in places}
    await posting.completed(request)


async def test_completed_lists_what_was_posted_in_the_manifests_order(posting: Posting):
    documents = signed(await posting.officer(), fresh_ids(60))
    await posting.verify(list(reversed(documents)))
    end = await posting.completed(documents[0].request_id)
    assert [each.document_id for each in end.posted] == [each.entry.id for each in documents]
    assert end.rejected == ()
    assert end.header == documents[0].header
    by_id = {event.document_id: event.record_id for event in posting.posted(end.request_id)}
    assert {each.document_id: each.record_id for each in end.posted} == by_id


async def test_a_rejected_that_came_first_keeps_the_document_from_being_posted(posting: Posting):
    """I-21."""
    documents = signed(await posting.officer(), fresh_ids(2))
    request, first = documents[0].request_id, documents[0].entry.id
    await posting.wire.send(topics.REJECTED, [refusal(documents, (first,))])
    query = "select 1 from refusal where request_id = $1"
    await posting.wire.tap.until(lambda: posting.database.fetchval(query, request), "the refusal counted")
    await posting.verify(documents)
    end = await posting.completed(request)
    assert [each.document_id for each in end.posted] == [documents[1].entry.id]
    assert [(each.documents, each.reason) for each in end.rejected] == [((first,), Reason.CERTIFICATE_REVOKED)]


async def test_a_rejected_that_comes_after_posting_changes_nothing(posting: Posting):
    """I-21."""
    documents = signed(await posting.officer(), fresh_ids(2))
    request = documents[0].request_id
    await posting.verify(documents[:1])
    await posting.wire.tap.until(lambda: posting.posted(request), "posted")
    await posting.wire.send(topics.REJECTED, [refusal(documents, (documents[0].entry.id,))])
    await posting.verify(documents[1:])
    end = await posting.completed(request)
    await posting.settled()
    assert len(end.posted) == 2
    assert end.rejected == ()
    assert await posting.database.fetchval("select refused from request where request_id = $1", request) == 0


async def test_a_rejected_of_all_ends_what_is_left_and_nothing_is_posted_after_it(posting: Posting):
    documents = signed(await posting.officer(), fresh_ids(5))
    request = documents[0].request_id
    await posting.verify(documents[:2])
    await posting.wire.tap.until(lambda: len(posting.posted(request)) == 2, "two posted")
    named = refusal(documents, (documents[2].entry.id,))
    await posting.wire.send(topics.REJECTED, [named])
    query = "select 1 from refusal where request_id = $1"
    await posting.wire.tap.until(lambda: posting.database.fetchval(query, request), "the refusal counted")
    all_left = refusal(documents, None, reason=Reason.EXPIRED, stage="hsm_signer")
    await posting.wire.send(topics.REJECTED, [all_left, all_left])
    end = await posting.completed(request)
    await posting.verify(documents)
    await posting.settled()
    assert {each.document_id for each in end.posted} == {each.entry.id for each in documents[:2]}
    assert [(each.documents, each.reason, each.stage) for each in end.rejected] == [
        (named.documents, Reason.CERTIFICATE_REVOKED, "crl_verifier"),
        (None, Reason.EXPIRED, "hsm_signer"),
    ]
    assert len(posting.posted(request)) == 2
    await posting.completed(request)


async def test_a_rejected_of_all_of_a_request_that_nobody_could_read_completes_it(posting: Posting):
    documents = signed(officer(posting.pki), fresh_ids(2))
    whole = refusal(documents, None, reason=Reason.MANIFEST_INVALID, stage="medium_lookup")
    await posting.wire.send(topics.REJECTED, [whole.model_copy(update={"header": None})])
    end = await posting.completed(whole.request_id)
    assert (end.header, end.posted, end.rejected[0].documents) == (None, (), None)


async def test_a_document_is_posted_once_per_action_whoever_asks_again(posting: Posting):
    ids = fresh_ids(2)
    first = signed(await posting.officer(), ids)
    await posting.verify(first)
    await posting.completed(first[0].request_id)
    again = signed(await posting.officer(), ids)
    await posting.verify(again)
    end = await posting.completed(again[0].request_id)
    assert end.posted == ()
    assert {each.reason for each in end.rejected} == {Reason.ALREADY_POSTED}
    assert not end.rejected[0].safe_to_retry
    await posting.settled()  # our own refusals came back, and were not counted twice
    assert await posting.database.fetchval(
        "select refused from request where request_id = $1", again[0].request_id
    ) == len(ids)


async def test_two_requests_for_one_document_at_once_post_it_once(posting: Posting):
    ids = fresh_ids(20)
    rivals = [signed(await posting.officer(), ids), signed(await posting.officer(), list(reversed(ids)))]
    await asyncio.gather(*(posting.verify(documents) for documents in rivals))
    ends = [await posting.completed(documents[0].request_id) for documents in rivals]
    winners = [each.document_id for end in ends for each in end.posted]
    assert sorted(winners) == sorted(ids)
    assert sum(len(each.documents or ()) for end in ends for each in end.rejected) == len(ids)


@pytest.mark.parametrize(
    ("status", "reason"), [("revoked", Reason.CERTIFICATE_REVOKED), ("suspended", Reason.CERTIFICATE_SUSPENDED)]
)
async def test_revocation_counts_at_once_whatever_was_verified(posting: Posting, status: str, reason: Reason):
    """I-53: so does a suspension, for what was signed and verified before it."""
    zainab = await posting.officer()
    documents = signed(zainab, fresh_ids(2))
    await posting.tell(zainab, status=status)
    await posting.verify(documents)
    end = await posting.completed(documents[0].request_id)
    assert end.posted == ()
    assert {each.reason for each in end.rejected} == {reason}


async def test_a_signature_that_does_not_hold_is_not_posted_though_it_was_verified(posting: Posting):
    who = await posting.officer()
    documents = signed(who, fresh_ids(2))
    parts = parse(documents[0].cms)
    flipped = parts.signature[:-1] + bytes([parts.signature[-1] ^ 1])
    forged = CmsTemplate(parts.certificate, parts.chain).assemble(parts.signed_attributes, flipped)
    await posting.verify([documents[0].model_copy(update={"cms": forged}), documents[1]])
    end = await posting.completed(documents[0].request_id)
    assert [each.document_id for each in end.posted] == [documents[1].entry.id]
    assert [each.reason for each in end.rejected] == [Reason.SIGNATURE_INVALID]


async def test_a_certificate_of_another_user_posts_nothing(posting: Posting):
    owner, other = await posting.officer(), await posting.officer()
    documents = sign(other, manifest(owner.user, [document(each) for each in fresh_ids(1)]))
    await posting.verify(documents)
    end = await posting.completed(documents[0].request_id)
    assert [each.reason for each in end.rejected] == [Reason.CERTIFICATE_MISMATCH]


async def test_a_certificate_that_is_registered_late_is_waited_for_once(
    posting: Posting, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sitting, "OVERTAKEN", timedelta(hours=1))  # its end is said below
    late, never = officer(posting.pki), officer(posting.pki)
    soon, in_vain = signed(late, fresh_ids(1)), signed(never, fresh_ids(1))
    await posting.verify(soon + in_vain)
    query = "select count(*) from due where why = 'certificate-unknown' and request_id = any ($1)"
    requests = [soon[0].request_id, in_vain[0].request_id]

    async def both_parked() -> bool:
        return await posting.database.fetchval(query, requests) == 2

    await posting.wire.tap.until(both_parked, "both parked")
    await posting.tell(late)
    monkeypatch.undo()
    await posting.database.execute(
        "update due set created_at = created_at - $2::interval, at = now() where request_id = any ($1)",
        requests,
        OVERTAKEN,
    )
    assert len((await posting.completed(requests[0])).posted) == 1
    assert [each.reason for each in (await posting.completed(requests[1])).rejected] == [Reason.CERTIFICATE_UNKNOWN]


async def test_an_event_whose_header_is_of_another_request_is_a_dead_letter_and_counts_nowhere(posting: Posting):
    mine, other = signed(await posting.officer(), fresh_ids(1)), signed(await posting.officer(), fresh_ids(1))
    [event] = verified(posting.pki, mine)
    mixed = event.model_copy(update={"request_id": other[0].request_id})
    await posting.wire.send(topics.VERIFIED, [mixed])
    await posting.wire.buried(topics.VERIFIED, [mixed])
    await posting.verify(other)
    assert len((await posting.completed(other[0].request_id)).posted) == 1
    assert posting.rejected(mine[0].request_id) == []


@pytest.mark.parametrize("status", ["good", "revoked"])
async def test_the_state_of_a_certificate_is_found_by_its_fingerprint(posting: Posting, status: str):
    who = await posting.officer()
    await posting.tell(who, status=status)
    fingerprint = sha256(who.identity.der).digest()
    async with posting.database.acquire() as connection:
        found = await state.certificates_by_fingerprint(connection, {fingerprint, bytes(32)})
    assert {key: (value.user, value.status) for key, value in found.items()} == {fingerprint: (who.user, status)}
