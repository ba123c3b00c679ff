"""PIN and OTP are sealed only to a key that the pinned root vouches for, for one request and its documents."""

from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from libs.crypto.pki import Issuer, ServicePurpose, build_service, distinguished_name
from libs.crypto.public_keys import public_key_id
from libs.crypto.sealing import PURPOSE_AUTHORISATION, PURPOSE_ENROLMENT_PIN, SealError, open_sealed, sealing_info
from libs.crypto.secrets import Secrets, decode_pin
from libs.gpki_client import CertificateError, SealingError, SealingKey
from tests.support.pki import EPOCH, Identity, Pki, p256_key

ROOT = bytes(32)
SECRETS = Secrets(pin="rahsia-8210", otp="482913")


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki()


@pytest.fixture(scope="module")
def identity(pki: Pki) -> Identity[X25519PrivateKey]:
    return pki.sealing_key()


def judged(pki: Pki, identity: Identity[X25519PrivateKey], *, at: datetime = EPOCH, key_id: str = "") -> SealingKey:
    authority = pki.sealing_authority.certificate.public_bytes(Encoding.DER)
    root = pki.service_root.certificate.public_bytes(Encoding.DER)
    name = key_id or public_key_id(identity.key.public_key())
    return SealingKey.judge(name, [identity.der, authority], service_root=root, at=at)


def test_the_signer_opens_what_was_sealed(pki: Pki, identity: Identity[X25519PrivateKey]) -> None:
    key, request = judged(pki, identity), uuid4()
    blob = key.seal_authorisation(pin=SECRETS.pin, otp=SECRETS.otp, request_id=request, root=ROOT)
    info = sealing_info(PURPOSE_AUTHORISATION, str(request), ROOT, key.key_id)
    assert Secrets.decode(open_sealed(blob, identity.key, info)) == SECRETS


def test_it_opens_for_no_other_request_and_no_other_documents(pki: Pki, identity: Identity[X25519PrivateKey]) -> None:
    key, request = judged(pki, identity), uuid4()
    blob = key.seal_authorisation(pin=SECRETS.pin, otp=SECRETS.otp, request_id=request, root=ROOT)
    for fields in ((str(uuid4()), ROOT), (str(request), b"\1" * 32)):
        with pytest.raises(SealError):
            open_sealed(blob, identity.key, sealing_info(PURPOSE_AUTHORISATION, *fields, key.key_id))


def test_a_chosen_pin_is_bound_to_officer_and_credential(pki: Pki, identity: Identity[X25519PrivateKey]) -> None:
    key, credential = judged(pki, identity), uuid4()
    blob = key.seal_pin("rahsia-8210", user="800101055566", credential_id=credential)
    info = sealing_info(PURPOSE_ENROLMENT_PIN, "800101055566", str(credential), key.key_id)
    assert decode_pin(open_sealed(blob, identity.key, info)) == "rahsia-8210"


def test_a_key_under_another_root_is_refused(identity: Identity[X25519PrivateKey]) -> None:
    with pytest.raises(CertificateError):
        judged(Pki(), identity)


def test_an_expired_key_is_refused(pki: Pki, identity: Identity[X25519PrivateKey]) -> None:
    with pytest.raises(CertificateError, match="validity"):
        judged(pki, identity, at=EPOCH + timedelta(days=4000))


def test_a_key_under_another_name_is_refused(pki: Pki, identity: Identity[X25519PrivateKey]) -> None:
    with pytest.raises(SealingError, match="another key"):
        judged(pki, identity, key_id="0" * 64)


def test_a_certificate_for_another_purpose_and_none_at_all_are_refused(pki: Pki) -> None:
    root = pki.service_root.certificate.public_bytes(Encoding.DER)
    with pytest.raises(CertificateError):
        SealingKey.judge("0" * 64, [pki.caller("igfmas").der], service_root=root, at=EPOCH)
    with pytest.raises(SealingError, match="no certificate"):
        SealingKey.judge("0" * 64, [], service_root=root, at=EPOCH)


def test_the_root_may_be_pinned_in_pem_and_rubbish_is_no_certificate(
    pki: Pki, identity: Identity[X25519PrivateKey]
) -> None:
    chain = [identity.der, pki.sealing_authority.certificate.public_bytes(Encoding.DER)]
    pem = pki.service_root.certificate.public_bytes(Encoding.PEM)
    name = public_key_id(identity.key.public_key())
    assert SealingKey.judge(name, chain, service_root=pem, at=EPOCH).key_id == name
    for wrong in ([b"", chain[1]], [chain[0]], [chain[1]], [chain[0], chain[1][:-1]]):
        with pytest.raises(CertificateError):
            SealingKey.judge(name, wrong, service_root=pem, at=EPOCH)


def test_an_authority_for_another_purpose_makes_no_sealing_key(pki: Pki, identity: Identity[X25519PrivateKey]) -> None:
    """A caller's key, were it to issue, or a sealing key right under the root without its authority's limits."""
    name = public_key_id(identity.key.public_key())
    root = pki.service_root.certificate.public_bytes(Encoding.DER)
    for issuer in (pki.issuing, Issuer(pki.caller().certificate, p256_key())):
        forged = build_service(
            issuer,
            identity.key.public_key(),
            purpose=ServicePurpose.SEALING,
            name=distinguished_name("sealing key"),
            serial=pki.serial(),
            validity=pki.validity(),
        ).public_bytes(Encoding.DER)
        authority = issuer.certificate.public_bytes(Encoding.DER)
        with pytest.raises(CertificateError, match="no path"):
            SealingKey.judge(name, [forged, authority], service_root=root, at=EPOCH)
