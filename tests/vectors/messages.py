"""Write tests/vectors/messages.json from RFC 9180 alone: `python -m tests.vectors.messages`.

Imports nothing of ours. What is sealed here has a fixed ephemeral key, so that a port can be compared byte for byte; a
real message never has one.
"""

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

FILE = Path(__file__).with_suffix(".json")

KEM_ID, KDF_ID, AEAD_ID = b"\x00\x20", b"\x00\x01", b"\x00\x02"  # X25519, HKDF-SHA256, AES-256-GCM
KEM_SUITE, HPKE_SUITE = b"KEM" + KEM_ID, b"HPKE" + KEM_ID + KDF_ID + AEAD_ID

RECIPIENT, EPHEMERAL = bytes(range(32)), bytes(range(64, 96))
REQUEST_ID = "6f0f0f8e-4ad3-5b5c-9d3f-0d6a4f3f8a11"
ROOT = bytes.fromhex("ab" * 32)
KEY_ID = "c30703c0c265fc4a73267bf1ca5e77fffb049e2401ab45ccf1e8e60e5b04359a"
DEVICE_ID = hashlib.sha256(b"a device's Ed25519 SubjectPublicKeyInfo").hexdigest()


def extract(salt: bytes, suite: bytes, label: bytes, key: bytes) -> bytes:
    return hmac.digest(salt, b"HPKE-v1" + suite + label + key, "sha256")


def expand(key: bytes, suite: bytes, label: bytes, info: bytes, length: int) -> bytes:
    labelled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return hmac.digest(key, labelled + b"\x01", "sha256")[:length]  # one block is enough for every length here


def seal(plaintext: bytes, recipient: bytes, ephemeral: bytes, info: bytes) -> bytes:
    """RFC 9180 sections 4.1, 5.1 and 6.1: base mode, single shot, empty aad."""
    secret, to = X25519PrivateKey.from_private_bytes(ephemeral), X25519PrivateKey.from_private_bytes(recipient)
    encapsulated = secret.public_key().public_bytes_raw()
    context = encapsulated + to.public_key().public_bytes_raw()
    prk = extract(b"", KEM_SUITE, b"eae_prk", secret.exchange(to.public_key()))
    shared = expand(prk, KEM_SUITE, b"shared_secret", context, 32)
    schedule = b"\x00" + extract(b"", HPKE_SUITE, b"psk_id_hash", b"") + extract(b"", HPKE_SUITE, b"info_hash", info)
    key_prk = extract(shared, HPKE_SUITE, b"secret", b"")
    key = expand(key_prk, HPKE_SUITE, b"key", schedule, 32)
    nonce = expand(key_prk, HPKE_SUITE, b"base_nonce", schedule, 12)
    return encapsulated + AESGCM(key).encrypt(nonce, plaintext, b"")


def info_of(*fields: bytes) -> bytes:
    return b"gpki.sealing.v1" + b"".join(len(field).to_bytes(2, "big") + field for field in fields)


def case(name: str, info: bytes, plaintext: bytes, **more: Any) -> dict[str, Any]:
    sealed = seal(plaintext, RECIPIENT, EPHEMERAL, info)
    return {"purpose": name, **more, "info": info.hex(), "plaintext": plaintext.hex(), "sealed": sealed.hex()}


def authorisation(pin: str, otp: str) -> dict[str, Any]:
    data = pin.encode()
    plaintext = b"\x01" + otp.encode() + len(data).to_bytes(2, "big") + data.ljust(256, b"\0")
    info = info_of(b"authorisation", REQUEST_ID.encode(), ROOT, KEY_ID.encode())
    more = {"request_id": REQUEST_ID, "root": ROOT.hex(), "sealing_key_id": KEY_ID, "pin": pin, "otp": otp}
    return case("authorisation", info, plaintext, **more)


def device_message(otp: str, reference: str) -> dict[str, Any]:
    body = f"{otp} ialah OTP anda. Rujukan {reference}.\n\n{otp} is your OTP. Reference {reference}.\n"
    message = {"subject": f"GPKI: OTP {reference}", "body": body, "reference_code": reference}
    info = info_of(b"otp-message", REQUEST_ID.encode(), DEVICE_ID.encode())
    more = {"request_id": REQUEST_ID, "device_id": DEVICE_ID, "reference_code": reference, "otp": otp}
    return case("otp-message", info, json.dumps(message, ensure_ascii=False).encode(), **more)


def text() -> str:
    told = {
        "about": "HPKE base mode, X25519, HKDF-SHA256, AES-256-GCM, empty aad; sealed = enc || ct, made with the "
        "ephemeral key below. Both keys are for tests only.",
        "private_key": RECIPIENT.hex(),
        "ephemeral_private_key": EPHEMERAL.hex(),
        "cases": [
            authorisation("Kuala-Lumpur 1957", "042917"),
            authorisation("kata laluan éñ€🔑", "000000"),
            device_message("482913", "K7QM"),
        ],
    }
    return json.dumps(told, ensure_ascii=True, indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="ascii")
