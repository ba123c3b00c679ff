"""A record has one canonical form, which anyone can hash, and evidence that belongs to what was logged."""

import json
from datetime import timedelta
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.contracts.record import EvidenceError, canonical_record, evidence, record_id_of, record_of
from libs.contracts.signing import Posted
from libs.crypto.merkle import leaf_hash
from tests.support.documents import document, fresh_ids, manifest, officer, sign, verified
from tests.support.pki import EPOCH, Pki

POSTED_AT = EPOCH + timedelta(microseconds=1_500_007)


@pytest.fixture(scope="module")
def pki():
    return Pki()


@pytest.fixture(scope="module")
def asked(pki):
    return manifest("800101145566", [document(each) for each in fresh_ids(3)])


@pytest.fixture(scope="module")
def checked(pki, asked):
    return verified(pki, sign(officer(pki, "800101145566"), asked))[1]


@pytest.fixture
def record(asked, checked):
    return record_of(checked, root=asked.commitment().root, posted_at=POSTED_AT)


@pytest.fixture
def posted(record, checked):
    return Posted(
        request_id=checked.request_id,
        document_id=checked.entry.id,
        record_id=record_id_of(checked.request_id, checked.entry.id),
        log_position=41,
        leaf_hash=leaf_hash(canonical_record(record)),
        posted_at=POSTED_AT,
    )


def test_the_canonical_form_is_that_of_rfc_8785(record):
    assert canonical_record(record) == rfc8785.dumps(record)


texts = st.text(st.characters(exclude_categories=["Cs"]))
names = st.text(st.characters(codec="ascii"), min_size=1)


def in_order(record: Any) -> Any:
    """As `record_of` orders it: names ascend."""
    return {name: in_order(record[name]) for name in sorted(record)} if isinstance(record, dict) else record


@settings(deadline=None)  # a busy machine must not fail a test
@given(st.dictionaries(names, texts | st.lists(texts) | st.dictionaries(names, texts)).map(in_order))
def test_the_canonical_form_of_any_texts_is_that_of_rfc_8785(record):
    assert canonical_record(record) == rfc8785.dumps(record)


def test_evidence_can_be_checked_without_our_code(record, checked, posted):
    written = json.loads(json.dumps(evidence(checked, posted)))
    assert written["log_position"] == 41
    rest = {name: value for name, value in written.items() if name not in {"log_position", "leaf_hash", "openssl"}}
    assert leaf_hash(rfc8785.dumps(rest)).hex() == written["leaf_hash"]
    assert rest == record


def test_evidence_survives_the_wire(checked, posted):
    again = type(checked).model_validate_json(checked.model_dump_json())
    assert evidence(again, Posted.model_validate_json(posted.model_dump_json())) == evidence(checked, posted)


def test_evidence_of_another_record_is_refused(pki, checked, posted):
    with pytest.raises(EvidenceError):
        evidence(checked, posted.model_copy(update={"posted_at": POSTED_AT + timedelta(microseconds=1)}))
    with pytest.raises(EvidenceError):
        evidence(checked.model_copy(update={"verified_at": EPOCH}), posted)
    with pytest.raises(EvidenceError):
        evidence(checked.model_copy(update={"index": 9}), posted)
    other = verified(pki, sign(officer(pki), manifest("800101145566", [document(checked.entry.id)])))[0]
    with pytest.raises(EvidenceError):
        evidence(other, posted)


def test_the_command_judges_when_signature_and_crl_were_both_there(checked, posted):
    assert evidence(checked, posted)["openssl"].endswith(f"-crl_check -purpose any -attime {int(EPOCH.timestamp())}")
    newer = checked.crls[0].model_copy(update={"this_update": EPOCH + timedelta(seconds=30)})
    waited = checked.model_copy(update={"crls": (newer, *checked.crls[1:])})
    posted = posted.model_copy(
        update={
            "leaf_hash": leaf_hash(
                canonical_record(
                    record_of(waited, root=bytes.fromhex(evidence(checked, posted)["root"]), posted_at=POSTED_AT)
                )
            )
        }
    )
    assert f"-attime {int(EPOCH.timestamp()) + 30}" in evidence(waited, posted)["openssl"]
