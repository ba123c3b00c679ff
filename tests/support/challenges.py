"""Activation challenges made by hand, with otp_dispatch's own key or another."""

from datetime import timedelta

from libs.bus.signing import PRODUCER_KEY
from libs.contracts.signing import OTP_LIFETIME, Channel, SealedChallenge
from libs.crypto.challenge import make_challenge, seal_challenge
from libs.crypto.public_keys import public_key_id
from libs.crypto.requests import read_signing_key
from libs.crypto.sealing import PURPOSE_CHALLENGE, sealing_info
from libs.runtime.clock import utc_now
from tests.support.chain import Client, Request


def own_challenge(
    client: Client,
    request: Request,
    dispatched,
    *,
    otp: str,
    age: timedelta,
    producer=None,
    channel: Channel = "e-mail",
) -> SealedChallenge:
    """A challenge as otp_dispatch makes it, with its key, so long ago; `producer` is another hand's key."""
    secret = client.stack.layout.secrets("otp_dispatch") / PRODUCER_KEY
    signer = producer or read_signing_key(secret.read_bytes())
    delivered = utc_now() - age
    challenge = make_challenge(
        request_id=str(request.id),
        user=request.officer.user,
        credential_id=str(request.officer.credential_id),
        root=request.pressed.root,
        reference_code=dispatched.reference_code,
        channel=channel,
        delivered_at=delivered,
        expires_at=delivered + OTP_LIFETIME[channel],
        otp=otp,
    )
    public = client.sealing_public_key(dispatched.sealing_key_id)
    info = sealing_info(PURPOSE_CHALLENGE, str(request.id), request.pressed.root, dispatched.sealing_key_id)
    sealed = seal_challenge(
        challenge,
        producer_key=signer,
        producer_key_id=public_key_id(signer.public_key()),
        sealing_key=public,
        info=info,
    )
    return SealedChallenge(sealing_key_id=dispatched.sealing_key_id, sealed=sealed)
