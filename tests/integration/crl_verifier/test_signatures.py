"""What is verified, what is refused and why, on the real stack."""

from datetime import timedelta

import pytest

from libs.contracts import topics
from libs.contracts.reasons import Reason
from libs.contracts.signing import Rejected, Signed, Verified
from libs.crypto.pki import Validity
from libs.runtime.clock import utc_now
from services.crl_verifier import handlers
from tests.integration.crl_verifier.conftest import Verifier
from tests.support.documents import document, fresh_ids, manifest, officer, sign, signed


async def test_a_good_signature_is_verified_once_however_often_it_comes(verifier: Verifier):
    verifier.server.serve(*verifier.crls())
    async with verifier.start():
        who = await verifier.officer()
        documents = signed(who, fresh_ids(30))
        for _ in range(10):
            await verifier.wire.send(topics.SIGNED, documents)
        answers = await verifier.answers(documents)
        probe = signed(who, fresh_ids(40))  # behind it in every partition
        await verifier.wire.send(topics.SIGNED, probe)
        await verifier.answers(probe)
        assert await verifier.answers(documents) == answers
    for sent, found in zip(documents, answers, strict=True):
        assert isinstance(found, Verified)
        assert Signed(**dict(found)) == sent
        assert [crl.number for crl in found.crls] == list(reversed(await verifier.numbers()))
        assert len(found.certificate_path) == 3
        assert found.signed_at <= found.verified_at <= utc_now()
        assert found.signed_at.microsecond % 1000 == 0  # the broker's time, not ours


async def test_each_lie_is_refused_with_its_reason_and_the_truth_beside_it_is_not(verifier: Verifier):
    verifier.server.serve(*verifier.crls())
    async with verifier.start():
        who, other = await verifier.officer(), await verifier.officer()
        asked = manifest(who.user, [document(each) for each in fresh_ids(7)])
        true = sign(who, asked)
        sent = [
            true[0],
            sign(who, asked, document_id="another")[1],
            sign(who, asked, root=bytes(32))[2],
            true[3].model_copy(update={"path": (bytes(32), *true[3].path[1:])}),
            true[4].model_copy(update={"index": 5}),
            sign(other, asked)[5],
            true[6].model_copy(update={"cms": b"no CMS"}),
        ]
        await verifier.wire.send(topics.SIGNED, sent)
        answers = await verifier.answers(sent)
    assert [answer.reason if isinstance(answer, Rejected) else None for answer in answers] == [
        None,
        Reason.ATTRIBUTES_MISMATCH,
        Reason.ATTRIBUTES_MISMATCH,
        Reason.ATTRIBUTES_MISMATCH,
        Reason.ATTRIBUTES_MISMATCH,
        Reason.CERTIFICATE_MISMATCH,
        Reason.SIGNATURE_INVALID,
    ]
    refused = [answer for answer in answers if isinstance(answer, Rejected)]
    assert all(
        (each.stage, each.header, each.safe_to_retry) == ("crl_verifier", asked.header, False) for each in refused
    )


async def test_a_certificate_that_expired_before_the_brokers_time_is_refused_whatever_signing_time_says(
    verifier: Verifier,
):
    verifier.server.serve(*verifier.crls())
    now = utc_now().replace(microsecond=0)
    async with verifier.start():
        who = await verifier.officer(validity=Validity(now - timedelta(days=9), now - timedelta(seconds=2)))
        documents = sign(who, manifest(who.user, [document(fresh_ids(1)[0])]), signing_time=now - timedelta(minutes=5))
        await verifier.wire.send(topics.SIGNED, documents)
        [answer] = await verifier.answers(documents)
    assert isinstance(answer, Rejected)
    assert answer.reason is Reason.CERTIFICATE_EXPIRED


@pytest.mark.parametrize(
    ("status", "reason"), [("revoked", Reason.CERTIFICATE_REVOKED), ("suspended", Reason.CERTIFICATE_SUSPENDED)]
)
async def test_the_state_counts_at_once_though_the_crl_does_not_list_it(verifier: Verifier, status, reason):
    verifier.server.serve(*verifier.crls())
    async with verifier.start():
        who = await verifier.officer()
        before, after = signed(who, fresh_ids(1)), signed(who, fresh_ids(1))
        await verifier.wire.send(topics.SIGNED, before)
        assert isinstance((await verifier.answers(before))[0], Verified)
        await verifier.tell(who, status=status)
        await verifier.wire.send(topics.SIGNED, after)
        [answer] = await verifier.answers(after)
    assert isinstance(answer, Rejected)
    assert answer.reason is reason


async def test_a_certificate_that_is_registered_late_is_waited_for_once(
    verifier: Verifier, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(handlers, "OVERTAKEN", timedelta(hours=1))
    verifier.server.serve(*verifier.crls())
    async with verifier.start():
        late, never = officer(verifier.pki), officer(verifier.pki)
        soon, in_vain = signed(late), signed(never)
        await verifier.wire.send(topics.SIGNED, soon + in_vain)
        for waiting in (soon, in_vain):
            await verifier.parked(waiting, "certificate-unknown")
        await verifier.tell(late)
        for waiting in (soon, in_vain):
            await verifier.look_again(waiting[0].request_id)
        assert isinstance((await verifier.answers(soon))[0], Verified)
        [answer] = await verifier.answers(in_vain)
    assert isinstance(answer, Rejected)
    assert answer.reason is Reason.CERTIFICATE_UNKNOWN


async def test_an_event_whose_header_is_of_another_request_is_a_dead_letter(verifier: Verifier):
    verifier.server.serve(*verifier.crls())
    async with verifier.start():
        who = await verifier.officer()
        [event], [other] = signed(who), signed(who)
        mixed = event.model_copy(update={"request_id": other.request_id})
        await verifier.wire.send(topics.SIGNED, [mixed, other])
        await verifier.wire.buried(topics.SIGNED, [mixed])
        assert isinstance((await verifier.answers([other]))[0], Verified)
