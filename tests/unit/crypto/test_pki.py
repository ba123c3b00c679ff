"""Certificates are what their profile says, any HSM adapter can sign them, and a service has one purpose."""

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding

from libs.crypto.pki import (
    OID_CALLER,
    OID_CLIENT_AUTH,
    OID_PRODUCER,
    SERVICE_PROFILES,
    Issuer,
    PkiError,
    RevokedCertificate,
    ServicePurpose,
    build_crl,
    build_issuing_ca,
    build_officer,
    build_root,
    build_sealing_authority,
    build_service,
    distinguished_name,
    requested_key,
)
from libs.crypto.public_keys import public_key_id
from libs.crypto.service_certificates import ServiceCertificateError, validate_service_certificate
from tests.support.pki import EPOCH, Pki, p256_key, shared_rsa_key

CALLER, REGISTRAR = ServicePurpose.CALLER, ServicePurpose.REGISTRAR
PRODUCER, SEALING = ServicePurpose.PRODUCER, ServicePurpose.SEALING


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def validate(pki: Pki, certificate: bytes, purpose: ServicePurpose, *, chain=None, at=EPOCH):
    if chain is None:
        chain = [der(pki.sealing_authority.certificate)]
    root = der(pki.service_root.certificate)
    return validate_service_certificate(certificate, chain, service_root=root, purpose=purpose, at=at)


class RsaAdapter(rsa.RSAPrivateKey):
    """What libs.hsm hands to the builders: nothing but sign, public_key and key_size."""

    def __init__(self, inner: rsa.RSAPrivateKey) -> None:
        self.inner = inner
        self.signed = 0

    def sign(self, data, padding, algorithm):
        self.signed += 1
        return self.inner.sign(data, padding, algorithm)

    def public_key(self):
        return self.inner.public_key()

    @property
    def key_size(self):
        return self.inner.key_size

    def _refuse(self, *_):
        raise NotImplementedError

    decrypt = private_bytes = private_numbers = __copy__ = __deepcopy__ = _refuse


class EcAdapter(ec.EllipticCurvePrivateKey):
    """The same for P-256."""

    def __init__(self, inner: ec.EllipticCurvePrivateKey) -> None:
        self.inner = inner
        self.signed = 0

    def sign(self, data, signature_algorithm):
        self.signed += 1
        return self.inner.sign(data, signature_algorithm)

    def public_key(self):
        return self.inner.public_key()

    @property
    def curve(self):
        return self.inner.curve

    @property
    def key_size(self):
        return self.inner.key_size

    def _refuse(self, *_):
        raise NotImplementedError

    exchange = private_bytes = private_numbers = __copy__ = __deepcopy__ = _refuse


@pytest.mark.parametrize("adapt", [lambda: RsaAdapter(shared_rsa_key()), lambda: EcAdapter(p256_key())])
def test_an_authority_key_needs_only_the_interface(pki, adapt):
    key = adapt()
    validity = pki.validity()
    root = build_root(key, name=distinguished_name("r"), serial=1, validity=validity)
    issuer = Issuer(root, key)
    issuing = build_issuing_ca(
        issuer, key.public_key(), name=distinguished_name("i"), serial=2, validity=validity, crl_url="http://x/"
    )
    sealing = build_sealing_authority(
        issuer, key.public_key(), name=distinguished_name("s"), serial=3, validity=validity
    )
    agreed = x25519.X25519PrivateKey.generate().public_key()
    leaf = build_service(
        Issuer(sealing, key), agreed, purpose=SEALING, name=distinguished_name("k"), serial=4, validity=validity
    )
    crl = build_crl(
        issuer,
        number=1,
        this_update=EPOCH,
        next_update=EPOCH + timedelta(days=1),
        revoked=[RevokedCertificate(9, EPOCH)],
    )
    assert key.signed == 5
    for child, parent in ((root, root), (issuing, root), (sealing, root), (leaf, sealing)):
        child.verify_directly_issued_by(parent)
    assert x509.load_der_x509_crl(crl).is_signature_valid(key.public_key())


def test_an_officer_certificate_is_for_documents_only(pki):
    extensions = pki.officer().certificate.extensions
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert usage.value.content_commitment
    assert not usage.value.key_cert_sign
    assert [oid.dotted_string for oid in extensions.get_extension_for_class(x509.ExtendedKeyUsage).value] == [
        "1.3.6.1.5.5.7.3.36"
    ]
    point = extensions.get_extension_for_class(x509.CRLDistributionPoints).value[0]
    assert point.full_name[0].value.endswith("/crl/issuing.crl")


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 1024),
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
    ],
)
def test_an_officer_key_of_no_profile_gets_no_certificate(pki, key):
    with pytest.raises(PkiError):
        build_officer(
            pki.issuing,
            key.public_key(),
            name=distinguished_name("x"),
            serial=1,
            validity=pki.validity(),
            crl_url="http://x/",
        )


def test_a_purpose_allows_its_own_kinds_of_key_only(pki):
    signs, agrees = ed25519.Ed25519PrivateKey.generate().public_key(), x25519.X25519PrivateKey.generate().public_key()
    for purpose, key in ((PRODUCER, p256_key().public_key()), (PRODUCER, agrees), (CALLER, agrees), (SEALING, signs)):
        with pytest.raises(PkiError):
            build_service(
                pki.service_root, key, purpose=purpose, name=distinguished_name("x"), serial=1, validity=pki.validity()
            )


def test_service_certificates_name_their_holder(pki):
    caller, producer, sealing = pki.caller("igfmas"), pki.producer("otp_dispatch"), pki.sealing_key()
    identity = validate(pki, caller.der, CALLER, chain=())
    assert (identity.name, identity.unit) == ("igfmas", "iGFMAS")
    assert validate(pki, pki.registrar().der, REGISTRAR).unit is None
    assert validate(pki, producer.der, PRODUCER).name == "otp_dispatch"
    identity = validate(pki, sealing.der, SEALING)
    assert identity.key_id == public_key_id(sealing.key.public_key())
    assert identity.public_key == sealing.key.public_key()


def test_no_certificate_serves_another_purpose(pki):
    made = {CALLER: pki.caller(), REGISTRAR: pki.registrar(), PRODUCER: pki.producer(), SEALING: pki.sealing_key()}
    for own, identity in made.items():
        for purpose in ServicePurpose:
            if purpose is not own:
                with pytest.raises(ServiceCertificateError, match="another purpose"):
                    validate(pki, identity.der, purpose)


def usages(certificate: x509.Certificate) -> set[str]:
    return {oid.dotted_string for oid in certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value}


def test_callers_alone_are_clients_of_tls(pki):
    """RFC 5280 section 4.2.1.12: OpenSSL takes no client certificate without it."""
    assert usages(pki.caller().certificate) == {OID_CALLER, OID_CLIENT_AUTH}
    for other in (pki.registrar(), pki.producer(), pki.security_officer("a"), pki.sealing_key(), pki.officer()):
        assert OID_CLIENT_AUTH not in usages(other.certificate)
    assert OID_CLIENT_AUTH not in usages(pki.sealing_authority.certificate)


def test_a_caller_that_was_certified_before_is_one_still_and_nobody_else_may_be_a_client_of_tls(pki, monkeypatch):
    def without(purpose, identity, also):
        profile = SERVICE_PROFILES[purpose]
        with monkeypatch.context() as earlier:
            earlier.setitem(SERVICE_PROFILES, purpose, replace(profile, beside=frozenset(also)))
            return build_service(
                pki.service_root,
                identity.key.public_key(),
                purpose=purpose,
                name=distinguished_name("igfmas"),
                serial=9,
                validity=pki.validity(),
            )

    assert validate(pki, der(without(CALLER, pki.caller(), ())), CALLER).name == "igfmas"
    for purpose, identity in ((PRODUCER, pki.producer()), (REGISTRAR, pki.registrar())):
        assert validate(pki, der(without(purpose, identity, ())), purpose)
        with pytest.raises(ServiceCertificateError, match="another purpose"):
            validate(pki, der(without(purpose, identity, (OID_CLIENT_AUTH,))), purpose)
    with pytest.raises(ServiceCertificateError, match="another purpose"):
        validate(pki, der(without(CALLER, pki.caller(), (OID_CLIENT_AUTH, OID_PRODUCER))), CALLER)


def test_the_sealing_authority_makes_sealing_keys_and_nothing_else(pki):
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    for purpose in (CALLER, REGISTRAR, PRODUCER):
        forged = build_service(
            pki.sealing_authority,
            key,
            purpose=purpose,
            name=distinguished_name("igfmas"),
            serial=1,
            validity=pki.validity(),
        )
        with pytest.raises(ServiceCertificateError, match="another purpose"):
            validate(pki, der(forged), purpose)


def test_a_service_certificate_is_judged_at_the_given_time_under_the_pinned_root(pki):
    caller = pki.caller()
    window = (caller.certificate.not_valid_before_utc, caller.certificate.not_valid_after_utc)
    for at in window:
        assert validate(pki, caller.der, CALLER, at=at)
    for at in (window[0] - timedelta(seconds=1), window[1] + timedelta(seconds=1)):
        with pytest.raises(ServiceCertificateError, match="validity"):
            validate(pki, caller.der, CALLER, at=at)
    other = Pki()
    for certificate in (other.caller().der, pki.officer().der, der(pki.service_root.certificate)):
        with pytest.raises(ServiceCertificateError):
            validate(pki, certificate, CALLER)
    with pytest.raises(ServiceCertificateError, match="not a certificate"):
        validate(pki, b"x", CALLER)
    with pytest.raises(ServiceCertificateError, match="no path"):
        validate(pki, pki.sealing_key().der, SEALING, chain=())


@pytest.mark.parametrize("make", [shared_rsa_key, p256_key])
def test_a_request_proves_possession_of_its_key(make):
    key = make()
    request = x509.CertificateSigningRequestBuilder().subject_name(distinguished_name("x")).sign(key, hashes.SHA256())
    good = request.public_bytes(Encoding.DER)
    assert requested_key(good) == key.public_key()
    for bad in (good[:-1] + bytes([good[-1] ^ 1]), good[:-1], b"", b"\x30\x00"):
        with pytest.raises(PkiError):
            requested_key(bad)


def test_a_weak_request_is_refused():
    key = rsa.generate_private_key(65537, 1024)
    request = x509.CertificateSigningRequestBuilder().subject_name(distinguished_name("x")).sign(key, hashes.SHA256())
    with pytest.raises(PkiError):
        requested_key(request.public_bytes(Encoding.DER))
