"""What posting checks itself before it posts."""

import pytest

from libs.contracts.reasons import Reason
from libs.contracts.record import canonical_record, record_of
from libs.crypto.merkle import leaf_hash
from services.posting.admission import Certified, Contradiction, Examined, contradiction, examine
from tests.support.documents import document, fresh_ids, manifest, officer, sign, verified
from tests.support.pki import EPOCH, Pki


@pytest.fixture(scope="module")
def pki():
    return Pki()


@pytest.fixture(scope="module")
def siti(pki):
    return officer(pki)


def test_a_good_signature_gives_the_record_and_its_leaf_in_order(pki, siti):
    asked = manifest(siti.user, [document(each) for each in fresh_ids(3)])
    events = verified(pki, sign(siti, asked))
    for event, answer in zip(events, examine(events, EPOCH), strict=True):
        record = canonical_record(record_of(event, root=asked.commitment().root, posted_at=EPOCH))
        assert isinstance(answer, Examined)
        assert (answer.record, answer.leaf_hash) == (record, leaf_hash(record))


def test_a_bad_signature_is_refused_though_it_was_verified(pki, siti):
    asked = manifest(siti.user, [document(each) for each in fresh_ids(2)])
    good, other = verified(pki, sign(siti, asked))
    assert examine([good.model_copy(update={"cms": other.cms}), good], EPOCH)[0] is Reason.ATTRIBUTES_MISMATCH


def test_a_path_that_does_not_begin_with_the_signers_certificate_is_refused(pki, siti):
    [event] = verified(pki, sign(siti, manifest(siti.user, [document("d1")])))
    for path in ((), event.certificate_path[1:]):
        assert examine([event.model_copy(update={"certificate_path": path})], EPOCH) == [Reason.CERTIFICATE_MISMATCH]


def test_four_eyes_see_the_same_content(pki, siti):
    [peraku] = verified(pki, sign(siti, manifest(siti.user, [document("d1")], action="peraku")))
    entry = peraku.entry
    sah = Certified("700101145566", entry.sha256, entry.amount, entry.currency)
    assert contradiction(peraku, sah) is None
    assert contradiction(peraku, Certified(siti.user, entry.sha256, entry.amount, entry.currency)) is (
        Contradiction.SAME_USER
    )
    for other in (("0" * 64, entry.amount, entry.currency), (entry.sha256, "0.01", entry.currency)):
        assert contradiction(peraku, Certified("700101145566", *other)) is Contradiction.OTHER_CONTENT
    assert contradiction(peraku, Certified("700101145566", entry.sha256, entry.amount, "USD")) is (
        Contradiction.OTHER_CONTENT
    )
