"""GPKI Mobile without a screen: a device's two keys, and the messages that only it can read."""

import asyncio
import re
import ssl
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from types import TracebackType
from typing import Any, Final, Literal, Self
from uuid import UUID

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from . import transport
from .answers import parsed, read
from .caller import assertion, key_id_of
from .client import base64_text
from .clock import Clock, utc_now
from .errors import AnswerError, SealingError
from .manifest import canonical
from .sealing import SealingKey, open_sealed, sealing_info

LOOK_EVERY: Final = 0.5
"""Seconds between two looks for a message that is awaited."""

_OTP: Final = re.compile(r"^([0-9]{6})\b", re.MULTILINE | re.ASCII)
_KEY_BYTES: Final = 32
_PIN_CHANGE_DOMAIN: Final = b"gpki.pin-change-signature.v1"
_NOT_ME: Final = b"gpki.not-me.v1"


@dataclass(frozen=True)
class SealedMessage:
    """A message as the API gives it."""

    request_id: UUID
    number: int
    reference_code: str
    delivered_at: datetime
    expires_at: datetime
    message: bytes


@dataclass(frozen=True)
class OtpMessage:
    """What the officer reads. The OTP goes with `reference_code`, which the signing screen shows as well."""

    request_id: UUID
    number: int
    reference_code: str
    expires_at: datetime
    subject: str
    body: str = field(repr=False)
    otp: str = field(repr=False)


@dataclass(frozen=True)
class SealedNotice:
    """What a device was told of a change, as the API gives it."""

    notice: UUID
    told_at: datetime
    message: bytes


class Device:
    """A device by its two private keys, of 32 bytes each: X25519 to read, Ed25519 to ask."""

    def __init__(self, sealing_key: X25519PrivateKey, signing_key: Ed25519PrivateKey) -> None:
        self._sealing = sealing_key
        self._signing = signing_key
        self.device_id = key_id_of(signing_key.public_key())
        self.sealing_key = sealing_key.public_key().public_bytes_raw().hex()
        self.signing_key = signing_key.public_key().public_bytes_raw().hex()

    @classmethod
    def new(cls) -> Self:
        """A device that nobody knows yet: its registration names `sealing_key` and `signing_key`, raw and in hex."""
        return cls(X25519PrivateKey.generate(), Ed25519PrivateKey.generate())

    @classmethod
    def from_private_bytes(cls, data: bytes) -> Self:
        """The inverse of `private_bytes`. Raises ValueError."""
        return cls(
            X25519PrivateKey.from_private_bytes(data[:_KEY_BYTES]),
            Ed25519PrivateKey.from_private_bytes(data[_KEY_BYTES:]),
        )

    def private_bytes(self) -> bytes:
        """Both private keys, 64 bytes: for a file that only the officer can read."""
        return self._sealing.private_bytes_raw() + self._signing.private_bytes_raw()

    def __repr__(self) -> str:
        return f"Device({self.device_id})"

    def assertion(self, user: str, *, at: datetime) -> str:
        """A JWT for one call on behalf of its officer."""
        return assertion(self._signing, "EdDSA", key_id=self.device_id, issuer=self.device_id, user=user, at=at)

    def pin_change(
        self, key: SealingKey, *, old: str, new: str, change: UUID, user: str, credential_id: UUID
    ) -> dict[str, Any]:
        """The value of `gpki.enrolment.pin-change-submitted.v1`: give every try a new `change`. Raises SecretsError.

        The signer refuses a new PIN that is easy to guess; `gpki.enrolment.pin-answered.v1` says what became of it.
        """
        sealed = key.seal_pin_change(old, new, change=change, user=user, credential_id=credential_id)
        wish = {
            "change": str(change),
            "user": user,
            "credential_id": str(credential_id),
            "device_id": self.device_id,
            "sealing_key_id": key.key_id,
            "sealed_sha256": sha256(sealed).hexdigest(),
        }
        signature = self._signing.sign(_PIN_CHANGE_DOMAIN + sha256(canonical(wish)).digest())
        return {"change": wish, "sealed": base64_text(sealed), "signature": base64_text(signature)}

    def not_me(self, message: SealedMessage, user: str, *, at: datetime) -> dict[str, str]:
        """This device's signed word that its officer did not ask for the code of this message, for the API."""
        statement = {
            "request_id": str(message.request_id),
            "user": user,
            "device_id": self.device_id,
            "reference_code": message.reference_code,
            "said_at": f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        }
        signature = self._signing.sign(_NOT_ME + sha256(canonical(statement)).digest())
        said = {name: statement[name] for name in ("request_id", "reference_code", "said_at")}
        return {**said, "signature": base64_text(signature)}

    def open(self, sealed: SealedMessage) -> OtpMessage:
        """Read a message. Raises SealingError when it is not for this device and request; AnswerError for its form."""
        info = sealing_info("otp-message", str(sealed.request_id), self.device_id)
        told = _told(open_sealed(sealed.message, self._sealing, info), ("subject", "body", "reference_code"))
        otp = _OTP.search(told["body"])
        if otp is None:
            raise AnswerError("a message without an OTP")
        if told["reference_code"] != sealed.reference_code:
            raise SealingError("a message under another reference code")
        return OtpMessage(
            sealed.request_id, sealed.number, sealed.reference_code, sealed.expires_at, told["subject"], told["body"],
            otp[1],
        )  # fmt: skip

    def open_notice(self, sealed: SealedNotice) -> tuple[str, str]:
        """Subject and body of a notice. Raises SealingError when it is not for this device; AnswerError."""
        info = sealing_info("notice", str(sealed.notice), self.device_id)
        told = _told(open_sealed(sealed.message, self._sealing, info), ("subject", "body"))
        return told["subject"], told["body"]


class DeviceClient:
    """What a device asks the GPKI API for. Enter it once. Errors as of `GpkiClient`."""

    def __init__(
        self,
        url: str,
        device: Device,
        user: str,
        *,
        tls: ssl.SSLContext,
        language: Literal["ms", "en"] = "ms",
        clock: Clock = utc_now,
        http_transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`tls` (`tls_context`) says whose certificate the API has to show; a device has none of its own."""
        self._transport = transport.Transport(
            url, lambda user: device.assertion(user, at=clock()), tls=tls, language=language, transport=http_transport
        )
        self._device = device
        self._clock = clock
        self._user = user

    async def __aenter__(self) -> Self:
        await self._transport.http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.http.__aexit__(kind, error, trace)

    async def messages(self) -> tuple[SealedMessage, ...]:
        """The messages that wait for this device, for `Device.open`."""
        path = f"/v1/devices/{self._device.device_id}/messages"
        return read(_Messages, await self._transport.call("GET", path, self._user)).messages

    async def notices(self) -> tuple[SealedNotice, ...]:
        """What this device was told of changes, for `Device.open_notice`; also after it was replaced."""
        path = f"/v1/devices/{self._device.device_id}/notices"
        return read(_Notices, await self._transport.call("GET", path, self._user)).notices

    async def not_me(self, message: SealedMessage) -> None:
        """Say that the officer did not ask for this code: its request ends, and no further code comes for an hour."""
        body = self._device.not_me(message, self._user, at=self._clock())
        await self._transport.call("POST", f"/v1/devices/{self._device.device_id}/not-me", self._user, body=body)

    async def message(self, reference_code: str, *, seconds: float) -> OtpMessage:
        """Open the message that goes with the reference code on the screen. Raises also SealingError, TimeoutError."""
        deadline = time.monotonic() + seconds
        while True:
            for one in await self.messages():
                if one.reference_code == reference_code:
                    return self._device.open(one)
            if time.monotonic() > deadline:
                raise TimeoutError(f"no message with reference {reference_code} within {seconds:.0f} s")
            await asyncio.sleep(LOOK_EVERY)


@dataclass(frozen=True)
class _Messages:
    messages: tuple[SealedMessage, ...]


@dataclass(frozen=True)
class _Notices:
    notices: tuple[SealedNotice, ...]


def _told(plaintext: bytes, names: tuple[str, ...]) -> dict[str, str]:
    told = parsed(plaintext, "a message")
    if not isinstance(told, dict) or not all(isinstance(told.get(name), str) for name in names):
        raise AnswerError("a message is not of the agreed form")
    return told
