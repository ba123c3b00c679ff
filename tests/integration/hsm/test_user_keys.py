"""A user's key is in the HSM only while it signs, moves to another wrapping key only there, and cannot be altered."""

import logging
from typing import Any

import pkcs11
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass

from libs.hsm import wrapping_keys
from libs.hsm.adapters import HsmPrivateKey
from libs.hsm.errors import HsmRefused, KeyUnusable
from libs.hsm.hsm import Hsm
from libs.hsm.token_session import TokenSession
from libs.hsm.user_keys import NewUserKey, UserKeyAlgorithm, _unwrapped
from tests.integration.hsm.softhsm import count_objects, ensure_wrapping_key, make_untrusted_wrapping_key

ALGORITHMS: list[UserKeyAlgorithm] = ["rsa-2048", "p-256"]
MESSAGES = [b"voucher %d" % number for number in range(25)]
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "PEGAWAI")])


def _csr(key: HsmPrivateKey) -> bytes:
    return x509.CertificateSigningRequestBuilder().subject_name(NAME).sign(key, SHA256()).public_bytes(Encoding.DER)


def _verify(certified: bytes, signature: bytes, message: bytes) -> None:
    public = x509.load_der_x509_csr(certified).public_key()
    if isinstance(public, rsa.RSAPublicKey):
        public.verify(signature, message, padding.PKCS1v15(), SHA256())
    else:
        assert isinstance(public, ec.EllipticCurvePublicKey)
        public.verify(signature, message, ec.ECDSA(SHA256()))


async def _new(hsm: Hsm, algorithm: UserKeyAlgorithm) -> NewUserKey:
    await ensure_wrapping_key(hsm, "kek")
    return await hsm.generate_user_key("kek", algorithm, _csr)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_signatures_verify_in_the_order_of_the_messages(hsm: Hsm, algorithm: UserKeyAlgorithm) -> None:
    key = await _new(hsm, algorithm)
    signatures = await hsm.sign_many("kek", algorithm, key.wrapped, MESSAGES)
    assert len(signatures) == len(MESSAGES)
    for signature, message in zip(signatures, MESSAGES, strict=True):
        _verify(key.certified, signature, message)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_the_new_key_signs_its_own_request_once(hsm: Hsm, algorithm: UserKeyAlgorithm) -> None:
    key = await _new(hsm, algorithm)
    csr = x509.load_der_x509_csr(key.certified)
    assert csr.is_signature_valid


async def test_rsa_signatures_are_deterministic(hsm: Hsm) -> None:
    key = await _new(hsm, "rsa-2048")
    first = await hsm.sign_many("kek", "rsa-2048", key.wrapped, MESSAGES)
    assert await hsm.sign_many("kek", "rsa-2048", key.wrapped, MESSAGES) == first


async def test_no_messages_no_signatures(hsm: Hsm) -> None:
    key = await _new(hsm, "p-256")
    assert await hsm.sign_many("kek", "p-256", key.wrapped, []) == []


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_altered_blob_is_refused_and_the_session_survives(
    hsm: Hsm, algorithm: UserKeyAlgorithm, caplog: pytest.LogCaptureFixture
) -> None:
    key = await _new(hsm, algorithm)
    caplog.set_level(logging.WARNING)
    caplog.clear()
    middle = len(key.wrapped) // 2
    altered = [
        bytes([key.wrapped[0] ^ 1]) + key.wrapped[1:],
        key.wrapped[:middle] + bytes([key.wrapped[middle] ^ 0x80]) + key.wrapped[middle + 1 :],
        key.wrapped[:-1] + bytes([key.wrapped[-1] ^ 1]),
        key.wrapped[:-8],
        key.wrapped[:-3],
        key.wrapped + bytes(8),
        bytes(16),
        b"",
    ]
    for blob in altered:
        with pytest.raises(KeyUnusable):
            await hsm.sign_many("kek", algorithm, blob, MESSAGES[:1])
    assert caplog.records == []  # "no" is told apart from "broken": nothing was reopened
    assert len(await hsm.sign_many("kek", algorithm, key.wrapped, MESSAGES[:1])) == 1


async def test_blob_of_another_algorithm_or_wrapping_key_is_refused(hsm: Hsm) -> None:
    await ensure_wrapping_key(hsm, "kek-2")
    rsa_key, ec_key = await _new(hsm, "rsa-2048"), await _new(hsm, "p-256")
    for label, algorithm, blob in [
        ("kek", "p-256", rsa_key.wrapped),
        ("kek", "rsa-2048", ec_key.wrapped),
        ("kek-2", "rsa-2048", rsa_key.wrapped),
        ("kek-2", "p-256", ec_key.wrapped),
    ]:
        with pytest.raises(KeyUnusable):
            await hsm.sign_many(label, algorithm, blob, MESSAGES[:1])  # type: ignore[arg-type]


async def test_missing_wrapping_key_is_a_refusal(hsm: Hsm) -> None:
    with pytest.raises(HsmRefused, match="absent"):
        await hsm.sign_many("absent", "rsa-2048", bytes(1232), MESSAGES[:1])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_unwrapped_key_is_a_session_object_that_nothing_changes(hsm: Hsm, algorithm: UserKeyAlgorithm) -> None:
    """I-14. How it could leave, and does not, is in tests/attacks/test_key_extraction.py."""
    key = await _new(hsm, algorithm)
    key_type = KeyType.RSA if algorithm == "rsa-2048" else KeyType.EC

    def inspect(session: TokenSession) -> dict[Attribute, Any]:
        with _unwrapped(session, "kek", key_type, key.wrapped) as private:
            secret = Attribute.PRIVATE_EXPONENT if key_type is KeyType.RSA else Attribute.VALUE
            with pytest.raises(pkcs11.exceptions.AttributeSensitive):
                private[secret]
            names = ("TOKEN", "PRIVATE", "SENSITIVE", "EXTRACTABLE", "WRAP_WITH_TRUSTED", "COPYABLE", "MODIFIABLE")
            uses = ("SIGN", "DECRYPT", "UNWRAP", "DERIVE")
            return {Attribute[name]: private[Attribute[name]] for name in (*names, *uses)}

    found = await hsm.run(inspect)
    held = {"PRIVATE", "SENSITIVE", "EXTRACTABLE", "WRAP_WITH_TRUSTED", "SIGN"}
    assert {attribute.name for attribute, value in found.items() if value} == held


@pytest.mark.parametrize(
    "said",
    [
        *({attribute: not value} for attribute, value in wrapping_keys._LEAVES_UNDER_TRUSTED.items()),
        *({attribute: None} for attribute in (Attribute.EXTRACTABLE, Attribute.WRAP_WITH_TRUSTED, Attribute.COPYABLE)),
    ],
    ids=str,
)
async def test_hsm_itself_refuses_to_unwrap_more_weakly(hsm: Hsm, said: dict[Attribute, bool | None]) -> None:
    """Neither otherwise, nor without saying it."""
    key = await _new(hsm, "rsa-2048")
    whole = {**wrapping_keys._LEAVES_UNDER_TRUSTED, **said}
    template = {attribute: value for attribute, value in whole.items() if value is not None}

    def unwrap(session: TokenSession) -> None:
        session.find(ObjectClass.SECRET_KEY, "kek").unwrap_key(
            ObjectClass.PRIVATE_KEY,
            KeyType.RSA,
            key.wrapped,
            mechanism=Mechanism.AES_KEY_WRAP_PAD,
            store=template.get(Attribute.TOKEN, False),
            capabilities=MechanismFlag.SIGN,
            template=template,
        )

    with pytest.raises(HsmRefused, match="TemplateInconsistent"):
        await hsm.run(unwrap)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_key_moves_from_one_wrapping_key_to_another_and_stays_the_same(
    hsm: Hsm, algorithm: UserKeyAlgorithm
) -> None:
    key = await _new(hsm, algorithm)
    await ensure_wrapping_key(hsm, "kek-2")
    before = await hsm.run(count_objects)
    moved = await hsm.move_user_key("kek", "kek-2", algorithm, key.wrapped)
    assert moved is not None
    assert moved != key.wrapped
    (signature,) = await hsm.sign_many("kek-2", algorithm, moved, [b"voucher"])
    _verify(key.certified, signature, b"voucher")
    with pytest.raises(KeyUnusable):
        await hsm.sign_many("kek", algorithm, moved, [b"voucher"])
    with pytest.raises(KeyUnusable):
        await hsm.move_user_key("kek", "kek-2", algorithm, bytes(len(key.wrapped)))
    assert await hsm.run(count_objects) == before


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_under_an_untrusted_wrapping_key_of_before_a_key_is_made_and_signs_and_stays(
    hsm: Hsm, algorithm: UserKeyAlgorithm
) -> None:
    label = f"of-before-{algorithm}"
    await hsm.run(make_untrusted_wrapping_key, label)
    await ensure_wrapping_key(hsm, "kek")
    key = await hsm.generate_user_key(label, algorithm, _csr)
    (signature,) = await hsm.sign_many(label, algorithm, key.wrapped, [b"voucher"])
    _verify(key.certified, signature, b"voucher")
    with pytest.raises(KeyUnusable):
        await hsm.sign_many(label, algorithm, bytes(len(key.wrapped)), [b"voucher"])
    assert await hsm.move_user_key(label, "kek", algorithm, key.wrapped) is None
    trusted = await _new(hsm, algorithm)
    assert await hsm.move_user_key("kek", label, algorithm, trusted.wrapped) is None, "nor back to it"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_object_count_is_flat_over_200_signatures(hsm: Hsm, algorithm: UserKeyAlgorithm) -> None:
    key = await _new(hsm, algorithm)
    before = await hsm.run(count_objects)
    for start in range(0, 200, 10):
        await hsm.sign_many("kek", algorithm, key.wrapped, [b"%d" % (start + i) for i in range(10)])
    assert await hsm.run(count_objects) == before


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_nothing_is_left_behind_by_what_fails(hsm: Hsm, algorithm: UserKeyAlgorithm) -> None:
    """I-14."""
    key = await _new(hsm, algorithm)
    before = await hsm.run(count_objects)

    def fail(_key: HsmPrivateKey) -> bytes:
        raise ValueError("no request")

    with pytest.raises(ValueError, match="no request"):
        await hsm.generate_user_key("kek", algorithm, fail)
    with pytest.raises(TypeError):
        await hsm.sign_many("kek", algorithm, key.wrapped, [b"good", 5])  # type: ignore[list-item]
    with pytest.raises(KeyUnusable):
        await hsm.sign_many("kek", algorithm, bytes(len(key.wrapped)), MESSAGES)
    assert await hsm.run(count_objects) == before
