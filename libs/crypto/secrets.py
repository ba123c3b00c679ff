"""The two factors that travel sealed, in an encoding whose length tells nothing about the PIN."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Self

from libs.crypto.errors import CryptoError

PIN_MIN, PIN_MAX = 8, 64
"""Characters of a PIN (NIST SP 800-63B: at least 8, at most no fewer than 64), counted after NFC."""

_PIN_BYTES = 4 * PIN_MAX
_ENCODED_PIN = 2 + _PIN_BYTES
_OTP_DIGITS = 6
_OTP = re.compile(r"[0-9]{6}")
_VERSION = b"\x01"


class SecretsError(CryptoError):
    """A PIN or OTP of impossible form."""


def normal_pin(pin: str) -> str:
    """The PIN in NFC, so that every keyboard gives the same bytes. Raises SecretsError: length, control characters."""
    normal = unicodedata.normalize("NFC", pin)
    if not PIN_MIN <= len(normal) <= PIN_MAX:
        raise SecretsError(f"a PIN has {PIN_MIN} to {PIN_MAX} characters")
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in normal):
        raise SecretsError("a PIN has no control characters")
    return normal


def encode_pin(pin: str) -> bytes:
    """258 bytes for any PIN: its UTF-8 length (2 bytes, big-endian), its UTF-8, zeros. Raises SecretsError."""
    data = normal_pin(pin).encode()
    return len(data).to_bytes(2, "big") + data.ljust(_PIN_BYTES, b"\0")


def decode_pin(data: bytes) -> str:
    """The inverse of `encode_pin`, which accepts only its output. Raises SecretsError."""
    length = int.from_bytes(data[:2], "big")
    text: str | None
    try:
        text = data[2 : 2 + length].decode()
    except UnicodeDecodeError:
        text = None
    if text is None or encode_pin(text) != data:
        raise SecretsError("not an encoded PIN")
    return text


def decode_pin_change(data: bytes) -> tuple[str, bytes]:
    """From 517 bytes (version 1, and two encoded PINs) the one that was, and the one that is to be.

    The latter as it was encoded, for `decode_pin`: an impossible new PIN is another answer. Raises SecretsError.
    """
    end = 1 + _ENCODED_PIN
    if data[:1] != _VERSION or len(data) != end + _ENCODED_PIN:
        raise SecretsError("not an encoded change of a PIN")
    return decode_pin(data[1:end]), data[end:]


@dataclass(frozen=True, repr=False)
class Secrets:
    """PIN and OTP of one authorisation; the PIN is kept in NFC. Raises SecretsError for impossible forms."""

    pin: str
    otp: str

    def __post_init__(self) -> None:
        """Check both; see `normal_pin`; the OTP is six ASCII digits."""
        object.__setattr__(self, "pin", normal_pin(self.pin))
        if not _OTP.fullmatch(self.otp):
            raise SecretsError("an OTP has six digits")

    def __repr__(self) -> str:
        return "Secrets(redacted)"

    def encode(self) -> bytes:
        """265 bytes: version 1, six digits, the encoded PIN."""
        return _VERSION + self.otp.encode() + encode_pin(self.pin)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The inverse of `encode`, which accepts only its output. Raises SecretsError."""
        end = 1 + _OTP_DIGITS
        if data[:1] != _VERSION or not data[1:end].isdigit():
            raise SecretsError("not encoded secrets")
        return cls(pin=decode_pin(data[end:]), otp=data[1:end].decode())
