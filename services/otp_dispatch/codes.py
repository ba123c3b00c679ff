"""Makes a request's code, and, once it was delivered, the challenge that binds it."""

import secrets
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from libs.contracts.signing import OTP_LIFETIME, Channel, OtpDispatched
from libs.crypto.challenge import make_challenge, new_otp, new_reference_code, seal_challenge
from libs.crypto.public_keys import public_key_id
from libs.crypto.sealing import PURPOSE_CHALLENGE, sealing_info
from services.otp_dispatch.channels import Destination, Phone, sealed_to
from services.otp_dispatch.code_box import CodeBox, CodeLost
from services.otp_dispatch.dispatch import Ready
from services.otp_dispatch.store import Reservation

FIRST = 1
"""The number of a request's first code."""

_MESSAGE_ID_BYTES = 16


class Codes:
    """Holds the two keys of otp_dispatch: the one that codes lie under, and the one that signs challenges."""

    def __init__(
        self,
        *,
        box: CodeBox,
        challenge_key: Ed25519PrivateKey,
        domain: str,
        lifetimes: Mapping[Channel, timedelta] = OTP_LIFETIME,
    ) -> None:
        self._box = box
        self._key = challenge_key
        self._key_id = public_key_id(challenge_key.public_key())
        self._domain = domain
        self.lifetimes = lifetimes

    def make(
        self, ready: Ready, sealing_key: X25519PublicKey, number: int, *, taken: Collection[str] = ()
    ) -> Reservation:
        """A fresh code, reference code and Message-ID; nothing is fixed before it is stored.

        The reference is none of `taken`, which are few of the 3-character ones that there are.
        """
        while (reference_code := new_reference_code()) in taken:
            pass
        return Reservation(
            request_id=ready.event.request_id,
            number=number,
            resend=ready.resend,
            channel=ready.options[0].channel,
            reference_code=reference_code,
            message_id=f"<{secrets.token_hex(_MESSAGE_ID_BYTES)}@{self._domain}>",
            sealing_key=sealing_key.public_bytes_raw(),
            closed_code=self._box.close(new_otp(), _place(ready, number)),
        )

    def open(self, ready: Ready, reservation: Reservation) -> str:
        """The code that was reserved for this very manifest. Raises CodeLost, also when it was given up."""
        if reservation.closed_code is None:
            raise CodeLost
        return self._box.open(reservation.closed_code, _place(ready, reservation.number))

    def dispatched(
        self, ready: Ready, to: Destination, reservation: Reservation, otp: str, *, delivered_at: datetime
    ) -> OtpDispatched:
        """The event of a delivered code, its challenge signed and sealed. About 0.3 ms, and 2 µs a document.

        To a phone it is the delivery itself: it carries the message, sealed to the device.
        """
        event = ready.event
        sealing_key = X25519PublicKey.from_public_bytes(reservation.sealing_key)
        sealing_key_id = public_key_id(sealing_key)
        request_id, reference_code = str(event.request_id), reservation.reference_code
        expires_at = delivered_at + self.lifetimes[to.channel]
        message = None
        if isinstance(to, Phone):
            text = ready.message(otp=otp, reference=reference_code, expires_at=expires_at)
            message = sealed_to(to.device, text, request_id=event.request_id, reference_code=reference_code)
        challenge = make_challenge(
            request_id=request_id,
            user=ready.header.user,
            credential_id=str(event.credential_id),
            root=ready.root,
            reference_code=reference_code,
            channel=to.channel,
            delivered_at=delivered_at,
            expires_at=expires_at,
            otp=otp,
        )
        sealed = seal_challenge(
            challenge,
            producer_key=self._key,
            producer_key_id=self._key_id,
            sealing_key=sealing_key,
            info=sealing_info(PURPOSE_CHALLENGE, request_id, ready.root, sealing_key_id),
        )
        return OtpDispatched(
            request_id=event.request_id,
            user=ready.header.user,
            number=reservation.number,
            channel=to.channel,
            destination=to.hint,
            reference_code=reference_code,
            delivered_at=delivered_at,
            expires_at=expires_at,
            sealing_key_id=sealing_key_id,
            challenge=sealed,
            device_id=to.device.device_id if isinstance(to, Phone) else None,
            message=message,
            new_address_from=ready.new_from if to.channel == "e-mail" else None,
        )


def _place(ready: Ready, number: int) -> bytes:
    return ready.event.request_id.bytes + number.to_bytes(2, "big") + ready.root
