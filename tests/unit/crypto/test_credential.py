"""A wrapped key opens with its own PIN, user and credential, and with nothing else."""

import os
from itertools import product

import pytest
from argon2.low_level import Type, hash_secret_raw

from libs.crypto.credential import (
    Argon2Parameters,
    WrongPin,
    argon2id,
    key_encryption_key,
    open_wrapped_key,
    seal_wrapped_key,
)

CHEAP = Argon2Parameters(memory_kib=64, iterations=1)
SALT = b"\x05" * 16


def test_argon2id_is_rfc_9106_over_the_composed_pin():
    expected = hash_secret_raw("caf\u00e9-kopi".encode(), SALT, 1, 64, 1, 32, Type.ID)
    assert argon2id("cafe\u0301-kopi", SALT, CHEAP) == expected


def test_every_parameter_changes_the_hash():
    variants = [CHEAP, Argon2Parameters(128, 1, 1), Argon2Parameters(64, 2, 1), Argon2Parameters(64, 1, 2)]
    assert len({argon2id("correct horse", SALT, variant) for variant in variants}) == len(variants)
    assert Argon2Parameters() == Argon2Parameters(memory_kib=7168, iterations=5, parallelism=1)


def test_only_the_same_mac_user_and_credential_open_the_key():
    """I-14."""
    mac, wrapped = os.urandom(32), os.urandom(1200)
    kek = key_encryption_key(mac, user="u1", credential_id="c1")
    blob = seal_wrapped_key(kek, wrapped, user="u1", credential_id="c1")
    assert open_wrapped_key(kek, blob, user="u1", credential_id="c1") == wrapped
    for key_of, user, credential in product([("u1", "c1"), ("u2", "c1"), ("u1", "c2")], ["u1", "u2"], ["c1", "c2"]):
        if (*key_of, user, credential) == ("u1", "c1", "u1", "c1"):
            continue
        other = key_encryption_key(mac, user=key_of[0], credential_id=key_of[1])
        with pytest.raises(WrongPin):
            open_wrapped_key(other, blob, user=user, credential_id=credential)
    with pytest.raises(WrongPin):
        open_wrapped_key(
            key_encryption_key(os.urandom(32), user="u1", credential_id="c1"), blob, user="u1", credential_id="c1"
        )


def test_user_and_credential_cannot_run_into_each_other():
    mac = bytes(32)
    assert key_encryption_key(mac, user="ab", credential_id="c") != key_encryption_key(
        mac, user="a", credential_id="bc"
    )


@pytest.mark.parametrize("blob", [b"", b"x" * 5, b"x" * 12, b"x" * 40])
def test_a_damaged_blob_is_a_wrong_pin_and_tells_nothing(blob):
    with pytest.raises(WrongPin) as caught:
        open_wrapped_key(bytes(32), blob, user="u", credential_id="c")
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("kept", "raised"),
    [
        (Argon2Parameters(64, 1, 1), False),
        (Argon2Parameters(32, 1, 1), True),
        (Argon2Parameters(32, 2, 1), False),  # higher in one, lower in the other: nothing is ever lowered
        (Argon2Parameters(128, 1, 1), False),
    ],
)
def test_a_cost_is_raised_when_nothing_of_it_is_lowered(kept, raised):
    assert CHEAP.raises(kept) is raised
