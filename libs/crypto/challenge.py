"""The activation challenge (design 4.2): one OTP bound to exactly one request, user, credential and root."""

import base64
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from libs.crypto.errors import CryptoError
from libs.crypto.jcs import canonical, loads_strict
from libs.crypto.sealing import SealError, open_sealed, seal

REFERENCE_ALPHABET = "ACDEFGHJKLMNPQRTUVWXY34679"
"""Letters and digits that are not taken for one another when read from a phone: no B8, I1, O0, S5, Z2."""

_SIGNATURE_DOMAIN = b"gpki.activation-challenge.v1"
_MAC_KEY_BYTES = 32
_ROOT_BYTES = 32
_OTP_SPACE = 10**6
_REFERENCE_LENGTH = 3


class ChallengeError(CryptoError):
    """A challenge that cannot be opened, is malformed, or is not signed by a known producer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """What otp_dispatch vouches for; times are UTC, `expires_at` counts from delivery."""

    request_id: str
    user: str
    credential_id: str
    root: bytes
    reference_code: str
    channel: str
    delivered_at: datetime
    expires_at: datetime
    mac_key: bytes = field(repr=False)
    otp_mac: bytes = field(repr=False)


def new_otp(randbelow: Callable[[int], int] = secrets.randbelow) -> str:
    """Six digits, uniform."""
    return f"{randbelow(_OTP_SPACE):06d}"


def new_reference_code(randbelow: Callable[[int], int] = secrets.randbelow) -> str:
    """Three characters that tell one message from another; not a secret."""
    return "".join(REFERENCE_ALPHABET[randbelow(len(REFERENCE_ALPHABET))] for _ in range(_REFERENCE_LENGTH))


def make_challenge(
    *,
    request_id: str,
    user: str,
    credential_id: str,
    root: bytes,
    reference_code: str,
    channel: str,
    delivered_at: datetime,
    expires_at: datetime,
    otp: str,
) -> Challenge:
    """Bind an OTP: its HMAC-SHA256 under a random key of its own. Times must be aware."""
    mac_key = secrets.token_bytes(_MAC_KEY_BYTES)
    return Challenge(
        request_id=request_id,
        user=user,
        credential_id=credential_id,
        root=root,
        reference_code=reference_code,
        channel=channel,
        delivered_at=delivered_at.astimezone(UTC),
        expires_at=expires_at.astimezone(UTC),
        mac_key=mac_key,
        otp_mac=hmac.digest(mac_key, otp.encode(), "sha256"),
    )


def otp_matches(challenge: Challenge, otp: str) -> bool:
    """Whether this is the challenge's OTP; takes the same time for every wrong one."""
    return hmac.compare_digest(challenge.otp_mac, hmac.digest(challenge.mac_key, otp.encode(), "sha256"))


def seal_challenge(
    challenge: Challenge,
    *,
    producer_key: Ed25519PrivateKey,
    producer_key_id: str,
    sealing_key: X25519PublicKey,
    info: bytes,
) -> bytes:
    """Sign with the producer's key, then seal to the signer.

    Signed are "gpki.activation-challenge.v1", the length-prefixed info, and the canonical payload: a challenge cannot
    be sealed anew for another request or key.
    """
    payload = _encode(challenge)
    envelope = {
        "key_id": producer_key_id,
        "payload": payload.decode(),
        "signature": _b64(producer_key.sign(_signature_input(info, payload))),
    }
    return seal(canonical(envelope), sealing_key, info)


def open_challenge(
    blob: bytes,
    sealing_private_key: X25519PrivateKey,
    info: bytes,
    resolve_producer_key: Callable[[str], Ed25519PublicKey | None],
) -> Challenge:
    """Open, then check signature and form. Raises ChallengeError.

    `resolve_producer_key` gives the key of otp_dispatch by its id, or None for a key that may not sign challenges.
    Whether the fields are those of the request at hand, and whether it is in time, is the caller's comparison.
    """
    reason = "malformed"
    try:
        envelope = loads_strict(open_sealed(blob, sealing_private_key, info))
        key = resolve_producer_key(_text(envelope, "key_id"))
        payload = _text(envelope, "payload").encode()
        if key is None:
            reason = "unknown producer key"
        else:
            key.verify(_unb64(_text(envelope, "signature")), _signature_input(info, payload))
            return _decode(payload)
    except SealError:
        reason = "cannot be opened"
    except InvalidSignature:
        reason = "signature invalid"
    except ValueError:  # StrictJsonError, ChallengeError, base64, ISO 8601
        pass
    raise ChallengeError(reason)


def _signature_input(info: bytes, payload: bytes) -> bytes:
    return _SIGNATURE_DOMAIN + len(info).to_bytes(2, "big") + info + payload


def _encode(challenge: Challenge) -> bytes:
    return canonical({item.name: _to_text(getattr(challenge, item.name)) for item in fields(Challenge)})


def _to_text(value: str | bytes | datetime) -> str:
    if isinstance(value, bytes):
        return _b64(value)
    return value.isoformat(timespec="microseconds") if isinstance(value, datetime) else value


def _decode(payload: bytes) -> Challenge:
    names = {item.name: item.type for item in fields(Challenge)}
    value = loads_strict(payload)
    if not isinstance(value, dict) or value.keys() != names.keys():
        raise ChallengeError("fields")
    read: dict[Any, Callable[[str], Any]] = {str: str, bytes: _unb64, datetime: datetime.fromisoformat}
    challenge = Challenge(**{name: read[kind](_text(value, name)) for name, kind in names.items()})
    # A time without a zone could not be compared with the broker's.
    if {challenge.delivered_at.utcoffset(), challenge.expires_at.utcoffset()} != {timedelta(0)}:
        raise ChallengeError("not UTC")
    if len(challenge.root) != _ROOT_BYTES:
        raise ChallengeError("root")
    # One encoding per challenge: whatever differs from it was not written by `seal_challenge`.
    if _encode(challenge) != payload:
        raise ChallengeError("not canonical")
    return challenge


def _text(value: Any, name: str) -> str:
    text = value.get(name) if isinstance(value, dict) else None
    if not isinstance(text, str):
        raise ChallengeError("fields")
    return text


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unb64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
