"""Keys that stay in the token: what the HSM itself says about them, and what authorities do with them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from pkcs11 import Attribute, KeyType, MechanismFlag, ObjectClass

from libs.hsm import wrapping_keys
from libs.hsm.adapters import HsmPrivateKey
from libs.hsm.errors import HsmRefused
from libs.hsm.hsm import Hsm
from libs.hsm.token_session import TokenSession
from tests.integration.hsm.softhsm import (
    LABEL,
    MODULE,
    SO_PIN,
    USER_PIN,
    SoftHsm,
    count_objects,
    ensure_wrapping_key,
)

NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "GPKI Root CA")])
NOW = datetime(2026, 11, 23, tzinfo=UTC)
SECRET, PRIVATE = ObjectClass.SECRET_KEY, ObjectClass.PRIVATE_KEY


async def _ensure(hsm: Hsm, kind: str) -> tuple[str, ObjectClass, set[str]]:
    """Make a key of that kind; its label, class and permitted uses."""
    match kind:
        case "wrapping":
            await ensure_wrapping_key(hsm, kind)
            return kind, SECRET, {"WRAP", "UNWRAP"}
        case "mac":
            await hsm.ensure_mac_key(kind)
            return kind, SECRET, {"SIGN", "VERIFY"}
        case "rsa":
            await hsm.ensure_rsa_key(kind, 3072)
            return kind, PRIVATE, {"SIGN"}
        case _:
            await hsm.ensure_p256_key(kind)
            return kind, PRIVATE, {"SIGN"}


@pytest.mark.parametrize("kind", ["wrapping", "mac", "rsa", "p-256"])
async def test_attribute_dump_shows_a_key_that_cannot_leave(hsm: Hsm, kind: str) -> None:
    """KEY-1."""
    label, object_class, uses = await _ensure(hsm, kind)
    dump = await hsm.attributes(object_class, label)
    confined = {"TOKEN", "PRIVATE", "SENSITIVE", "LOCAL", "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE"}
    confined |= {"TRUSTED"} if kind == "wrapping" else set()
    assert {name for name, value in dump.items() if value is True} == confined | uses
    assert dump["EXTRACTABLE"] is False
    assert dump["MODIFIABLE"] is False
    assert set(dump.values()) <= {True, False}


@pytest.mark.parametrize("kind", ["wrapping", "mac", "rsa", "p-256"])
async def test_ensuring_again_makes_no_second_key(hsm: Hsm, kind: str) -> None:
    await _ensure(hsm, kind)
    before = await hsm.run(count_objects)
    await _ensure(hsm, kind)
    assert await hsm.run(count_objects) == before


async def test_keys_outlive_the_session(hsm: Hsm, soft_hsm: SoftHsm) -> None:
    await hsm.ensure_mac_key("pepper")
    first = await hsm.hmac_sha256("pepper", b"data")
    await hsm.aclose()
    again = await Hsm.open(MODULE, LABEL, USER_PIN)
    try:
        await again.ensure_mac_key("pepper")
        assert await again.hmac_sha256("pepper", b"data") == first
        assert await again.hmac_sha256("pepper", b"datb") != first
    finally:
        await again.aclose()


async def test_hmac_is_32_bytes_and_depends_on_the_key(hsm: Hsm) -> None:
    await hsm.ensure_mac_key("one")
    await hsm.ensure_mac_key("two")
    one, two = await hsm.hmac_sha256("one", b"x"), await hsm.hmac_sha256("two", b"x")
    assert len(one) == len(two) == 32
    assert one != two


@pytest.mark.parametrize(
    ("weak", "named"),
    [
        ({Attribute.EXTRACTABLE: True}, "EXTRACTABLE"),
        ({Attribute.SENSITIVE: False}, "SENSITIVE"),
        ({Attribute.ENCRYPT: True}, "ENCRYPT"),
        ({Attribute.UNWRAP_TEMPLATE: {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}}, "TOKEN True"),
        ({Attribute.UNWRAP_TEMPLATE: {Attribute.SENSITIVE: True, Attribute.TOKEN: False}}, "EXTRACTABLE True"),
        ({}, "TOKEN True"),
    ],
)
async def test_weak_key_made_beforehand_is_refused(hsm: Hsm, weak: dict[Attribute, bool], named: str) -> None:
    label = f"weak-{named}-{len(weak)}"
    template: dict[Attribute, Any] = {Attribute.EXTRACTABLE: False, Attribute.MODIFIABLE: False} | weak

    def plant(session: TokenSession) -> None:
        uses = MechanismFlag.WRAP | MechanismFlag.UNWRAP
        session.raw.generate_key(KeyType.AES, 256, label=label, store=True, capabilities=uses, template=template)

    await hsm.run(plant)
    await hsm.aclose()  # a process logs in once
    with pytest.raises(HsmRefused, match=named):
        wrapping_keys.ensure_wrapping_key(MODULE, LABEL, label, user_pin=USER_PIN, so_pin=lambda: SO_PIN)


async def test_two_keys_of_one_label_are_refused_not_guessed(hsm: Hsm) -> None:
    def plant(session: TokenSession) -> None:
        for _ in range(2):
            session.raw.generate_key(
                KeyType.GENERIC_SECRET, 256, label="twin", store=True, capabilities=MechanismFlag.SIGN
            )

    await hsm.run(plant)
    with pytest.raises(HsmRefused, match="MultipleObjectsReturned"):
        await hsm.hmac_sha256("twin", b"x")


async def _authority(hsm: Hsm, kind: str) -> str:
    return (await _ensure(hsm, kind))[0]


@pytest.mark.parametrize("kind", ["rsa", "p-256"])
async def test_certificates_crls_and_requests_are_signed_inside(hsm: Hsm, kind: str) -> None:
    label = await _authority(hsm, kind)

    def issue(key: HsmPrivateKey) -> tuple[x509.Certificate, x509.CertificateRevocationList, Any]:
        certificate = (
            x509.CertificateBuilder()
            .subject_name(NAME)
            .issuer_name(NAME)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(NOW)
            .not_valid_after(NOW + timedelta(days=1))
            .sign(key, hashes.SHA256())
        )
        crl = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(NAME)
            .last_update(NOW)
            .next_update(NOW + timedelta(days=1))
            .sign(key, hashes.SHA256())
        )
        return certificate, crl, x509.CertificateSigningRequestBuilder().subject_name(NAME).sign(key, hashes.SHA256())

    certificate, crl, request = await hsm.with_private_key(label, issue)
    certificate.verify_directly_issued_by(certificate)
    assert crl.is_signature_valid(certificate.public_key())  # type: ignore[arg-type]
    assert request.is_signature_valid
    assert request.public_key() == certificate.public_key()
    expected = rsa.RSAPublicKey if kind == "rsa" else ec.EllipticCurvePublicKey
    assert isinstance(certificate.public_key(), expected)
    assert certificate.public_key().key_size == (3072 if kind == "rsa" else 256)  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["rsa", "p-256"])
async def test_adapter_refuses_what_would_leave_the_hsm_or_weaken_the_signature(hsm: Hsm, kind: str) -> None:
    label = await _authority(hsm, kind)

    def attempt(key: Any) -> None:
        sha1: Any = (padding.PKCS1v15(), hashes.SHA1()) if kind == "rsa" else (ec.ECDSA(hashes.SHA1()),)
        pss = (padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
        calls: list[Callable[[], object]] = [
            key.private_numbers,
            lambda: key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            lambda: key.sign(b"data", *sha1),
            (lambda: key.sign(b"data", *pss)) if kind == "rsa" else (lambda: key.exchange(ec.ECDH(), None)),
        ]
        for call in calls:
            with pytest.raises(UnsupportedAlgorithm):
                call()

    await hsm.with_private_key(label, attempt)


async def test_a_destroyed_mac_key_is_gone_for_good(hsm: Hsm) -> None:
    """What its MACs protected cannot be had again: a key of the same name is another one."""
    await hsm.ensure_mac_key("for-a-while")
    before = await hsm.hmac_sha256("for-a-while", b"x")
    assert await hsm.destroy_secret_key("for-a-while")
    assert not await hsm.destroy_secret_key("for-a-while")
    with pytest.raises(HsmRefused):
        await hsm.hmac_sha256("for-a-while", b"x")
    await hsm.ensure_mac_key("for-a-while")
    assert await hsm.hmac_sha256("for-a-while", b"x") != before
