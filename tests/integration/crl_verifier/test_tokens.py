"""Signatures of tokens: good only for their own request, by the officer's own certificate; the first outcome counts."""

from datetime import timedelta
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from libs.contracts import topics
from libs.contracts.reasons import Reason
from libs.contracts.signing import Rejected, Verified
from libs.contracts.token_route import TokenSigned
from libs.crypto.cms import CmsTemplate
from libs.crypto.cms_reading import parse
from tests.integration.crl_verifier.conftest import Verifier
from tests.integration.crl_verifier.token_requests import moved, token_officer, token_request
from tests.support.documents import Officer, content, officer


def without_attributes(who: Officer, event: TokenSigned) -> bytes:
    """What a token's own software would make of the document."""
    builder = pkcs7.PKCS7SignatureBuilder().set_data(content(event.entry.id))
    builder = builder.add_signer(who.identity.certificate, who.identity.key, hashes.SHA256())
    return builder.sign(Encoding.DER, [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary])


def flipped(event: TokenSigned) -> bytes:
    """A signature that no key made."""
    found = parse(event.cms)
    signature = found.signature[:-1] + bytes([found.signature[-1] ^ 1])
    return CmsTemplate(found.certificate, found.chain).assemble(found.signed_attributes, signature)


async def test_a_good_signature_is_verified_once_and_another_of_the_same_document_emits_nothing(verifier: Verifier):
    """I-25."""
    verifier.server.serve(*verifier.crls())
    async with verifier.start():
        request = await token_request(verifier, await token_officer(verifier), 30)
        first = request.sign()
        for _ in range(3):
            await request.give(first)
        answers = await verifier.answers(first)
        again = request.sign(signing_time=verifier.pki.now.replace(microsecond=0) + timedelta(seconds=1))
        assert all(one.cms != other.cms for one, other in zip(first, again, strict=True))
        await request.give(again)
        await request.settled()
        assert await verifier.answers(first) == answers
    assert all(isinstance(answer, Verified) for answer in answers)
    for sent, answer in zip(first, answers, strict=True):
        assert isinstance(answer, Verified)
        assert (answer.cms, answer.path, answer.index) == (sent.cms, sent.path, sent.index)
        assert (answer.authorisation.channel, answer.authorisation.reference_code) == ("token", "")


async def test_each_bad_signature_is_refused_with_its_reason_and_a_good_one_after_it_changes_nothing(
    verifier: Verifier,
):
    """I-24, I-25, I-26."""
    verifier.server.serve(*verifier.crls())
    async with verifier.start():
        who, other = await token_officer(verifier), await token_officer(verifier)
        roaming = officer(verifier.pki, who.user)
        await verifier.tell(roaming)
        former = officer(verifier.pki, who.user)
        await verifier.tell(former, medium="token")
        request = await token_request(verifier, who, 7)
        good = request.sign()
        bad = [
            good[0],
            good[1].model_copy(update={"cms": flipped(good[1])}),
            request.sign(other)[2],
            good[3].model_copy(update={"cms": without_attributes(who, good[3])}),
            request.sign(root=bytes(32))[4],
            request.sign(roaming)[5],
            request.sign(former)[6],
        ]
        await request.give(bad)
        answers = await verifier.answers(bad)
        await request.give(good)
        await request.settled()
        assert await verifier.answers(bad) == answers
    assert [answer.reason if isinstance(answer, Rejected) else None for answer in answers] == [
        None,
        Reason.SIGNATURE_INVALID,
        Reason.CERTIFICATE_MISMATCH,
        Reason.ATTRIBUTES_MISSING,
        Reason.ATTRIBUTES_MISMATCH,
        Reason.CERTIFICATE_MISMATCH,
        Reason.CERTIFICATE_MISMATCH,
    ]


async def test_what_proves_another_root_is_a_dead_letter_and_ends_nothing(verifier: Verifier):
    """I-24: a token signed it, and not for this request."""
    verifier.server.serve(*verifier.crls())
    async with verifier.start():
        who = await token_officer(verifier)
        request, other = await token_request(verifier, who, 3), await token_request(verifier, who, 3)
        good, foreign = request.sign(), other.sign()
        forged = [
            foreign[0].model_copy(update={"request_id": request.id}),
            good[1].model_copy(update={"index": 2}),
            good[2].model_copy(update={"path": (bytes(32), *good[2].path[1:])}),
        ]
        await request.give(forged)
        await verifier.wire.buried(topics.TOKEN_SIGNED, forged)
        await request.give(good)
        assert all(isinstance(answer, Verified) for answer in await verifier.answers(good))


async def test_a_revoked_token_is_refused_whatever_the_crl_says(verifier: Verifier):
    """I-26."""
    verifier.server.serve(*verifier.crls())
    async with verifier.start():
        who = await token_officer(verifier)
        request = await token_request(verifier, who, 1)
        await verifier.tell(who, status="revoked", medium="token")
        signatures = request.sign()
        await request.give(signatures)
        [answer] = await verifier.answers(signatures)
    assert isinstance(answer, Rejected)
    assert answer.reason is Reason.CERTIFICATE_REVOKED


async def test_who_has_moved_to_another_certificate_signs_with_the_old_one_no_more(verifier: Verifier):
    """I-26: also what was asked before the move; our copy may be behind, so it is waited for once."""
    verifier.server.serve(*verifier.crls())
    async with verifier.start():
        who = await token_officer(verifier)
        request = await token_request(verifier, who, 2)
        signatures = request.sign()
        await request.give(signatures[:1])
        assert isinstance((await verifier.answers(signatures[:1]))[0], Verified)
        await moved(verifier, who, uuid4(), version=2)
        await request.give(signatures[1:])
        await verifier.parked(signatures[1:], Reason.CERTIFICATE_MISMATCH)
        await verifier.look_again(request.id)
        await verifier.wire.tap.until(lambda: verifier.rejected(request.id), "refused")
    [refused] = verifier.rejected(request.id)
    assert (refused.reason, refused.documents) == (Reason.CERTIFICATE_MISMATCH, (signatures[1].entry.id,))


async def test_a_signature_that_overtakes_its_request_waits_for_it(verifier: Verifier):
    verifier.server.serve(*verifier.crls())
    async with verifier.start():
        request = await token_request(verifier, await token_officer(verifier), 2, resolved=False)
        signatures = request.sign()
        await request.give(signatures)
        await verifier.parked(signatures, "request-unknown")
        await request.resolve()
        await verifier.look_again(request.id)
        assert all(isinstance(answer, Verified) for answer in await verifier.answers(signatures))
    assert verifier.waiting(request.id) == []


async def test_a_signature_whose_request_never_comes_is_a_dead_letter_after_a_minute(verifier: Verifier):
    verifier.server.serve(*verifier.crls())
    async with verifier.start():
        request = await token_request(verifier, await token_officer(verifier), 1, resolved=False)
        signatures = request.sign()
        await request.give(signatures)
        await verifier.parked(signatures, "request-unknown")
        await verifier.database.execute(
            "update due set created_at = created_at - interval '1 min', at = now() where request_id = $1", request.id
        )
        await verifier.wire.buried(topics.TOKEN_SIGNED, signatures)
        assert verifier.rejected(request.id) == []
        await request.resolve()
        await request.give(signatures)  # an operator's replay: its id is free
        assert isinstance((await verifier.answers(signatures))[0], Verified)


@pytest.mark.parametrize("medium", ["roaming-otp", "token"])
async def test_only_requests_of_tokens_are_kept(verifier: Verifier, medium: str):
    verifier.server.serve(*verifier.crls())
    async with verifier.start():
        who = await token_officer(verifier)
        request = await token_request(verifier, who, 1, resolved=False)
        await request.resolve(medium=medium)
        behind = [await token_request(verifier, who, 1) for _ in range(12)]  # on every partition
        assert all([await one.kept() for one in behind])
        assert await request.kept() == (medium == "token")
