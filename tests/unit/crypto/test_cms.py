"""Our signatures verify without our code, and only our profile is read."""

import subprocess
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import cast

import pytest
from asn1crypto import cms as asn1_cms
from asn1crypto import core, tsp
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.crypto.certificates import certificate_facts
from libs.crypto.cms import CmsError, CmsTemplate, SignedAttributes
from libs.crypto.cms_reading import ExpectedAttributes, attribute_differences, parse, parse_expected, verify_signature
from libs.crypto.crl import CrlIndex
from libs.crypto.path import Invalid, PathValidator
from libs.crypto.pki import RevokedCertificate, ServicePurpose, build_service, distinguished_name
from tests.unit.crypto.signed import (
    ATTRIBUTES,
    CMS,
    DOCUMENT,
    NOW,
    OFFICERS,
    PKI,
    TEMPLATES,
    expected_of,
    refused,
    sign,
)


@pytest.mark.parametrize("kind", OFFICERS)
def test_what_was_signed_is_read_back_and_verifies(kind):
    document = parse(CMS[kind])
    officer = OFFICERS[kind]
    assert document.attributes == ATTRIBUTES
    assert (document.certificate, document.chain) == (officer.der, PKI.chain)
    key = certificate_facts(document.certificate).public_key
    assert verify_signature(document, key)
    other = OFFICERS["p256" if kind == "rsa" else "rsa"].key.public_key()
    assert not verify_signature(document, other)
    assert not verify_signature(document, ed25519.Ed25519PrivateKey.generate().public_key())
    assert not verify_signature(replace(document, signature=document.signature[:-1] + b"\x00\x00"), key)


@pytest.mark.parametrize("kind", OFFICERS)
def test_openssl_verifies_and_refuses_another_document_or_a_revoked_certificate(kind, tmp_path):
    (tmp_path / "signature.p7s").write_bytes(CMS[kind])
    revoked = PKI.crl(revoked=[RevokedCertificate(OFFICERS[kind].certificate.serial_number, NOW)])
    cases = [
        (DOCUMENT, PKI.crl(), 0),
        (DOCUMENT[:-1] + b"2", PKI.crl(), 4),
        (DOCUMENT, revoked, 4),
    ]
    for document, crl, code in cases:
        (tmp_path / "document").write_bytes(document)
        (tmp_path / "trust.pem").write_bytes(PKI.trust_pem(PKI.crl(PKI.root), crl))
        command = "openssl cms -verify -binary -inform DER -in signature.p7s -content document -CAfile trust.pem"
        command += " -crl_check -purpose any -out out"
        done = subprocess.run(command.split(), cwd=tmp_path, capture_output=True, check=False)
        assert done.returncode == code, done.stderr


@pytest.mark.parametrize("kind", OFFICERS)
def test_asn1crypto_reads_the_same_values_and_writes_the_same_bytes(kind):
    info = asn1_cms.ContentInfo.load(CMS[kind], strict=True)
    signer = info["content"]["signer_infos"][0]
    attributes = {attribute["type"].native: attribute["values"] for attribute in signer["signed_attrs"]}
    assert attributes["content_type"].native == ["data"]
    assert attributes["message_digest"].native == [ATTRIBUTES.digest]
    assert attributes["signing_time"].native == [NOW]
    named = attributes["signing_certificate_v2"][0]
    assert isinstance(named, tsp.SigningCertificateV2)
    ess = named["certs"][0]
    assert ess["cert_hash"].native == OFFICERS[kind].certificate.fingerprint(hashes.SHA256())
    assert ess["hash_algorithm"]["algorithm"].native == "sha256"
    assert signer["sid"].chosen["serial_number"].native == OFFICERS[kind].certificate.serial_number
    assert info.dump(force=True) == CMS[kind]
    assert parse(CMS[kind]).signed_attributes == signer["signed_attrs"].untag().dump(force=True)


def test_every_attribute_is_compared():
    expected = expected_of(ATTRIBUTES)
    document = parse(CMS["rsa"])
    assert attribute_differences(document, expected) == ()
    others = {"document_id": "BV-2", "digest": bytes(32), "action": "peraku", "system": "other", "root": bytes(32)}
    for name, value in others.items():
        other = cast("ExpectedAttributes", {**expected, name: value})
        assert attribute_differences(document, other) == (name,)
        assert parse_expected(CMS["rsa"], other) is None


@pytest.mark.parametrize("kind", OFFICERS)
def test_what_is_expected_is_read_as_everything_is(kind):
    assert parse_expected(CMS[kind], expected_of(ATTRIBUTES)) == parse(CMS[kind])


@pytest.mark.parametrize(
    "change",
    [
        {"document_id": ""},
        {"document_id": "x" * 256},
        {"document_id": "\ud800"},
        {"system": ""},
        {"action": "lulus"},
        {"digest": bytes(20)},
        {"root": bytes(33)},
        {"signing_time": NOW.replace(tzinfo=None)},
        {"signing_time": NOW.replace(microsecond=1)},
        {"signing_time": NOW.replace(year=2050)},
    ],
)
def test_values_that_the_profile_cannot_carry_are_not_signed(change):
    with pytest.raises(CmsError, match="attributes-invalid"):
        TEMPLATES["rsa"].signed_attributes(replace(ATTRIBUTES, **change))


@given(
    st.builds(
        SignedAttributes,
        document_id=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60),
        digest=st.binary(min_size=32, max_size=32),
        action=st.sampled_from(["sah", "peraku"]),
        system=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60),
        root=st.binary(min_size=32, max_size=32),
        signing_time=st.datetimes(
            datetime(2002, 1, 1), datetime(2048, 12, 31), timezones=st.just(timezone(timedelta(hours=8)))
        ).map(lambda moment: moment.replace(microsecond=0)),
    )
)
def test_all_attributes_come_back(attributes):
    signed = TEMPLATES["rsa"].signed_attributes(attributes)
    cms = TEMPLATES["rsa"].assemble(signed, bytes(256))
    assert parse(cms).attributes == attributes
    assert parse_expected(cms, expected_of(attributes)) == parse(cms)


# An altered serial may be negative: the library says that it will refuse it one day.
@pytest.mark.filterwarnings("ignore:Parsed a serial number which wasn't positive")
@settings(max_examples=300)
@given(st.data(), st.sampled_from(sorted(CMS)))
def test_no_alteration_is_accepted_or_raises_anything_else(data, kind):
    good = CMS[kind]
    at = data.draw(st.integers(0, len(good)))
    gone = data.draw(st.integers(0, 4))
    bad = good[:at] + data.draw(st.binary(max_size=4)) + good[at + gone :]
    if bad == good:
        return
    quick = parse_expected(bad, expected_of(ATTRIBUTES))
    try:
        document = parse(bad)
    except CmsError:
        assert quick is None
        return
    assert quick is None or quick == document
    if verify_signature(document, certificate_facts(document.certificate).public_key):
        # Only the certificates beside the signer's are not under the signature; they must still lead to the root.
        assert document.attributes == ATTRIBUTES
        assert document.chain != PKI.chain
        root = PKI.root.certificate.public_bytes(Encoding.DER)
        crl = CrlIndex.parse(PKI.crl(PKI.root), root)
        answer = PathValidator(root).validate(document.certificate, document.chain, {crl.issuer_key_id: crl}, at=NOW)
        assert isinstance(answer, Invalid)


@given(st.binary(max_size=200))
def test_rubbish_is_malformed(data):
    assert refused(data)
    assert parse_expected(data, expected_of(ATTRIBUTES)) is None


def rebuilt(change, kind: str = "rsa") -> bytes:
    """A CMS changed by asn1crypto and correctly signed again: only the profile stands against it."""
    info = asn1_cms.ContentInfo.load(CMS[kind])
    signed = info["content"]
    signer = signed["signer_infos"][0]
    change(signed, signer)
    if len(signer["signed_attrs"]):
        data = signer["signed_attrs"].untag().dump(force=True)
        signer["signature"] = core.OctetString(sign(OFFICERS[kind], data))
    return info.dump()


def without(name: str):
    def change(_, signer):
        kept = [one for one in signer["signed_attrs"] if one["type"].native != name]
        signer["signed_attrs"] = asn1_cms.CMSAttributes(kept)

    return change


def with_attribute(attribute):
    def change(_, signer):
        signer["signed_attrs"] = asn1_cms.CMSAttributes([*signer["signed_attrs"], asn1_cms.CMSAttribute(attribute)])

    return change


def unsigned(_, signer):
    attribute = asn1_cms.CMSAttribute({"type": "1.2.3.4", "values": [core.Null()]})
    signer["unsigned_attrs"] = asn1_cms.CMSAttributes([attribute])


def attached(signed, _):
    signed["encap_content_info"] = asn1_cms.ContentInfo({"content_type": "data", "content": core.OctetString(DOCUMENT)})


def two_signers(signed, signer):
    signed["signer_infos"] = asn1_cms.SignerInfos([signer, signer.copy()])


def other_algorithm(_, signer):
    signer["signature_algorithm"] = {"algorithm": "sha512_rsa"}


def version_3(_, signer):
    signer["version"] = 3


def no_certificates(signed, _):
    signed["certificates"] = None


def only_the_chain(signed, _):
    signed["certificates"] = [one for one in signed["certificates"] if one.chosen.dump() in PKI.chain]


def other_issuer(_, signer):
    signer["sid"].chosen["serial_number"] = 5


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        *(
            (without(name), "attributes-missing")
            for name in (
                "content_type",
                "message_digest",
                "signing_time",
                "signing_certificate_v2",
                "1.2.840.113549.1.9.16.2.16",
            )
        ),
        (with_attribute({"type": "1.2.3.4", "values": [core.Null()]}), "malformed"),
        (with_attribute({"type": "message_digest", "values": [bytes(32)]}), "malformed"),
        (unsigned, "malformed"),
        (attached, "malformed"),
        (two_signers, "malformed"),
        (version_3, "malformed"),
        (other_issuer, "malformed"),
        (other_algorithm, "algorithm-unsupported"),
        (no_certificates, "certificate-mismatch"),
        (only_the_chain, "certificate-mismatch"),
    ],
)
def test_a_well_signed_cms_outside_the_profile_is_refused_by_reason(change, reason):
    assert refused(rebuilt(change)) == reason


def test_a_plain_openssl_signature_lacks_the_attributes(tmp_path):
    officer = OFFICERS["rsa"]
    (tmp_path / "document").write_bytes(DOCUMENT)
    (tmp_path / "cert.pem").write_bytes(officer.pem)
    key = officer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(key)
    command = "openssl cms -sign -binary -in document -signer cert.pem -inkey key.pem -outform DER -out"
    for extra in ([], ["-noattr"], ["-cades"]):
        subprocess.run([*command.split(), "out", *extra], cwd=tmp_path, check=True, capture_output=True)
        assert refused((tmp_path / "out").read_bytes()) == "attributes-missing"


def test_an_indefinite_length_is_malformed():
    assert refused(b"\x30\x80" + CMS["rsa"][4:] + b"\0\0") == "malformed"


def test_a_key_of_no_profile_makes_no_template():
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    name = distinguished_name("x")
    certificate = build_service(
        PKI.service_root, key, purpose=ServicePurpose.CALLER, name=name, serial=7, validity=PKI.validity()
    )
    with pytest.raises(CmsError, match="algorithm-unsupported"):
        CmsTemplate(certificate.public_bytes(Encoding.DER), ())
    with pytest.raises(CmsError, match="malformed"):
        CmsTemplate(b"x", ())
