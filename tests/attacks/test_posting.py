"""Attacks of who can write `verified`, or is crl_verifier; each posts once posting's own check is away."""

import contextlib
from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest

from libs.contracts import document_signature
from libs.contracts.reasons import Reason
from libs.contracts.signing import Signed
from services.posting import sitting, store
from tests.attacks.malformed import flipped
from tests.integration.hsm.conftest import soft_hsm
from tests.integration.posting.conftest import Posting, hands, log_key, pki, pki_dir, posting, replica
from tests.support.documents import document, fresh_ids, manifest, sign, signed
from tests.support.stack import Stack

__all__ = ["hands", "log_key", "pki", "pki_dir", "posting", "replica", "soft_hsm"]

pytestmark = [pytest.mark.stack, pytest.mark.parametrize("defence", ["on", "off"])]

KEY_OF_RECORDS = "record_system_document_id_action_key"


async def came_to(posting: Posting, documents: list[Signed]) -> Reason | str:
    """What became of the first: `posted`, or why not."""
    await posting.verify(documents)
    end = await posting.completed(documents[0].request_id)
    return "posted" if end.posted else end.rejected[0].reason


async def test_what_no_key_signed_is_posted_by_nobody_s_word(
    posting: Posting, monkeypatch: pytest.MonkeyPatch, defence: str
) -> None:
    """I-20: crl_verifier, or who has its key and may write the broker, calls anything verified."""
    forged = [flipped(one) for one in signed(await posting.officer(), fresh_ids(1))]
    if defence == "off":
        monkeypatch.setattr(document_signature, "verify_signature", lambda *_: True)
    assert await came_to(posting, forged) == ("posted" if defence == "off" else Reason.SIGNATURE_INVALID)


async def test_another_amount_than_was_signed_is_not_posted(
    posting: Posting, monkeypatch: pytest.MonkeyPatch, defence: str
) -> None:
    """The signature is genuine; what it is said to be for is not. Root and attributes are computed anew."""
    (genuine,) = signed(await posting.officer(), fresh_ids(1))
    altered = genuine.model_copy(update={"entry": replace(genuine.entry, amount="99999.00")})
    if defence == "off":
        monkeypatch.setattr(document_signature, "attribute_differences", lambda *_: ())
    assert await came_to(posting, [altered]) == ("posted" if defence == "off" else Reason.ATTRIBUTES_MISMATCH)


@pytest.mark.parametrize("whose", ["another officer's", "a revoked one"])
async def test_no_other_and_no_revoked_certificate_posts(
    posting: Posting, monkeypatch: pytest.MonkeyPatch, defence: str, whose: str
) -> None:
    """An officer signs under another's name; a thief signs with what was reported as stolen."""
    who, victim = await posting.officer(), await posting.officer()
    if whose == "a revoked one":
        documents, reason = signed(who, fresh_ids(1)), Reason.CERTIFICATE_REVOKED
        await posting.tell(who, status="revoked")
    else:
        documents = sign(who, manifest(victim.user, [document(fresh_ids(1)[0])]))
        reason = Reason.CERTIFICATE_MISMATCH
    if defence == "off":
        monkeypatch.setattr(sitting, "check_registration", lambda *_: None)
    assert await came_to(posting, documents) == ("posted" if defence == "off" else reason)


async def test_one_officer_alone_certifies_and_approves_nothing(
    posting: Posting, monkeypatch: pytest.MonkeyPatch, defence: str
) -> None:
    """The same officer asks for `sah` and for `peraku`, each with the own PIN and code."""
    maker, ids = await posting.officer(), fresh_ids(1)
    assert await came_to(posting, signed(maker, ids)) == "posted"
    if defence == "off":
        monkeypatch.setattr(sitting, "contradiction", lambda *_: None)
    approved = await came_to(posting, signed(maker, ids, action="peraku"))
    assert approved == ("posted" if defence == "off" else Reason.SAH_NOT_POSTED)


@pytest.mark.parametrize("other", [{"amount": "99999.00"}, {"currency": "USD"}, {"sha256": "0" * 64}], ids=str)
async def test_other_content_than_was_certified_is_approved_by_nobody(
    posting: Posting, monkeypatch: pytest.MonkeyPatch, defence: str, other: dict[str, str]
) -> None:
    """The voucher is exchanged between `sah` and `peraku`, under its id; two officers signed, each something else."""
    ids = fresh_ids(1)
    assert await came_to(posting, signed(await posting.officer(), ids)) == "posted"
    checker = await posting.officer()
    entry = replace(document(ids[0]), **other)
    if defence == "off":
        monkeypatch.setattr(sitting, "contradiction", lambda *_: None)
    approved = await came_to(posting, sign(checker, manifest(checker.user, [entry], action="peraku")))
    assert approved == ("posted" if defence == "off" else Reason.SAH_NOT_POSTED)


async def test_what_nobody_certified_is_approved_by_nobody(
    posting: Posting, monkeypatch: pytest.MonkeyPatch, defence: str
) -> None:
    """One officer alone, who asks for `peraku` first; as after the minute that it may wait for its `sah`."""
    monkeypatch.setattr(sitting, "SAH_WAIT", timedelta(0))
    if defence == "off":
        monkeypatch.setattr(sitting, "_demand_sah", nothing)
    approved = await came_to(posting, signed(await posting.officer(), fresh_ids(1), action="peraku"))
    assert approved == ("posted" if defence == "off" else Reason.SAH_NOT_POSTED)


async def nothing(*_: object) -> None:
    """A defence that is switched off."""


async def test_a_document_is_not_paid_twice_by_asking_twice(
    posting: Posting, stack: Stack, monkeypatch: pytest.MonkeyPatch, defence: str
) -> None:
    """I-20: in another request, by another officer. A key of the table of records keeps it from that."""
    ids = fresh_ids(1)
    assert await came_to(posting, signed(await posting.officer(), ids)) == "posted"
    again = signed(await posting.officer(), ids)
    if defence == "on":
        assert await came_to(posting, again) == Reason.ALREADY_POSTED
        return
    async with contextlib.AsyncExitStack() as afterwards:
        administrator = await asyncpg.connect(stack.postgres_dsn("postgres"))
        afterwards.push_async_callback(administrator.close)
        await administrator.execute(f"ALTER TABLE posting.record DROP CONSTRAINT {KEY_OF_RECORDS}")
        afterwards.push_async_callback(
            administrator.execute,
            f"ALTER TABLE posting.record ADD CONSTRAINT {KEY_OF_RECORDS} UNIQUE (system, document_id, action)",
        )
        renamed = "UPDATE posting.record SET document_id = document_id || '-again' WHERE request_id = $1"
        afterwards.push_async_callback(administrator.execute, renamed, again[0].request_id)
        unguarded = store._SQL["insert_records"].replace("ON CONFLICT (system, document_id, action) DO NOTHING", "")
        monkeypatch.setitem(store._SQL, "insert_records", unguarded)
        assert await came_to(posting, again) == "posted"
