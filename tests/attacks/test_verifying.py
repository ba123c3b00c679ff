"""Attacks of who can write `signed`, which no producer signs: what no officer signed, and what is hardly ASN.1.

Each is refused by name, and does what it is for once its defence is away.
"""

import pytest

from libs.contracts import document_signature, topics
from libs.contracts.reasons import Reason
from libs.contracts.signing import Signed, Verified
from libs.crypto import cms_reading
from libs.crypto.cms_reading import SignedDocument
from services.crl_verifier import verification
from tests.attacks.malformed import flipped, malformed, oversized
from tests.integration.crl_verifier.conftest import Verifier, hands, pki, pki_dir, server, verifier, wire
from tests.support.documents import document, fresh_ids, manifest, sign, signed

__all__ = ["hands", "pki", "pki_dir", "server", "verifier", "wire"]

pytestmark = pytest.mark.stack

defended = pytest.mark.parametrize("defence", ["on", "off"])


async def came_to(verifier: Verifier, event: Signed) -> Reason | str:
    """What became of it: `verified`, or why not."""
    await verifier.wire.send(topics.SIGNED, [event])
    (answer,) = await verifier.answers([event])
    return "verified" if isinstance(answer, Verified) else answer.reason


@defended
async def test_what_no_key_signed_is_verified_for_nobody(
    verifier: Verifier, monkeypatch: pytest.MonkeyPatch, defence: str
) -> None:
    verifier.server.serve(*verifier.crls())
    if defence == "off":
        monkeypatch.setattr(document_signature, "verify_signature", lambda *_: True)
    async with verifier.start():
        (genuine,) = signed(await verifier.officer())
        made = await came_to(verifier, flipped(genuine))
    assert made == ("verified" if defence == "off" else Reason.SIGNATURE_INVALID)


@defended
@pytest.mark.parametrize("whose", ["another officer's", "a revoked one"])
async def test_no_other_and_no_revoked_certificate_is_verified(
    verifier: Verifier, monkeypatch: pytest.MonkeyPatch, defence: str, whose: str
) -> None:
    """The state says so at once, whatever the CRL still lists."""
    verifier.server.serve(*verifier.crls())
    if defence == "off":
        monkeypatch.setattr(verification, "check_registration", lambda *_: None)
    async with verifier.start():
        who, victim = await verifier.officer(), await verifier.officer()
        if whose == "a revoked one":
            (event,), reason = signed(who), Reason.CERTIFICATE_REVOKED
            await verifier.tell(who, status="revoked")
        else:
            (event,) = sign(who, manifest(victim.user, [document(fresh_ids(1)[0])]))
            reason = Reason.CERTIFICATE_MISMATCH
        made = await came_to(verifier, event)
    assert made == ("verified" if defence == "off" else reason)


@defended
async def test_a_signature_above_the_bound_is_not_read(
    verifier: Verifier, monkeypatch: pytest.MonkeyPatch, defence: str
) -> None:
    """It is a good one, but for what it carries along."""
    verifier.server.serve(*verifier.crls())
    if defence == "off":
        monkeypatch.setattr(cms_reading, "MAX_SIZE", 2 * cms_reading.MAX_SIZE)
    async with verifier.start():
        who = await verifier.officer()
        (genuine,) = signed(who)
        made = await came_to(verifier, genuine.model_copy(update={"cms": oversized(who, genuine.cms)}))
    assert made == ("verified" if defence == "off" else Reason.SIGNATURE_INVALID)


async def test_what_is_hardly_asn1_is_refused_one_by_one_and_the_good_one_behind_it_is_verified(
    verifier: Verifier,
) -> None:
    """The whole list of them, twice, in one request; a good signature is the last."""
    verifier.server.serve(*verifier.crls())
    async with verifier.start():
        who = await verifier.officer()
        (sample,) = signed(who)
        hostile = malformed(sample.cms)
        asked = sign(who, manifest(who.user, [document(each) for each in fresh_ids(len(hostile) + 1)]))
        sent = [event.model_copy(update={"cms": cms}) for event, cms in zip(asked[:-1], hostile.values(), strict=True)]
        for _ in range(2):
            await verifier.wire.send(topics.SIGNED, [*sent, asked[-1]])
        found = dict(zip([*hostile, "good"], await verifier.answers([*sent, asked[-1]]), strict=True))
    assert isinstance(found.pop("good"), Verified)
    refusals = {name: None if isinstance(one, Verified) else one.reason for name, one in found.items()}
    assert set(refusals.values()) <= {
        Reason.SIGNATURE_INVALID,
        Reason.ATTRIBUTES_MISMATCH,
        Reason.ATTRIBUTES_MISSING,
        Reason.CERTIFICATE_MISMATCH,
    }


async def test_a_parser_that_does_not_refuse_by_its_own_error_leaves_a_dead_letter_and_no_answer(
    verifier: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Undefended, as a parser that calls itself would do with what is deep: nobody is told what became of it."""
    verifier.server.serve(*verifier.crls())

    def recursive(_cms: bytes) -> SignedDocument:
        raise RecursionError

    async with verifier.start():
        (event,) = signed(await verifier.officer())
        hostile = event.model_copy(update={"cms": malformed(event.cms)["deep"]})
        monkeypatch.setattr(document_signature, "parse", recursive)
        await verifier.wire.send(topics.SIGNED, [hostile])
        await verifier.wire.buried(topics.SIGNED, [hostile])
        assert verifier.rejected(event.request_id) == []
