"""The rule of issuing: who may have a certificate, and what it says."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from libs.contracts.enrolment import CertificateRequested
from libs.crypto.pki import PkiError, ServicePurpose
from libs.crypto.public_keys import public_key_id, spki
from libs.crypto.service_certificates import ServiceIdentity
from services.certificate_authority.issuance import (
    BACKDATE,
    Order,
    Profile,
    Refused,
    Unsigned,
    Wanted,
    build,
    judge,
    new_serial,
    order_for,
    validity,
)
from tests.support.applications import (
    application,
    certificate_requested,
    csr,
    signed,
    token_application,
    token_certificate_requested,
)
from tests.support.pki import EPOCH, VALIDATOR, Pki, p256_key, rsa_key, shared_rsa_key

REGISTRAR = Ed25519PrivateKey.generate()
PEOPLE = {"mygpki": REGISTRAR, "mygpki-pengesah": VALIDATOR}
REGISTRARS = {
    public_key_id(key.public_key()): ServiceIdentity(
        name, ServicePurpose.REGISTRAR, public_key_id(key.public_key()), key.public_key(), EPOCH, None
    )
    for name, key in PEOPLE.items()
}
KEY = rsa_key()
OF_EXPONENT_3 = rsa.generate_private_key(3, 2048)


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki(root_key=shared_rsa_key(3072), issuing_key=shared_rsa_key())


def officer_order(**values: object) -> Order:
    order = order_for(
        Profile.OFFICER,
        KEY.public_key(),
        holder="credential",
        common_name="Aminah binti Ismail",
        serial_number="800101145566",
        serial=new_serial(),
        validity=validity(EPOCH, timedelta(days=365), None),
        crl_url="http://crl.example/issuing.crl",
    )
    return replace(order, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(("algorithm", "key"), [("rsa-2048", KEY), ("p-256", p256_key())])
def test_what_the_registrar_signed_is_granted_for_the_key_that_proved_itself(algorithm, key):
    wanted = application(algorithm=algorithm)
    judged = judge(certificate_requested(wanted, REGISTRAR, key), REGISTRARS)
    assert isinstance(judged, Wanted)
    assert judged.application == wanted
    assert spki(judged.public_key) == spki(key.public_key())


def forged() -> CertificateRequested:
    return certificate_requested(application(), Ed25519PrivateKey.generate())


def altered() -> CertificateRequested:
    """A true signature over another e-mail address."""
    event = certificate_requested(application(), REGISTRAR, KEY)
    other = event.signed.application.model_copy(update={"email": "thief@elsewhere.example"})
    return event.model_copy(update={"signed": event.signed.model_copy(update={"application": other})})


@pytest.mark.parametrize("make", [forged, altered])
def test_what_no_registrar_signed_is_no_application(make: Callable[[], CertificateRequested]):
    assert judge(make(), REGISTRARS) == Unsigned("not-signed-by-two-administrators")


def test_a_key_that_no_registrar_has_signs_nothing():
    assert isinstance(judge(certificate_requested(application(), REGISTRAR, KEY), {}), Unsigned)


def with_anothers_proof() -> CertificateRequested:
    """Our key in the request, signed with another key: the proof is not of this key."""
    mine, other = csr(KEY), csr(rsa_key())
    tampered = mine[: -len(x509.load_der_x509_csr(mine).signature)] + x509.load_der_x509_csr(other).signature
    return certificate_requested(application(), REGISTRAR, csr=tampered)


REFUSED = {
    "proof of another key": with_anothers_proof,
    "no request at all": lambda: certificate_requested(application(), REGISTRAR, csr=b"\x30\x00"),
    "another credential": lambda: certificate_requested(application(), REGISTRAR, KEY, credential_id=uuid4()),
    "RSA of another size": lambda: certificate_requested(application(), REGISTRAR, shared_rsa_key(3072)),
    "RSA with exponent 3": lambda: certificate_requested(application(), REGISTRAR, OF_EXPONENT_3),
    "P-256 instead of RSA": lambda: certificate_requested(application(), REGISTRAR, p256_key()),
    "RSA instead of P-256": lambda: certificate_requested(application(algorithm="p-256"), REGISTRAR, KEY),
    "another curve": lambda: certificate_requested(
        application(algorithm="p-256"), REGISTRAR, ec.generate_private_key(ec.SECP384R1())
    ),
    "an Ed25519 key": lambda: certificate_requested(application(), REGISTRAR, csr=csr(Ed25519PrivateKey.generate())),
    "a name that no certificate can hold": lambda: certificate_requested(application(name="x" * 65), REGISTRAR, KEY),
    "a name that is too long in UTF-8": lambda: certificate_requested(application(name="Ä" * 33), REGISTRAR, KEY),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_a_text_for_the_registrar(case):
    judged = judge(REFUSED[case](), REGISTRARS)
    assert isinstance(judged, Refused)
    assert len(judged.detail) > 10


def test_the_longest_name_fits(pki):
    order = officer_order(common_name="Ä" * 32)
    certificate = x509.load_der_x509_certificate(build(order, pki.issuing.key, pki.issuing.certificate))
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "Ä" * 32


def test_the_same_order_gives_the_same_certificate(pki):
    order = officer_order()
    first, again = (build(order, pki.issuing.key, pki.issuing.certificate) for _ in range(2))
    assert first == again


def test_the_certificate_says_what_was_ordered_and_nothing_of_the_request(pki):
    order = officer_order()
    certificate = x509.load_der_x509_certificate(build(order, pki.issuing.key, pki.issuing.certificate))
    assert certificate.serial_number == int.from_bytes(order.serial, "big")
    assert certificate.subject.rfc4514_string() == (
        "2.5.4.5=800101145566,CN=Aminah binti Ismail,O=Kerajaan Malaysia,C=MY"
    )
    assert certificate.public_key() == KEY.public_key()
    (point,) = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert point.full_name is not None
    assert point.full_name[0].value == "http://crl.example/issuing.crl"


@pytest.mark.parametrize(
    "values",
    [
        {"crl_url": None},
        {"profile": Profile.CALLER},
        {"profile": Profile.ROOT},
        {"profile": Profile.SEALING_AUTHORITY},
    ],
)
def test_an_order_that_fits_no_profile_is_not_signed(pki, values):
    with pytest.raises(PkiError):
        build(officer_order(**values), pki.issuing.key, pki.issuing.certificate)


def test_a_root_is_signed_by_the_key_that_it_names_only(pki):
    order = officer_order(profile=Profile.ROOT)
    with pytest.raises(PkiError):
        build(order, pki.issuing.key, None)


def test_serial_numbers_are_positive_of_one_length_and_do_not_repeat():
    serials = {new_serial() for _ in range(1000)}
    assert len(serials) == 1000
    assert {len(serial) for serial in serials} == {16}
    assert all(0x40 <= serial[0] <= 0x7F for serial in serials)
    # 126 random bits: every bit of them takes both values
    ones = [sum(int.from_bytes(serial, "big") >> bit & 1 for serial in serials) for bit in range(126)]
    assert all(300 < count < 700 for count in ones)


def test_validity_is_backdated_and_ends_with_its_issuers(pki):
    root = pki.root.certificate
    now = EPOCH.replace(microsecond=999_999)
    free = validity(now, timedelta(days=1), root)
    assert (free.not_before, free.not_after) == (EPOCH - BACKDATE, EPOCH + timedelta(days=1))
    cut = validity(root.not_valid_before_utc, timedelta(days=99_999), root)
    assert (cut.not_before, cut.not_after) == (root.not_valid_before_utc, root.not_valid_after_utc)


def test_an_application_is_signed_whole():
    """One character anywhere, and the signature is of something else."""
    wanted = application()
    event = certificate_requested(wanted, REGISTRAR, KEY)
    changes = {"user": "999999999999", "name": "X", "email": "x@y.z", "office": "X", "algorithm": "p-256"}
    for name, value in changes.items():
        other = signed(wanted, REGISTRAR).model_copy(update={"application": wanted.model_copy(update={name: value})})
        judged = judge(event.model_copy(update={"signed": other}), REGISTRARS)
        assert isinstance(judged, Unsigned), name


@pytest.mark.parametrize("key", [KEY, p256_key()], ids=["rsa-2048", "p-256"])
def test_a_tokens_key_is_granted_when_the_registrar_signed_the_hash_of_its_request(key):
    request = csr(key)
    wanted = token_application(request=request)
    judged = judge(token_certificate_requested(wanted, REGISTRAR, request), REGISTRARS)
    assert isinstance(judged, Wanted)
    assert (judged.application, judged.medium) == (wanted, "token")
    assert spki(judged.public_key) == spki(key.public_key())


def test_another_request_than_the_registrar_signed_is_no_application_of_a_token():
    wanted = token_application(request=csr(KEY))
    judged = judge(token_certificate_requested(wanted, REGISTRAR, csr(rsa_key())), REGISTRARS)
    assert judged == Unsigned("csr-not-confirmed")


@pytest.mark.parametrize("key", [shared_rsa_key(3072), OF_EXPONENT_3, ec.generate_private_key(ec.SECP384R1())])
def test_a_token_with_a_key_of_no_profile_is_refused(key):
    request = csr(key)
    judged = judge(token_certificate_requested(token_application(request=request), REGISTRAR, request), REGISTRARS)
    assert isinstance(judged, Refused)


def test_a_token_that_did_not_prove_its_key_is_refused():
    request = with_anothers_proof().csr
    judged = judge(token_certificate_requested(token_application(request=request), REGISTRAR, request), REGISTRARS)
    assert isinstance(judged, Refused)


def test_a_registrars_signature_over_a_roaming_application_confirms_no_token():
    request = csr(KEY)
    event = token_certificate_requested(token_application(request=request), REGISTRAR, request)
    roaming = signed(application(), REGISTRAR)
    other = event.signed.model_copy(update={"signature": roaming.signature, "second": roaming.second})
    judged = judge(event.model_copy(update={"signed": other}), REGISTRARS)
    assert judged == Unsigned("not-signed-by-two-administrators")
