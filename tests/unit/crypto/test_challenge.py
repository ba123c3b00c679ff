"""An activation challenge binds one OTP to one request, and only its producer can make one."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from libs.crypto.challenge import (
    REFERENCE_ALPHABET,
    Challenge,
    ChallengeError,
    make_challenge,
    new_otp,
    new_reference_code,
    open_challenge,
    otp_matches,
    seal_challenge,
)
from libs.crypto.jcs import canonical
from libs.crypto.sealing import PURPOSE_CHALLENGE, open_sealed, seal, sealing_info

PRODUCER = Ed25519PrivateKey.generate()
SIGNER = X25519PrivateKey.generate()
KEYS = {"otp-1": PRODUCER.public_key()}
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=timezone(timedelta(hours=8)))
INFO = sealing_info(PURPOSE_CHALLENGE, "request-1", b"\x07" * 32, "key-1")


def challenge(otp: str = "042917") -> Challenge:
    return make_challenge(
        request_id="request-1",
        user="800101145566",
        credential_id="credential-1",
        root=b"\x07" * 32,
        reference_code="ACD",
        channel="email",
        delivered_at=NOW,
        expires_at=NOW + timedelta(minutes=10),
        otp=otp,
    )


def sealed(value: Challenge, *, key: Ed25519PrivateKey = PRODUCER, key_id: str = "otp-1", info: bytes = INFO) -> bytes:
    return seal_challenge(value, producer_key=key, producer_key_id=key_id, sealing_key=SIGNER.public_key(), info=info)


def test_what_was_sealed_is_what_is_opened():
    made = challenge()
    opened = open_challenge(sealed(made), SIGNER, INFO, KEYS.get)
    assert opened == made
    assert opened.expires_at.tzinfo is UTC


def test_only_the_right_otp_matches():
    made = challenge("042917")
    assert otp_matches(made, "042917")
    assert not any(otp_matches(made, otp) for otp in ("042918", "", "42917", "0429170"))


def test_every_challenge_has_a_mac_key_of_its_own():
    assert challenge().mac_key != challenge().mac_key


def test_nothing_shows_the_mac():
    made = challenge()
    assert repr(made.mac_key) not in repr(made)
    assert "mac" not in repr(made)


@pytest.mark.parametrize(
    ("blob", "reason"),
    [
        (lambda: sealed(challenge(), key=Ed25519PrivateKey.generate()), "signature invalid"),
        (lambda: sealed(challenge(), key_id="otp-2"), "unknown producer key"),
        (lambda: sealed(challenge(), info=INFO + b"x"), "cannot be opened"),
        (lambda: b"", "cannot be opened"),
        (lambda: seal(b"[]", SIGNER.public_key(), INFO), "malformed"),
        (lambda: seal(b"{", SIGNER.public_key(), INFO), "malformed"),
        (lambda: seal(canonical({"key_id": "otp-1", "payload": "{}"}), SIGNER.public_key(), INFO), "malformed"),
        (lambda: sealed(replace(challenge(), channel=7)), "malformed"),  # type: ignore[arg-type] # what a forger may send
    ],
)
def test_anything_else_is_refused(blob, reason):
    with pytest.raises(ChallengeError, match=reason):
        open_challenge(blob(), SIGNER, INFO, KEYS.get)


def test_a_signer_cannot_reseal_a_challenge_for_another_request():
    """The signature covers the info, so an opened envelope is worth nothing under another one."""
    envelope = open_sealed(sealed(challenge()), SIGNER, INFO)
    other = sealing_info(PURPOSE_CHALLENGE, "request-2", b"\x07" * 32, "key-1")
    with pytest.raises(ChallengeError, match="signature invalid"):
        open_challenge(seal(envelope, SIGNER.public_key(), other), SIGNER, other, KEYS.get)


@given(
    st.recursive(
        st.none() | st.integers(0, 9) | st.text(st.characters(exclude_categories=["Cs"])),
        lambda x: st.dictionaries(st.sampled_from(["key_id", "payload", "signature"]), x),
    )
)
def test_no_opened_content_raises_anything_else(value):
    with pytest.raises(ChallengeError):
        open_challenge(seal(canonical(value), SIGNER.public_key(), INFO), SIGNER, INFO, KEYS.get)


def test_codes_use_all_of_their_space_and_no_ambiguous_letter():
    assert new_otp(lambda _: 7) == "000007"
    assert new_otp(lambda bound: bound - 1) == "999999"
    assert new_reference_code(lambda bound: bound - 1) == "999"
    assert not set(REFERENCE_ALPHABET) & set("B8I1O0S5Z2l")
    assert len({new_otp() for _ in range(50)}) > 40


def test_a_million_codes_are_uniform():
    """OTP-1: chi-square over the first and over the last three digits; a fair source fails this once in 10^9 runs."""
    codes = Counter(new_otp() for _ in range(10**6))
    for place in (slice(0, 3), slice(3, 6)):
        seen = Counter[str]()
        for code, times in codes.items():
            seen[code[place]] += times
        expected = 10**6 / 1000
        square = sum((seen[f"{number:03d}"] - expected) ** 2 / expected for number in range(1000))
        # 999 degrees of freedom: mean 999, deviation 45, and six of them either way: too even is no chance either.
        assert 730 < square < 1300
