"""Vectors for other languages, made from the standards alone, judge the SDK and the platform alike."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from libs.crypto import cms as theirs
from libs.crypto.cms_reading import parse, verify_signature
from libs.crypto.sealing import open_sealed
from libs.gpki_client import AnswerError, SealingError, sealing
from libs.gpki_client.cms import SignedAttributes, signer_of
from libs.gpki_client.device import Device, SealedMessage
from tests.vectors import messages, token_signature

MESSAGES: dict[str, Any] = json.loads(messages.FILE.read_text())
SIGNATURE: dict[str, Any] = json.loads(token_signature.FILE.read_text())
PRIVATE = X25519PrivateKey.from_private_bytes(bytes.fromhex(MESSAGES["private_key"]))
OTP_MESSAGE = MESSAGES["cases"][-1]
AT = datetime(2026, 11, 23, 8, tzinfo=UTC)


def test_the_committed_vectors_are_those_of_the_standards() -> None:
    assert messages.FILE.read_text() == messages.text()
    assert token_signature.FILE.read_text() == token_signature.text()


@pytest.mark.parametrize("case", MESSAGES["cases"], ids=lambda case: f"{case['purpose']} {case['otp']}")
def test_sealed_messages_open(case: dict[str, Any]) -> None:
    sealed, info = bytes.fromhex(case["sealed"]), bytes.fromhex(case["info"])
    assert sealing.open_sealed(sealed, PRIVATE, info) == open_sealed(sealed, PRIVATE, info)
    assert sealing.open_sealed(sealed, PRIVATE, info).hex() == case["plaintext"]
    if case["purpose"] == "authorisation":
        assert sealing.encode_secrets(case["pin"], case["otp"]).hex() == case["plaintext"]
        fields: tuple[Any, ...] = (case["request_id"], bytes.fromhex(case["root"]), case["sealing_key_id"])
    else:
        fields = (case["request_id"], case["device_id"])
    assert sealing.sealing_info(case["purpose"], *fields) == info


def test_a_token_s_attributes_and_cms_are_those_of_the_vector() -> None:
    vector = {name: SIGNATURE[name] for name in ("document_id", "action", "system")}
    said = {
        **vector,
        "digest": hashlib.sha256(bytes.fromhex(SIGNATURE["document"])).digest(),
        "root": bytes.fromhex(SIGNATURE["root"]),
        "signing_time": datetime.fromisoformat(SIGNATURE["signing_time"]),
    }
    certificate, signature = bytes.fromhex(SIGNATURE["certificate"]), bytes.fromhex(SIGNATURE["signature"])
    ours, platform = signer_of(certificate), theirs.CmsTemplate(certificate, ())
    signed = ours.to_be_signed(SignedAttributes(**said))
    assert signed.hex() == platform.signed_attributes(theirs.SignedAttributes(**said)).hex()
    assert signed.hex() == SIGNATURE["signed_attributes"]
    assert {value.hex() for value in ours.attributes(SignedAttributes(**said)).values()} == set(
        SIGNATURE["attributes"].values()
    )
    cms = ours.assemble(signed, signature)
    assert cms.hex() == SIGNATURE["cms"]
    assert verify_signature(parse(cms), token_signature.KEY.public_key())


def message(**changes: Any) -> SealedMessage:
    told = {
        "request_id": UUID(OTP_MESSAGE["request_id"]), "number": 1, "reference_code": OTP_MESSAGE["reference_code"],
        "delivered_at": AT, "expires_at": AT, "message": bytes.fromhex(OTP_MESSAGE["sealed"]),
    }  # fmt: skip
    return SealedMessage(**(told | changes))


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    """The vector's device: its id was not made from a key."""
    made = Device(PRIVATE, Ed25519PrivateKey.generate())
    monkeypatch.setattr(made, "device_id", OTP_MESSAGE["device_id"])
    return made


def test_a_device_reads_its_message_and_shows_no_code_in_a_repr(device: Device) -> None:
    read = device.open(message())
    assert (read.otp, read.reference_code) == (OTP_MESSAGE["otp"], OTP_MESSAGE["reference_code"])
    assert read.body.startswith(read.otp)
    assert OTP_MESSAGE["otp"] not in repr(read)


def test_a_message_opens_for_no_other_device_request_or_reference(device: Device) -> None:
    for wrong in (
        {"request_id": UUID(int=1)},
        {"reference_code": "XXXX"},
        {"message": message().message[:-1] + b"x"},
        {"message": b""},
    ):
        with pytest.raises(SealingError):
            device.open(message(**wrong))
    with pytest.raises(SealingError):
        Device.new().open(message())


@pytest.mark.parametrize("plaintext", [b"", b"[]", b"{}", b'{"subject":"","body":"x","reference_code":"K7QM"}'])
def test_a_message_of_another_form_is_told_as_that(device: Device, plaintext: bytes) -> None:
    info = bytes.fromhex(OTP_MESSAGE["info"])
    with pytest.raises(AnswerError):
        device.open(message(message=sealing.seal(plaintext, PRIVATE.public_key(), info)))
