"""A certificate is valid, invalid or unknown, and an independent validator agrees."""

from collections.abc import Mapping
from datetime import timedelta

import pytest
from asn1crypto import crl as asn1_crl
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from pyhanko_certvalidator import CertificateValidator, ValidationContext
from pyhanko_certvalidator.errors import PathError as JudgePathError
from pyhanko_certvalidator.errors import ValidationError

from libs.crypto.crl import CrlIndex
from libs.crypto.path import (
    Invalid,
    InvalidReason,
    PathError,
    PathValidator,
    Unknown,
    UnknownReason,
    Valid,
)
from libs.crypto.pki import Issuer, RevokedCertificate, Validity, distinguished_name
from tests.support.pki import EPOCH, Identity, Pki, p256_key, shared_rsa_key

HOLD = x509.ReasonFlags.certificate_hold


def der(issuer: Issuer) -> bytes:
    return issuer.certificate.public_bytes(Encoding.DER)


def crls(pki: Pki, *, issuing: bytes | None = None, root: bytes | None = None) -> dict[bytes, CrlIndex]:
    parsed = [
        CrlIndex.parse(issuing or pki.crl(), der(pki.issuing)),
        CrlIndex.parse(root or pki.crl(pki.root), der(pki.root)),
    ]
    return {crl.issuer_key_id: crl for crl in parsed}


async def judge(pki: Pki, certificate: bytes, crl_ders: list[bytes], at) -> bool:
    context = ValidationContext(
        trust_roots=[asn1_x509.Certificate.load(der(pki.root))],
        crls=[asn1_crl.CertificateList.load(crl) for crl in crl_ders],
        moment=at,
        allow_fetching=False,
        revocation_mode="require",
    )
    validator = CertificateValidator(
        asn1_x509.Certificate.load(certificate),
        intermediate_certs=[asn1_x509.Certificate.load(one) for one in pki.chain],
        validation_context=context,
    )
    try:
        await validator.async_validate_usage({"digital_signature", "non_repudiation"})
    except (ValidationError, JudgePathError):
        return False
    return True


@pytest.fixture(scope="module")
def officer(pki) -> Identity:
    return pki.officer()


@pytest.fixture(scope="module")
def validator(pki) -> PathValidator:
    return PathValidator(der(pki.root))


@pytest.mark.parametrize("make", [shared_rsa_key, p256_key])
async def test_a_good_certificate_is_valid_and_names_what_was_checked(pki, validator, make):
    officer = pki.officer(key=make())
    issuing, root = pki.crl(number=7), pki.crl(pki.root, number=3)
    answer = validator.validate(officer.der, pki.chain, crls(pki, issuing=issuing, root=root), at=EPOCH)
    assert isinstance(answer, Valid)
    fingerprints = [
        certificate.fingerprint(hashes.SHA256())
        for certificate in (officer.certificate, pki.issuing.certificate, pki.root.certificate)
    ]
    assert list(answer.path) == fingerprints
    assert [crl.number for crl in answer.crls] == [7, 3]
    assert answer.crls[0].this_update == EPOCH - timedelta(minutes=5)
    assert await judge(pki, officer.der, [issuing, root], EPOCH)


async def test_validity_is_judged_at_the_given_time_to_the_second(pki, validator):
    window = Validity(EPOCH - timedelta(hours=1), EPOCH + timedelta(hours=1))
    officer = pki.officer(validity=window)
    known = crls(pki)
    ends = {
        window.not_before: Valid,
        window.not_after: Valid,
        window.not_before - timedelta(seconds=1): InvalidReason.NOT_YET_VALID,
        window.not_after + timedelta(seconds=1): InvalidReason.EXPIRED,
    }
    for at, expected in ends.items():
        answer = validator.validate(officer.der, pki.chain, known, at=at, now=EPOCH)
        assert expected in (type(answer), getattr(answer, "reason", None))
    late = window.not_after + timedelta(seconds=5)  # the judge tolerates one
    assert not await judge(pki, officer.der, [pki.crl(), pki.crl(pki.root)], late)


async def test_a_revoked_certificate_is_invalid_with_its_date_and_the_judge_agrees(pki, validator, officer):
    date = EPOCH - timedelta(hours=2)
    issuing, root = pki.crl(revoked=[RevokedCertificate(officer.certificate.serial_number, date)]), pki.crl(pki.root)
    answer = validator.validate(officer.der, pki.chain, crls(pki, issuing=issuing, root=root), at=EPOCH)
    assert answer == Invalid(InvalidReason.REVOKED, officer.certificate.fingerprint(hashes.SHA256()), date)
    assert not await judge(pki, officer.der, [issuing, root], EPOCH)


def test_a_revoked_authority_makes_all_below_it_invalid(pki, validator, officer):
    root = pki.crl(pki.root, revoked=[RevokedCertificate(pki.issuing.certificate.serial_number, EPOCH)])
    answer = validator.validate(officer.der, pki.chain, crls(pki, root=root), at=EPOCH)
    assert isinstance(answer, Invalid)
    assert answer.reason is InvalidReason.REVOKED


def test_a_revoked_authority_outweighs_a_missing_crl_of_the_officer(pki, validator, officer):
    root = pki.crl(pki.root, revoked=[RevokedCertificate(pki.issuing.certificate.serial_number, EPOCH)])
    index = CrlIndex.parse(root, der(pki.root))
    answer = validator.validate(officer.der, pki.chain, {index.issuer_key_id: index}, at=EPOCH)
    assert isinstance(answer, Invalid)


def test_suspension_is_its_own_reason_and_ends_with_its_crl(pki, validator, officer):
    held = pki.crl(revoked=[RevokedCertificate(officer.certificate.serial_number, EPOCH, HOLD)])
    known = crls(pki, issuing=held, root=pki.crl(pki.root, next_update=EPOCH + timedelta(days=30)))
    answer = validator.validate(officer.der, pki.chain, known, at=EPOCH)
    assert isinstance(answer, Invalid)
    assert answer.reason is InvalidReason.SUSPENDED
    later = validator.validate(officer.der, pki.chain, known, at=EPOCH + timedelta(days=2))
    assert later == Unknown(UnknownReason.CRL_STALE, next(iter(known)))


def test_a_stale_crl_cannot_tell_but_revocation_in_it_is_final(pki, validator, officer):
    """I-19."""
    date = EPOCH - timedelta(days=1)
    later = EPOCH + timedelta(days=2)
    fresh = pki.crl(pki.root, next_update=EPOCH + timedelta(days=30))
    answer = validator.validate(officer.der, pki.chain, crls(pki, root=fresh), at=EPOCH, now=later)
    assert isinstance(answer, Unknown)
    assert answer.reason is UnknownReason.CRL_STALE
    revoked = pki.crl(revoked=[RevokedCertificate(officer.certificate.serial_number, date)])
    answer = validator.validate(officer.der, pki.chain, crls(pki, issuing=revoked, root=fresh), at=EPOCH, now=later)
    assert isinstance(answer, Invalid)


def test_a_missing_crl_of_any_authority_cannot_tell(pki, validator, officer):
    known = crls(pki)
    for key_id in known:
        rest = {other: crl for other, crl in known.items() if other != key_id}
        assert validator.validate(officer.der, pki.chain, rest, at=EPOCH) == Unknown(UnknownReason.CRL_MISSING, key_id)


def test_a_crl_newer_than_the_document_is_welcome_but_not_one_from_the_future(pki, validator, officer):
    known = crls(pki, issuing=pki.crl(this_update=EPOCH + timedelta(minutes=1)))
    now = EPOCH + timedelta(minutes=2)
    assert isinstance(validator.validate(officer.der, pki.chain, known, at=EPOCH, now=now), Valid)
    answer = validator.validate(officer.der, pki.chain, known, at=EPOCH)
    assert isinstance(answer, Unknown)
    assert answer.reason is UnknownReason.CRL_NOT_YET_VALID


def test_a_crl_of_another_key_under_the_same_identifier_is_not_used(pki, validator, officer):
    known = dict(crls(pki))
    first, second = known
    known[first] = known[second]
    assert validator.validate(officer.der, pki.chain, known, at=EPOCH) == Unknown(UnknownReason.CRL_MISSING, first)


def test_another_root_or_a_missing_or_unreadable_link_is_untrusted(pki, validator, officer):
    other = Pki()
    untrusted = Invalid(InvalidReason.UNTRUSTED)
    known = crls(pki)
    assert validator.validate(other.officer().der, other.chain, known, at=EPOCH) == untrusted
    assert validator.validate(officer.der, other.chain, known, at=EPOCH) == untrusted
    assert validator.validate(officer.der, (), known, at=EPOCH) == untrusted
    assert validator.validate(b"\x30\x00", pki.chain, known, at=EPOCH) == untrusted
    assert validator.validate(der(pki.issuing), (), known, at=EPOCH) == Invalid(InvalidReason.KEY_USAGE)
    assert isinstance(validator.validate(officer.der, (b"rubbish", *pki.chain), known, at=EPOCH), Valid)


def test_an_officer_cannot_issue(pki, validator, officer):
    forged = pki.officer("900101145566", issuer=Issuer(officer.certificate, officer.key))
    answer = validator.validate(forged.der, (officer.der, *pki.chain), crls(pki), at=EPOCH)
    assert answer == Invalid(InvalidReason.UNTRUSTED)


def test_an_authority_below_an_issuing_one_is_past_the_path_length(pki, validator):
    key = p256_key()
    deeper = pki.issuing_ca(key)
    rogue = _rebuild(pki, deeper.certificate, issuer=pki.issuing)
    officer = pki.officer(issuer=Issuer(rogue, key))
    answer = validator.validate(officer.der, (rogue.public_bytes(Encoding.DER), *pki.chain), crls(pki), at=EPOCH)
    assert answer == Invalid(InvalidReason.UNTRUSTED)


def _rebuild(
    pki: Pki, certificate: x509.Certificate, *, issuer: Issuer | None = None, drop=(), add=(), digest=None
) -> x509.Certificate:
    issuer = issuer or pki.issuing
    key_id = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        x509.CertificateBuilder()
        .subject_name(certificate.subject)
        .issuer_name(issuer.certificate.subject)
        .public_key(certificate.public_key())
        .serial_number(pki.serial())
        .not_valid_before(certificate.not_valid_before_utc)
        .not_valid_after(certificate.not_valid_after_utc)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id), critical=False)
    )
    for extension in certificate.extensions:
        if not isinstance(extension.value, (x509.AuthorityKeyIdentifier, *drop)):
            builder = builder.add_extension(extension.value, critical=extension.critical)
    for value, critical in add:
        builder = builder.add_extension(value, critical=critical)
    return builder.sign(issuer.key, digest or hashes.SHA256())


def usage(**names: bool) -> x509.KeyUsage:
    every = [
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ]
    return x509.KeyUsage(**{name: names.get(name, False) for name in every})


UNKNOWN_EXTENSION = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")


@pytest.mark.parametrize(
    ("drop", "add", "reason"),
    [
        ((), [(UNKNOWN_EXTENSION, True)], InvalidReason.UNTRUSTED),
        ((), [(UNKNOWN_EXTENSION, False)], None),
        ((x509.KeyUsage,), [], InvalidReason.KEY_USAGE),
        ((x509.KeyUsage,), [(usage(digital_signature=True), True)], InvalidReason.KEY_USAGE),
        ((x509.KeyUsage,), [(usage(content_commitment=True), True)], InvalidReason.KEY_USAGE),
        ((), [(x509.BasicConstraints(ca=True, path_length=None), True)], InvalidReason.KEY_USAGE),
        ((x509.ExtendedKeyUsage,), [], None),
        (
            (x509.ExtendedKeyUsage,),
            [(x509.ExtendedKeyUsage([x509.ObjectIdentifier("1.3.6.1.5.5.7.3.1")]), False)],
            InvalidReason.KEY_USAGE,
        ),
    ],
)
def test_extensions_decide_what_a_certificate_is_for(pki, validator, officer, drop, add, reason):
    certificate = _rebuild(pki, officer.certificate, drop=drop, add=add).public_bytes(Encoding.DER)
    answer = validator.validate(certificate, pki.chain, crls(pki), at=EPOCH)
    assert answer == Invalid(reason) if reason else isinstance(answer, Valid)


def test_weak_keys_and_digests_are_refused(pki, validator, officer):
    weak = rsa.generate_private_key(65537, 1024)
    small = x509.CertificateBuilder().subject_name(distinguished_name("x")).issuer_name(pki.issuing.certificate.subject)
    small = small.public_key(weak.public_key()).serial_number(9).not_valid_before(EPOCH).not_valid_after(EPOCH)
    small = small.add_extension(usage(digital_signature=True, content_commitment=True), critical=True)
    unsafe = [small.sign(pki.issuing.key, hashes.SHA256()), _rebuild(pki, officer.certificate, digest=hashes.SHA224())]
    for certificate in unsafe:
        answer = validator.validate(certificate.public_bytes(Encoding.DER), pki.chain, crls(pki), at=EPOCH)
        assert answer == Invalid(InvalidReason.UNTRUSTED)


def test_only_a_self_signed_authority_is_a_root(pki, officer):
    for bad in (officer.der, der(pki.issuing), b""):
        with pytest.raises(PathError):
            PathValidator(bad)


def test_answers_follow_the_crls_and_never_the_cache(pki, validator, officer):
    known: Mapping[bytes, CrlIndex] = crls(pki)
    assert isinstance(validator.validate(officer.der, pki.chain, known, at=EPOCH), Valid)
    revoked = pki.crl(revoked=[RevokedCertificate(officer.certificate.serial_number, EPOCH)])
    assert isinstance(validator.validate(officer.der, pki.chain, crls(pki, issuing=revoked), at=EPOCH), Invalid)
