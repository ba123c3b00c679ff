"""PIN and OTP as an officer seals them, beside a challenge of otp_dispatch's own key."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from libs.contracts.signing import OTP_LIFETIME, AuthorisationSubmitted, MediumResolved, SealedChallenge
from libs.crypto.challenge import make_challenge, seal_challenge
from libs.crypto.sealing import PURPOSE_AUTHORISATION, PURPOSE_CHALLENGE, seal, sealing_info
from libs.crypto.secrets import Secrets
from libs.runtime.clock import utc_now
from tests.support.pki import Identity
from tests.support.requests import key_id

OTP = "482913"
"""The right one of every challenge made here."""


def submission_of(
    request: MediumResolved,
    *,
    pin: str,
    otp: str,
    producer: Identity[Ed25519PrivateKey],
    key: tuple[str, X25519PublicKey],
) -> AuthorisationSubmitted:
    """What the gateway hands on; `key` is what is sealed to, by its id."""
    sealing_key_id, public = key
    root, now = request.signed.manifest.commitment().root, utc_now()
    challenge = make_challenge(
        request_id=str(request.request_id),
        user=request.signed.manifest.header.user,
        credential_id=str(request.credential_id),
        root=root,
        reference_code="AB12",
        channel="gpki-mobile",
        delivered_at=now,
        expires_at=now + OTP_LIFETIME["gpki-mobile"],
        otp=OTP,
    )
    sealed_challenge = seal_challenge(
        challenge,
        producer_key=producer.key,
        producer_key_id=key_id(producer),
        sealing_key=public,
        info=sealing_info(PURPOSE_CHALLENGE, str(request.request_id), root, sealing_key_id),
    )
    info = sealing_info(PURPOSE_AUTHORISATION, str(request.request_id), root, sealing_key_id)
    return AuthorisationSubmitted(
        request_id=request.request_id,
        signed=request.signed,
        challenges=(SealedChallenge(sealing_key_id=sealing_key_id, sealed=sealed_challenge),),
        sealing_key_id=sealing_key_id,
        sealed=seal(Secrets(pin, otp).encode(), public, info),
    )
