"""Good, no and cannot tell are three answers, and each rests on what it says."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from libs.contracts.document_signature import ROAMING
from libs.contracts.reasons import Reason
from libs.crypto.crl import CrlIndex
from libs.crypto.path import UnknownReason
from libs.crypto.pki import RevokedCertificate, Validity
from services.crl_verifier.authorities import Authority
from services.crl_verifier.verification import CannotTell, Good, Judged, Verification, decide
from tests.support.documents import Officer, document, fresh_ids, manifest, officer, sign, signed
from tests.support.pki import EPOCH, Identity, Pki


@pytest.fixture(scope="module")
def pki():
    return Pki()


@pytest.fixture(scope="module")
def verification(pki):
    return Verification(authority("root", pki.root), authority("issuing", pki.issuing))


@pytest.fixture(scope="module")
def rosli(pki):
    return officer(pki)


def authority(name, issuer):
    certificate = issuer.certificate
    key_id = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    der = certificate.public_bytes(Encoding.DER)
    return Authority(name, der, key_id, certificate.subject.rfc4514_string())


def index(pki, issuer, **parts):
    der = issuer.certificate.public_bytes(Encoding.DER)
    parsed = CrlIndex.parse(pki.crl(issuer, **parts), der)
    return {parsed.issuer_key_id: parsed}


def crls(pki, *, root=None, issuing=None):
    return index(pki, pki.root, **(root or {})) | index(pki, pki.issuing, **(issuing or {}))


def answer(verification, event, lists, *, at=EPOCH, now=EPOCH):
    [judged] = verification.judge([(event, at)], lists, now)
    return judged.answer if isinstance(judged, Judged) else judged


def revoked(who, reason=x509.ReasonFlags.key_compromise):
    return {"revoked": [RevokedCertificate(who.serial_number, EPOCH - timedelta(minutes=6), reason)]}


def test_good_names_the_path_and_the_crl_of_every_authority_on_it(pki, verification, rosli):
    found = answer(verification, signed(rosli)[0], crls(pki, root={"number": 7}, issuing={"number": 2**70}))
    assert isinstance(found, Good)
    path = (rosli.identity.certificate, pki.issuing.certificate, pki.root.certificate)
    assert found.certificate_path == tuple(each.fingerprint(each.signature_hash_algorithm).hex() for each in path)
    assert [(crl.issuer, crl.number) for crl in found.crls] == [
        (pki.issuing.certificate.subject.rfc4514_string(), 2**70),
        (pki.root.certificate.subject.rfc4514_string(), 7),
    ]
    assert found.crls[0].next_update == EPOCH + timedelta(days=1)


def test_a_listed_certificate_is_refused(pki, verification, rosli):
    lists = crls(pki, issuing=revoked(rosli.identity.certificate))
    assert answer(verification, signed(rosli)[0], lists) is Reason.CERTIFICATE_REVOKED


def test_a_hold_is_refused_where_the_state_says_so_and_waits_where_it_does_not(pki, verification, rosli):
    """I-53: a CRL from before the lifting ends no document that was signed after it, and passes none."""
    event = signed(rosli)[0]
    lists = crls(pki, issuing=revoked(rosli.identity.certificate, x509.ReasonFlags.certificate_hold))
    [held] = verification.judge([(event, EPOCH)], lists, EPOCH)
    assert decide(event, held, rosli.state("suspended"), ROAMING) is Reason.CERTIFICATE_SUSPENDED
    assert decide(event, held, rosli.state("good"), ROAMING) == CannotTell(UnknownReason.CRL_STALE)
    assert decide(event, held, rosli.state("revoked"), ROAMING) is Reason.CERTIFICATE_REVOKED


def test_a_listed_issuing_authority_takes_its_officers_along(pki, verification, rosli):
    assert answer(verification, signed(rosli)[0], crls(pki, root=revoked(pki.issuing.certificate))) is (
        Reason.CERTIFICATE_REVOKED
    )


STALE = {"this_update": EPOCH - timedelta(days=2), "next_update": EPOCH - timedelta(seconds=1)}


@pytest.mark.parametrize("which", ["root", "issuing"])
def test_without_a_current_crl_of_every_authority_it_cannot_tell(pki, verification, rosli, which):
    event = signed(rosli)[0]
    assert answer(verification, event, crls(pki, **{which: STALE})) == CannotTell(UnknownReason.CRL_STALE)
    only = index(pki, pki.root if which == "issuing" else pki.issuing)
    assert answer(verification, event, only) == CannotTell(UnknownReason.CRL_MISSING)


def test_a_crl_is_judged_now_and_a_certificate_at_the_brokers_time(pki, verification, rosli):
    event = signed(rosli)[0]
    later = EPOCH + timedelta(days=400)
    fresh = {"this_update": later - timedelta(minutes=1), "next_update": later + timedelta(days=1)}
    lists = crls(pki, root=fresh, issuing=fresh)
    good = answer(verification, event, lists, at=EPOCH, now=later)
    assert isinstance(good, Good)  # it expired while it was parked
    assert good.verified_at == later  # when its CRLs were current, not when that was recorded
    assert answer(verification, event, lists, at=later, now=later) is Reason.CERTIFICATE_EXPIRED


def test_signing_time_is_never_believed(pki, verification):
    short = Validity(EPOCH - timedelta(days=1), EPOCH + timedelta(hours=1))
    who = officer(pki, validity=short)
    event = sign(who, manifest(who.user, [document("d1")]), signing_time=EPOCH)[0]
    lists = crls(pki)
    assert answer(verification, event, lists, at=EPOCH + timedelta(hours=2)) is Reason.CERTIFICATE_EXPIRED
    assert answer(verification, event, lists, at=EPOCH - timedelta(days=2)) is Reason.CERTIFICATE_NOT_YET_VALID


def test_a_certificate_of_another_tree_is_unknown_though_its_chain_came_along(pki, verification):
    other = Pki()
    assert answer(verification, signed(officer(other))[0], crls(pki)) is Reason.CERTIFICATE_UNKNOWN


def test_a_certificate_that_may_not_sign_documents_is_a_mismatch(pki, verification, rosli):
    posing = Officer(pki, rosli.user, Identity(pki.issuing.certificate, pki.issuing_key))
    assert answer(verification, signed(posing)[0], crls(pki)) is Reason.CERTIFICATE_MISMATCH


def test_a_signature_that_does_not_hold_is_judged_before_any_certificate(pki, verification, rosli):
    event = signed(rosli, fresh_ids(2))[0]
    assert answer(verification, event.model_copy(update={"index": 1}), {}) is Reason.ATTRIBUTES_MISMATCH


def test_answers_come_in_order(pki, verification, rosli):
    first, second, third = signed(rosli, fresh_ids(3))
    broken = second.model_copy(update={"cms": first.cms})
    found = verification.judge([(each, EPOCH) for each in (first, broken, third)], crls(pki), EPOCH)
    assert [isinstance(each, Judged) for each in found] == [True, False, True]


def test_the_certificates_state_counts_at_once_whatever_the_crl_says(pki, verification, rosli):
    event = signed(rosli)[0]
    [clean] = verification.judge([(event, EPOCH)], crls(pki), EPOCH)
    [untold] = verification.judge([(event, EPOCH)], {}, EPOCH)
    assert isinstance(decide(event, clean, rosli.state(), ROAMING), Good)
    assert decide(event, untold, rosli.state(), ROAMING) == CannotTell(UnknownReason.CRL_MISSING)
    for judged in (clean, untold):
        assert decide(event, judged, rosli.state("revoked"), ROAMING) is Reason.CERTIFICATE_REVOKED
        assert decide(event, judged, rosli.state("suspended"), ROAMING) is Reason.CERTIFICATE_SUSPENDED
        assert decide(event, judged, officer(pki).state(), ROAMING) is Reason.CERTIFICATE_MISMATCH
        assert decide(event, judged, None, ROAMING) is Reason.CERTIFICATE_UNKNOWN
