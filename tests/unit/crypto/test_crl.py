"""A CRL is believed only if it is complete, direct and signed by its issuer; then every entry is found."""

import secrets
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.crypto.crl import CrlIndex, CrlInvalid, Revocation, RevocationReason
from libs.crypto.pki import Issuer, RevokedCertificate
from tests.support.pki import EPOCH, Pki

REASONS = [reason for reason in x509.ReasonFlags if reason is not x509.ReasonFlags.remove_from_crl]


def der(issuer: Issuer) -> bytes:
    return issuer.certificate.public_bytes(Encoding.DER)


def builder(pki: Pki, *, skip: tuple[type, ...] = ()) -> x509.CertificateRevocationListBuilder:
    key_id = pki.issuing.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    made = x509.CertificateRevocationListBuilder().issuer_name(pki.issuing.certificate.subject)
    made = made.last_update(EPOCH).next_update(EPOCH + timedelta(days=1))
    for value in (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id), x509.CRLNumber(5)):
        if not isinstance(value, skip):
            made = made.add_extension(value, critical=False)
    return made


def entry(serial: int = 5) -> x509.RevokedCertificateBuilder:
    return x509.RevokedCertificateBuilder(serial, EPOCH)


def signed(made: x509.CertificateRevocationListBuilder, pki: Pki, digest=None) -> bytes:
    return made.sign(pki.issuing.key, digest or hashes.SHA256()).public_bytes(Encoding.DER)


def test_every_entry_is_found_with_date_and_reason_and_no_other(pki):
    serials = {secrets.randbits(bits) | 1 << bits - 1 for bits in range(1, 160)}
    revoked = [
        RevokedCertificate(serial, EPOCH - timedelta(seconds=serial % 90_000), REASONS[serial % len(REASONS)])
        for serial in serials
    ]
    der_crl = pki.crl(revoked=revoked, number=2**70)
    index = CrlIndex.parse(der_crl, der(pki.issuing))
    judge = x509.load_der_x509_crl(der_crl)
    assert len(index) == len(serials) == len(judge)
    assert index.number == 2**70
    assert (index.this_update, index.next_update) == (judge.last_update_utc, judge.next_update_utc)
    for item in revoked:
        found = index.status(item.serial)
        assert found is not None
        assert found.date == item.date
        assert found.reason.name.lower() == item.reason.name
        assert index.status(item.serial + 2**159) is None  # the same low end
    absent = {serial + 1 for serial in serials} - serials
    assert not any(index.status(serial) for serial in absent)
    assert index.status(0) is None
    assert index.status(-1) is None
    assert index.status(2**160) is None


def test_serials_that_share_their_low_end_are_told_apart(pki):
    serials = [7 + (high << 64) for high in (0, 1, 2**90, 3)]
    index = CrlIndex.parse(pki.crl(revoked=[RevokedCertificate(s, EPOCH) for s in serials]), der(pki.issuing))
    assert all(index.status(serial) for serial in serials)
    assert index.status(7 + (2 << 64)) is None


def test_a_serial_that_stands_twice_has_its_earliest_date(pki):
    twice = [RevokedCertificate(5, EPOCH), RevokedCertificate(5, EPOCH - timedelta(days=1))]
    index = CrlIndex.parse(pki.crl(revoked=twice), der(pki.issuing))
    assert index.status(5) == Revocation(EPOCH - timedelta(days=1), RevocationReason.UNSPECIFIED)


def test_an_empty_crl_revokes_nobody(pki):
    index = CrlIndex.parse(pki.crl(), der(pki.issuing))
    assert len(index) == 0
    assert index.status(1) is None


def test_dates_of_both_forms_are_read(pki):
    old, new = datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2050, 1, 1, tzinfo=UTC)
    revoked = [RevokedCertificate(1, old), RevokedCertificate(2, new)]
    index = CrlIndex.parse(pki.crl(revoked=revoked), der(pki.issuing))
    found = [index.status(serial) for serial in (1, 2)]
    assert [revocation and revocation.date for revocation in found] == [old, new]


def test_an_issuer_with_an_elliptic_key_is_read():
    other = Pki()
    assert CrlIndex.parse(other.crl(), der(other.issuing)).number


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda p: p.crl(p.root), "signature"),
        (lambda p: signed(builder(p), p, hashes.SHA224()), "signature algorithm"),
        (lambda p: signed(_named(p), p), "issuer name"),
        (lambda p: signed(builder(p, skip=(x509.CRLNumber,)), p), "missing"),
        (lambda p: signed(builder(p, skip=(x509.AuthorityKeyIdentifier,)), p), "missing"),
        (lambda p: signed(_other_key_id(p), p), "authority key identifier"),
        (lambda p: signed(builder(p).add_extension(x509.DeltaCRLIndicator(4), critical=True), p), "critical"),
        (lambda p: signed(builder(p).add_extension(_partition(), critical=True), p), "critical"),
        (lambda p: signed(builder(p).add_revoked_certificate(_indirect(p)), p), "entry"),
        (lambda p: signed(builder(p).add_revoked_certificate(_removed()), p), "reason"),
    ],
)
def test_what_is_not_understood_is_refused_by_rule(pki, make, rule):
    with pytest.raises(CrlInvalid, match=rule):
        CrlIndex.parse(make(pki), der(pki.issuing))


def _named(pki: Pki) -> x509.CertificateRevocationListBuilder:
    made = x509.CertificateRevocationListBuilder().issuer_name(pki.root.certificate.subject)
    return (
        made.last_update(EPOCH).next_update(EPOCH + timedelta(days=1)).add_extension(x509.CRLNumber(1), critical=False)
    )


def _other_key_id(pki: Pki) -> x509.CertificateRevocationListBuilder:
    value = x509.AuthorityKeyIdentifier(b"other", None, None)
    return builder(pki, skip=(x509.AuthorityKeyIdentifier,)).add_extension(value, critical=False)


def _partition() -> x509.IssuingDistributionPoint:
    return x509.IssuingDistributionPoint(None, None, False, True, None, False, False)


def _indirect(pki: Pki) -> x509.RevokedCertificate:
    value = x509.CertificateIssuer([x509.DirectoryName(pki.root.certificate.subject)])
    return entry().add_extension(value, critical=True).build()


def _removed() -> x509.RevokedCertificate:
    return entry().add_extension(x509.CRLReason(x509.ReasonFlags.remove_from_crl), critical=False).build()


def test_other_extensions_of_an_entry_are_read_past(pki):
    made = entry().add_extension(x509.InvalidityDate(EPOCH), critical=False)
    made = made.add_extension(x509.CRLReason(x509.ReasonFlags.superseded), critical=False)
    index = CrlIndex.parse(signed(builder(pki).add_revoked_certificate(made.build()), pki), der(pki.issuing))
    assert index.status(5) == Revocation(EPOCH, RevocationReason.SUPERSEDED)


def test_a_certificate_that_may_not_sign_crls_is_no_issuer(pki):
    officer = pki.officer()
    with pytest.raises(CrlInvalid, match="issuer may not sign CRLs"):
        CrlIndex.parse(pki.crl(Issuer(officer.certificate, officer.key)), officer.der)
    with pytest.raises(CrlInvalid, match="issuer certificate"):
        CrlIndex.parse(pki.crl(), b"rubbish")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_altered_byte_is_refused_and_nothing_else_is_raised(pki, data):
    good = pki.crl(revoked=[RevokedCertificate(5, EPOCH, x509.ReasonFlags.key_compromise)], number=1)
    bad = bytearray(good)
    bad[data.draw(st.integers(0, len(good) - 1))] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(good) - 1))
    for der_crl in (bytes(bad), good[:cut], good + b"\0"):
        with pytest.raises(CrlInvalid):
            CrlIndex.parse(der_crl, der(pki.issuing))
