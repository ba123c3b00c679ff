"""Sealed messages are RFC 9180, open only where they belong, and show nothing of the PIN."""

import contextlib
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from libs.crypto.public_keys import public_key_id
from libs.crypto.sealing import PURPOSE_AUTHORISATION, SealError, open_sealed, seal, sealing_info
from libs.crypto.secrets import Secrets, SecretsError, decode_pin, decode_pin_change, encode_pin, normal_pin

VECTORS = Path(__file__).parents[2] / "vectors"
KEY = X25519PrivateKey.generate()
INFO = sealing_info(PURPOSE_AUTHORISATION, "request", b"\x01" * 32, public_key_id(KEY.public_key()))


def test_opener_agrees_with_the_published_vector():
    """The vector's own key schedule encrypts, without aad as we seal; our opener must arrive at the same key."""
    vector = json.loads((VECTORS / "hpke_rfc9180.json").read_text())
    raw = {name: bytes.fromhex(value) for name, value in vector.items() if name != "source"}
    aead = AESGCM(raw["key"])
    assert aead.encrypt(raw["base_nonce"], raw["plaintext"], raw["aad"]) == raw["ciphertext"]
    blob = raw["enc"] + aead.encrypt(raw["base_nonce"], raw["plaintext"], b"")
    private_key = X25519PrivateKey.from_private_bytes(raw["skRm"])
    assert private_key.public_key().public_bytes_raw() == raw["pkRm"]
    assert open_sealed(blob, private_key, raw["info"]) == raw["plaintext"]


def test_committed_vectors_for_integrators_open():
    vectors = json.loads((VECTORS / "sealing.json").read_text())
    private_key = X25519PrivateKey.from_private_bytes(bytes.fromhex(vectors["private_key"]))
    assert public_key_id(private_key.public_key()) == vectors["sealing_key_id"]
    for case in vectors["cases"]:
        root = bytes.fromhex(case["root"])
        info = sealing_info(case["purpose"], case["request_id"], root, vectors["sealing_key_id"])
        assert info.hex() == case["info"]
        plaintext = open_sealed(bytes.fromhex(case["sealed"]), private_key, info)
        assert plaintext.hex() == case["plaintext"]
        assert Secrets.decode(plaintext) == Secrets(pin=case["pin"], otp=case["otp"])


def test_only_the_same_key_and_info_open():
    """I-10."""
    blob = seal(b"secret", KEY.public_key(), INFO)
    assert open_sealed(blob, KEY, INFO) == b"secret"
    for key, info in [(X25519PrivateKey.generate(), INFO), (KEY, INFO + b"x"), (KEY, b"")]:
        with pytest.raises(SealError):
            open_sealed(blob, key, info)


@given(st.integers(0, 53), st.integers(1, 255))
def test_an_altered_message_does_not_open(position, mask):
    blob = bytearray(seal(b"secret", KEY.public_key(), INFO))
    blob[position] ^= mask
    with pytest.raises(SealError):
        open_sealed(bytes(blob), KEY, INFO)


def test_the_ignored_bit_of_the_point_is_bound_by_the_context():
    """X25519 ignores the top bit (RFC 7748 section 5), the KEM context does not."""
    blob = bytearray(seal(b"secret", KEY.public_key(), INFO))
    blob[31] ^= 0x80
    with pytest.raises(SealError):
        open_sealed(bytes(blob), KEY, INFO)


@given(st.binary(max_size=80))
def test_rubbish_does_not_open(blob):
    with pytest.raises(SealError) as caught:
        open_sealed(blob, KEY, INFO)
    assert caught.value.__context__ is None


def test_a_point_of_low_order_does_not_open():
    with pytest.raises(SealError):
        open_sealed(bytes(32) + bytes(40), KEY, INFO)


def test_info_fields_cannot_run_into_each_other():
    assert sealing_info("a", "bc") != sealing_info("ab", "c") != sealing_info("a", "b", "c")


PIN = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=8, max_size=16)


@given(PIN, st.from_regex(r"[0-9]{6}", fullmatch=True))
def test_secrets_round_trip_and_their_length_is_constant(pin, otp):
    try:
        secrets = Secrets(pin, otp)
    except SecretsError:
        return  # composed to fewer than eight characters
    assert len(secrets.encode()) == 265
    assert Secrets.decode(secrets.encode()) == secrets


def test_composed_and_decomposed_text_is_one_pin():
    assert Secrets("cafe\u0301-kopi", "123456") == Secrets("caf\u00e9-kopi", "123456")


@pytest.mark.parametrize("pin", ["", "1234567", "x" * 65, "tab\tseparated", "\ud800surrogate", "e\u0301" * 7])
def test_pins_of_impossible_form_are_refused_without_echo(pin):
    with pytest.raises(SecretsError) as caught:
        Secrets(pin, "123456")
    assert not pin or pin not in str(caught.value)


@pytest.mark.parametrize("otp", ["", "12345", "1234567", "12345a", "１２３４５６", "12345\n"])
def test_an_otp_is_six_ascii_digits(otp):
    with pytest.raises(SecretsError):
        Secrets("correct horse", otp)


def test_decoding_accepts_the_one_encoding_only():
    good = Secrets("correct horse", "123456").encode()
    bad = [good[:-1], good + b"\0", b"\x02" + good[1:], good[:-1] + b"x", good[:7] + b"\x00\x0c" + good[9:], b""]
    bad += [good[:1] + b"12345x" + good[7:], good[:7] + b"\xff\xff" + good[9:]]
    decomposed = "cafe\u0301-kopi".encode()
    bad.append(good[:7] + len(decomposed).to_bytes(2, "big") + decomposed.ljust(256, b"\0"))
    for data in bad:
        with pytest.raises(SecretsError):
            Secrets.decode(data)


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(data):
    with contextlib.suppress(SecretsError):
        assert encode_pin(decode_pin(data)) == data


def test_nothing_shows_the_secrets():
    secrets = Secrets("correct horse", "123456")
    for text in (repr(secrets), str(secrets), f"{secrets}", repr([secrets])):
        assert "correct" not in text
        assert "123456" not in text


@given(PIN, PIN)
def test_both_pins_of_a_change_come_back_as_they_were_sealed(old: str, new: str) -> None:
    was, to_be = decode_pin_change(b"\x01" + encode_pin(old) + encode_pin(new))
    assert (was, decode_pin(to_be)) == (normal_pin(old), normal_pin(new))


@pytest.mark.parametrize("cut", [0, 1, 258, 259, 516, 518])
def test_what_is_no_change_of_a_pin_is_refused_and_says_nothing_of_it(cut: int) -> None:
    data = (b"\x01" + encode_pin("Kn4ri-betul") + encode_pin("Kn4ri-lain") + b"\0")[:cut]
    with pytest.raises(SecretsError) as refused:
        decode_pin_change(data)
    assert "Kn4ri" not in str(refused.value)
    with pytest.raises(SecretsError):
        decode_pin_change(b"\x02" + encode_pin("Kn4ri-betul") + encode_pin("Kn4ri-lain"))
