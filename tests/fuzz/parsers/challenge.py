"""Activation challenges: as anybody could send them (0), sealed by anybody (1), signed by otp_dispatch (2)."""

import base64
from collections.abc import Iterable
from datetime import UTC, timedelta
from random import Random

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from libs.crypto.challenge import ChallengeError, make_challenge, open_challenge, otp_matches, seal_challenge
from libs.crypto.jcs import CanonicalJsonError, StrictJsonError, canonical, loads_strict
from libs.crypto.sealing import PURPOSE_CHALLENGE, open_sealed, seal, sealing_info
from tests.fuzz.mutating import after, mutate_json
from tests.fuzz.parsers.authority import fixed_signer
from tests.fuzz.target import Target
from tests.support.pki import EPOCH

_PRODUCER = fixed_signer(2)
_SIGNER = X25519PrivateKey.from_private_bytes(b"\x03" * 32)
_KEYS = {"otp-1": _PRODUCER.public_key()}
_INFO = sealing_info(PURPOSE_CHALLENGE, "request-1", bytes(32), "key-1")
_DOMAIN = b"gpki.activation-challenge.v1" + len(_INFO).to_bytes(2, "big") + _INFO


def accepts(data: bytes) -> bool:
    """Whether it opens; what nobody signed does not, and what does can be compared with any time and code."""
    way, content = data[:1], data[1:]
    if way == b"\2":
        try:
            envelope = _envelope(content)
        except (UnicodeDecodeError, CanonicalJsonError):
            return False
        blob = seal(envelope, _SIGNER.public_key(), _INFO)
    else:
        blob = seal(content, _SIGNER.public_key(), _INFO) if way == b"\1" else content
    try:
        challenge = open_challenge(blob, _SIGNER, _INFO, _KEYS.get)
    except ChallengeError:
        return False
    if way == b"\1":
        assert loads_strict(content)["payload"].encode() == _payload()
    assert challenge.delivered_at.tzinfo is challenge.expires_at.tzinfo is UTC
    assert len(challenge.root) == 32
    assert not otp_matches(challenge, "000000")
    return True


def _envelope(payload: bytes) -> bytes:
    signature = base64.b64encode(_PRODUCER.sign(_DOMAIN + payload)).decode()
    return canonical({"key_id": "otp-1", "payload": payload.decode(), "signature": signature})


def _payload() -> bytes:
    """The one that the corpus has."""
    return next(
        payload
        for file in TARGET.corpus.glob("seed-*")
        if (payload := file.read_bytes()[1:]) and file.read_bytes()[:1] == b"\2"
    )


def seeds() -> Iterable[bytes]:
    """One challenge, by each way."""
    challenge = make_challenge(
        request_id="request-1",
        user="800101145566",
        credential_id="credential-1",
        root=bytes(32),
        reference_code="ACD",
        channel="e-mail",
        delivered_at=EPOCH,
        expires_at=EPOCH + timedelta(minutes=10),
        otp="042917",
    )
    blob = seal_challenge(
        challenge, producer_key=_PRODUCER, producer_key_id="otp-1", sealing_key=_SIGNER.public_key(), info=_INFO
    )
    envelope = open_sealed(blob, _SIGNER, _INFO)
    yield b"\0" + blob
    yield b"\1" + envelope
    yield b"\2" + loads_strict(envelope)["payload"].encode()


def _mutate(data: bytes, random: Random) -> bytes:
    """Mostly in canonical form, without which all of it is refused for that."""
    changed = mutate_json(data, random)
    try:
        return canonical(loads_strict(changed)) if random.random() < 0.8 else changed
    except (StrictJsonError, CanonicalJsonError):
        return changed


TARGET = Target("challenge", accepts, seeds, after(1, _mutate))
