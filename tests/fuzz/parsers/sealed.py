"""PIN and OTP: as anybody could send them (0), as anybody could seal them (1); a PIN to be set (2), or changed (3)."""

from collections.abc import Iterable

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from libs.crypto.sealing import PURPOSE_AUTHORISATION, SealError, open_sealed, seal, sealing_info
from libs.crypto.secrets import Secrets, SecretsError, decode_pin, decode_pin_change, encode_pin, normal_pin
from tests.fuzz.mutating import after, mutate_bytes
from tests.fuzz.target import Target

_SIGNER = X25519PrivateKey.from_private_bytes(b"\x03" * 32)
_INFO = sealing_info(PURPOSE_AUTHORISATION, "request-1", bytes(32), "key-1")


def accepts(data: bytes) -> bool:
    """Whether secrets are in it; then these are their only encoding, and the PIN is in normal form."""
    way, content = data[:1], data[1:]
    try:
        if way == b"\2":
            pin = decode_pin(content)
            assert (encode_pin(pin), normal_pin(pin)) == (content, pin)
            return True
        if way == b"\3":
            old, new = decode_pin_change(content)
            assert content == b"\1" + encode_pin(old) + new
            return True
        blob = seal(content, _SIGNER.public_key(), _INFO) if way == b"\1" else content
        opened = open_sealed(blob, _SIGNER, _INFO)
        secrets = Secrets.decode(opened)
    except (SealError, SecretsError):
        return False
    assert secrets.encode() == opened
    assert repr(secrets) == "Secrets(redacted)"
    return True


def seeds() -> Iterable[bytes]:
    """A PIN of letters, one of accents and one of the longest."""
    for pin in ("Rahsia-2026", "é̀rahsia𝒳x", "é" * 64):
        secrets = Secrets(pin=pin, otp="042917").encode()
        yield b"\0" + seal(secrets, _SIGNER.public_key(), _INFO)
        yield b"\1" + secrets
        yield b"\2" + encode_pin(pin)
    yield b"\3\1" + encode_pin("Rahsia-2026") + encode_pin("Baharu-2027")


TARGET = Target("sealed", accepts, seeds, after(1, mutate_bytes), max_size=1024)
