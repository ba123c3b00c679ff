"""GPKI Mobile in a test's hand: its two keys, what a registrar confirms of it, and what it can read."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from libs.contracts.enrolment import DeviceRegistration, DeviceRegistrationSubmitted, device_signature_input
from libs.contracts.not_me import NotMe, NotMeStatement, not_me_signature_input
from libs.contracts.notice import OfficerTold
from libs.contracts.resending import ResendRequested
from libs.contracts.signing import MediumResolved, OtpDispatched
from libs.contracts.state import Device
from libs.crypto.public_keys import public_key_id
from libs.crypto.sealing import open_sealed, sealing_info
from libs.runtime.clock import utc_now
from tests.support.applications import second


@dataclass(frozen=True)
class Phone:
    """A device with keys of its own."""

    sealing: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate)
    signing: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @property
    def device_id(self) -> str:
        return public_key_id(self.signing.public_key())

    @property
    def state(self) -> Device:
        """The device as `gpki.user.v1` says it."""
        return Device(
            device_id=self.device_id,
            sealing_key=self.sealing.public_key().public_bytes_raw(),
            signing_key=self.signing.public_key().public_bytes_raw(),
            registered_at=utc_now(),
        )

    def registration(self, user: str, **values: Any) -> DeviceRegistration:
        """What the registrar is to confirm."""
        keys = {
            "sealing_key": self.sealing.public_key().public_bytes_raw().hex(),
            "signing_key": self.signing.public_key().public_bytes_raw().hex(),
        }
        return DeviceRegistration(**{"registration": uuid4(), "user": user, **keys, **values})

    def read(self, request_id: UUID, message: bytes) -> dict[str, str]:
        """What the officer reads. Raises SealError for what is not for this device, or of another request."""
        info = sealing_info("otp-message", str(request_id), self.device_id)
        found: dict[str, str] = json.loads(open_sealed(message, self.sealing, info))
        return found

    def shown(self, event: OfficerTold) -> dict[str, str]:
        """A notice, as the officer reads it. Raises SealError for what is not for this device."""
        info = sealing_info("notice", str(event.notice), self.device_id)
        found: dict[str, str] = json.loads(open_sealed(event.message, self.sealing, info))
        return found

    def otp(self, event: OtpDispatched) -> str:
        """The code in an event's message."""
        assert event.message is not None
        return self.read(event.request_id, event.message)["body"][:6]

    def not_me(self, request_id: UUID, user: str, **values: Any) -> NotMe:
        """What the device says of a code that its officer did not ask for; `values` are the statement's."""
        content = {"reference_code": "K7Q", "device_id": self.device_id, "said_at": utc_now().replace(microsecond=0)}
        statement = NotMeStatement(**{"request_id": request_id, "user": user, **content, **values})
        return NotMe(statement=statement, signature=self.signing.sign(not_me_signature_input(statement)))

    def token(self, user: str, **claims: Any) -> str:
        """A JWT for one call to the gateway's inbox; `key` signs it instead of the device's own."""
        now = int(utc_now().timestamp())
        key, kid = claims.pop("key", self.signing), claims.pop("kid", self.device_id)
        content = {
            "iss": self.device_id,
            "sub": user,
            "aud": "gpki-gateway",
            "iat": now,
            "exp": now + 50,
            "jti": uuid4().hex,
        }
        made = {name: value for name, value in (content | claims).items() if value is not None}
        return jwt.encode(made, key, algorithm="EdDSA", headers={"kid": kid})


def registration_submitted(
    registration: DeviceRegistration, key_id: str, sign: Callable[[bytes], bytes]
) -> DeviceRegistrationSubmitted:
    """The registration as this registrar confirms it, and the process's second one validates it."""
    content = device_signature_input(registration)
    return DeviceRegistrationSubmitted(
        registration=registration, registrar_key=key_id, signature=sign(content), second=second(content)
    )


def resend_of(event: MediumResolved, **values: Any) -> ResendRequested:
    """A new ask of the request's own caller and user."""
    header = event.signed.manifest.header
    return ResendRequested(
        **{
            "request_id": event.request_id,
            "resend": uuid4(),
            "caller": header.caller,
            "user": header.user,
            "channel": None,
            "signed": event.signed,
            "requested_at": event.requested_at,
            "credential_id": event.credential_id,
            "channels": event.channels,
            **values,
        }
    )
