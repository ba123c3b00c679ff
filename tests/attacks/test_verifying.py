"""Attacks of who can write `signed`, which no producer signs: what no officer signed, and what is hardly ASN.1.

Each is refused by name, and does what it is for once its defence is away.
"""

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.hashes import SHA256

from libs.contracts import document_signature, topics
from libs.contracts.reasons import Reason
from libs.contracts.signing import Signed, Verified
from libs.crypto import cms_reading
from libs.crypto.cms import CmsTemplate
from libs.crypto.cms_reading import SignedDocument
from libs.crypto.pki import RevokedCertificate
from services.crl_verifier import token_signed, verification
from tests.attacks.malformed import (
    flipped,
    malformed,
    other_attributes,
    other_encodings,
    oversized,
    with_attributes,
)
from tests.integration.crl_verifier.conftest import Verifier, hands, pki, pki_dir, server, verifier, wire
from tests.integration.crl_verifier.token_requests import TokenRequest, token_officer, token_request
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
        made = await came_to(verifier, genuine.model_copy(update={"cms": oversized(genuine.cms)}))
    assert made == ("verified" if defence == "off" else Reason.SIGNATURE_INVALID)


class Whatever(bytes):
    """Of another encoding it says that it is the same."""

    def __ne__(self, _other: object) -> bool:
        return False

    __hash__ = bytes.__hash__


class AnyEncoding(CmsTemplate):
    """It takes attributes and whole as they come."""

    def signed_attributes(self, _attributes: object) -> bytes:
        return Whatever()

    def assemble(self, _signed_attributes: bytes, _signature: bytes) -> bytes:
        return Whatever()


@defended
@pytest.mark.parametrize("what", ["revocations along", "attributes in another order"])
async def test_a_right_signature_in_another_encoding_is_none(
    verifier: Verifier, monkeypatch: pytest.MonkeyPatch, defence: str, what: str
) -> None:
    """What two readers read differently is no proof for either of them: there is one encoding of a signature."""
    verifier.server.serve(*verifier.crls())
    if defence == "off":
        monkeypatch.setattr(cms_reading, "CmsTemplate", AnyEncoding)
    async with verifier.start():
        who = await verifier.officer()
        (genuine,) = signed(who)
        made = other_encodings(genuine.cms)
        for name, attributes in other_attributes(genuine.cms).items():
            signature = who.identity.key.sign(attributes, ECDSA(SHA256()))
            made[name] = with_attributes(genuine.cms, attributes, signature)
        came = await came_to(verifier, genuine.model_copy(update={"cms": made[what]}))
    assert came == ("verified" if defence == "off" else Reason.SIGNATURE_INVALID)


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


@defended
async def test_a_signature_of_a_token_is_good_for_its_own_request_alone(
    verifier: Verifier, monkeypatch: pytest.MonkeyPatch, defence: str
) -> None:
    """I-24: the officer's own, over the same documents, for another request of theirs."""
    verifier.server.serve(*verifier.crls())
    async with verifier.start():
        request = await token_request(verifier, await token_officer(verifier), 2)
        other = TokenRequest(verifier, request.officer, manifest(request.officer.user, request.manifest.documents))
        await other.resolve()
        forged = other.sign()[0].model_copy(update={"request_id": request.id})
        if defence == "off":
            root = request.manifest.commitment().root
            monkeypatch.setattr(token_signed, "_root", lambda _: root)
        await request.give([forged])
        if defence == "on":
            await verifier.wire.buried(topics.TOKEN_SIGNED, [forged])
            assert verifier.verified(request.id) == []
        else:
            assert isinstance((await verifier.answers([forged]))[0], Verified)


@defended
async def test_an_older_list_of_revocations_takes_none_back(verifier: Verifier, defence: str) -> None:
    """REV-2: who answers for the CRL server plays a genuine list again, of before the revocation."""
    before, root = verifier.pki.crl(), verifier.pki.crl(verifier.pki.root)
    async with verifier.start():
        who = await verifier.officer()
        revoked = RevokedCertificate(who.identity.certificate.serial_number, verifier.pki.now)
        verifier.server.serve(root, verifier.pki.crl(revoked=[revoked]))
        await verifier.wire.tap.until(verifier.numbers, "kept")
        assert await came_to(verifier, *signed(who)) == Reason.CERTIFICATE_REVOKED
    if defence == "off":
        await verifier.database.execute("DELETE FROM crl")
    verifier.server.serve(root, before)
    async with verifier.start():
        made = await came_to(verifier, *signed(who))
    assert made == ("verified" if defence == "off" else Reason.CERTIFICATE_REVOKED)
