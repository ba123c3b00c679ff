"""Open the activation challenges of an authorisation: sealed to us, signed by otp_dispatch."""

import structlog

from libs.contracts.signing import AuthorisationSubmitted
from libs.crypto.challenge import Challenge, ChallengeError, open_challenge
from libs.crypto.sealing import PURPOSE_CHALLENGE, sealing_info
from services.hsm_signer.challenge_producers import ChallengeProducers
from services.hsm_signer.sealing_keys import SealingKeys

log = structlog.get_logger()


async def open_challenges(
    event: AuthorisationSubmitted, root: bytes, *, sealing_keys: SealingKeys, producers: ChallengeProducers
) -> list[Challenge]:
    """Those that open and are genuine; whether they are about this request is judged after. Raises HsmUnavailable."""
    opened: list[Challenge] = []
    keys = await producers.keys()
    for sealed in event.challenges:
        private = await sealing_keys.private_key(sealed.sealing_key_id)
        if private is None:
            continue
        info = sealing_info(PURPOSE_CHALLENGE, str(event.request_id), root, sealed.sealing_key_id)
        try:
            opened.append(open_challenge(sealed.sealed, private, info, keys.get))
        except ChallengeError as error:
            log.warning("challenge refused", request_id=str(event.request_id), why=str(error))
    return opened
