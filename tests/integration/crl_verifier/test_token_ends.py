"""crl_verifier owns the end of a token request: by its documents, by a cancel, by time; and says what waits."""

from datetime import timedelta

import pytest

from libs.contracts import topics
from libs.contracts.reasons import Reason
from libs.contracts.signing import Rejected, Verified
from services.crl_verifier import token_requests
from tests.integration.crl_verifier.conftest import Verifier
from tests.integration.crl_verifier.token_requests import (
    ids,
    one_waits_and_the_rest_expired,
    refused_once,
    token_officer,
    token_request,
)
from tests.support.documents import fresh_ids, signed


async def test_a_cancel_rejects_what_is_not_verified_and_leaves_what_is(verifier: Verifier):
    """I-23, I-25."""
    verifier.server.serve(*verifier.crls())
    async with verifier.start():
        request = await token_request(verifier, await token_officer(verifier), 4)
        signatures = request.sign()
        await request.give(signatures[:2])
        assert all(isinstance(answer, Verified) for answer in await verifier.answers(signatures[:2]))
        asked = await request.cancel()
        assert await request.answer(asked) == "accepted"
        assert await refused_once(request, Reason.CANCELLED) == ids(request)[2:]
        again = await request.cancel()
        assert await request.answer(again) == "accepted"
        await request.give(signatures[2:])
        await request.settled()
        assert len(verifier.verified(request.id)) == 2
        assert len(verifier.rejected(request.id)) == 1


async def test_a_cancel_after_the_last_signature_is_too_late(verifier: Verifier):
    verifier.server.serve(*verifier.crls())
    async with verifier.start():
        request = await token_request(verifier, await token_officer(verifier), 2)
        signatures = request.sign()
        await request.give(signatures)
        await verifier.answers(signatures)
        asked = await request.cancel()
        assert await request.answer(asked) == "too-late"
    assert verifier.rejected(request.id) == []


async def test_a_cancel_before_its_request_is_kept_and_ends_it(verifier: Verifier):
    """I-23."""
    verifier.server.serve(*verifier.crls())
    async with verifier.start():
        request = await token_request(verifier, await token_officer(verifier), 2, resolved=False)
        asked = await request.cancel()
        query = "select count(*) from cancel where request_id = $1"

        async def kept() -> bool:
            return bool(await verifier.database.fetchval(query, request.id))

        await verifier.wire.tap.until(kept, "the cancel is kept")
        await request.resolve()
        assert await request.answer(asked) == "accepted"
        assert await refused_once(request, Reason.CANCELLED) == ids(request)


async def test_nobody_elses_cancel_ends_anything(verifier: Verifier):
    """I-23."""
    verifier.server.serve(*verifier.crls())
    async with verifier.start():
        request = await token_request(verifier, await token_officer(verifier), 1)
        forged = [await request.cancel(caller="somebody-else"), await request.cancel(user="999999999999")]
        await verifier.wire.buried(topics.CANCEL_REQUESTED, forged)
        signatures = request.sign()
        await request.give(signatures)
        assert isinstance((await verifier.answers(signatures))[0], Verified)


async def test_a_cancel_takes_back_what_waits_for_a_crl(verifier: Verifier):
    verifier.server.serve(*verifier.stale())
    async with verifier.start():
        request = await token_request(verifier, await token_officer(verifier), 1)
        signatures = request.sign()
        await request.give(signatures)
        await verifier.parked(signatures, "crl-stale")
        asked = await request.cancel()
        assert await request.answer(asked) == "accepted"
        verifier.server.serve(*verifier.crls())
        await verifier.look_again(request.id)
        await request.settled()
        [answer] = await verifier.answers(signatures)
    assert isinstance(answer, Rejected)
    assert answer.reason is Reason.CANCELLED
    assert verifier.verified(request.id) == []


async def test_a_cancel_takes_back_what_still_waits_for_a_crl_after_the_rest_expired(
    verifier: Verifier, monkeypatch: pytest.MonkeyPatch
):
    """I-23, I-25: one fate for each, and what has waited is never verified afterwards."""
    monkeypatch.setattr(token_requests, "RESERVE_WITHIN", timedelta())
    verifier.server.serve(*verifier.stale())
    async with verifier.start():
        request, signatures = await one_waits_and_the_rest_expired(verifier, 3)
        asked = await request.cancel()
        assert await request.answer(asked) == "accepted"
        assert await refused_once(request, Reason.CANCELLED) == ids(request)[:1]
        again = await request.cancel()
        assert await request.answer(again) == "accepted"
        verifier.server.serve(*verifier.crls())
        await verifier.look_again(request.id)
        await request.give(signatures[1:])
        await request.settled()
    assert verifier.verified(request.id) == []
    assert [event.reason for event in verifier.rejected(request.id)] == [Reason.EXPIRED, Reason.CANCELLED]


async def test_a_cancel_after_what_waited_was_verified_is_too_late(verifier: Verifier, monkeypatch: pytest.MonkeyPatch):
    """I-23, I-25: also of a request whose other documents expired meanwhile."""
    monkeypatch.setattr(token_requests, "RESERVE_WITHIN", timedelta())
    verifier.server.serve(*verifier.stale())
    async with verifier.start():
        request, _ = await one_waits_and_the_rest_expired(verifier, 2)
        verifier.server.serve(*verifier.crls())
        await verifier.look_again(request.id)
        await verifier.wire.tap.until(lambda: verifier.verified(request.id), "verified")
        asked = await request.cancel()
        assert await request.answer(asked) == "too-late"
    assert [event.reason for event in verifier.rejected(request.id)] == [Reason.EXPIRED]


async def test_documents_of_one_request_that_wait_together_are_told_together_and_once(verifier: Verifier):
    """I-19."""
    verifier.server.serve(*verifier.stale())
    async with verifier.start():
        who = await verifier.officer()
        documents = signed(who, fresh_ids(60))
        request_id = documents[0].request_id
        await verifier.wire.send(topics.SIGNED, documents)
        await verifier.parked(documents, "crl-stale")
        await verifier.look_again(request_id)
        tries = "select count(*) from due where request_id = $1 and tries > 0"

        async def looked() -> bool:
            return bool(await verifier.database.fetchval(tries, request_id) == len(documents))

        await verifier.wire.tap.until(looked, "looked again")
        verifier.server.serve(*verifier.crls())
        await verifier.look_again(request_id)
        await verifier.answers(documents)
    told = {event.documents or () for event in verifier.waiting(request_id)}  # published again, it is the same event
    named = [name for documents in told for name in documents]
    assert sorted(named) == sorted(each.entry.id for each in documents)
    assert len(told) < len(documents) / 2
