"""Checkpoints as signed notes: the bytes that C2SP's specifications name, and the same judgement by the SDK."""

import base64
import hashlib
import struct
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from libs.crypto import notes
from libs.crypto.merkle import leaf_hash
from libs.crypto.notes import Checkpoint, NoteError, log_key, read_key, witness_key
from libs.gpki_client import checkpoint as sdk
from libs.gpki_client.errors import CheckpointError

AT, LATER = datetime(2026, 11, 28, 10, 0, tzinfo=UTC), datetime(2026, 11, 28, 10, 0, 7, tzinfo=UTC)
LOG_PRIVATE, WITNESS_PRIVATE = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()
LOG, WITNESS = log_key("gpki-signing-log", LOG_PRIVATE.public_key()), witness_key("gpki-monitor", WITNESS_PRIVATE)
CHECKPOINT = Checkpoint("gpki-signing-log", 1042, leaf_hash(b"root"), AT)


def by_log(data: bytes) -> bytes:
    return LOG_PRIVATE.sign(data, ec.ECDSA(hashes.SHA256()))


SIGNED = notes.sign(CHECKPOINT, LOG, by_log)
BOTH = notes.countersign(SIGNED, WITNESS, WITNESS_PRIVATE, LATER)
TEXT, _, LINES = BOTH.rpartition("\n\n")
BY_LOG, BY_WITNESS = LINES.splitlines(keepends=True)


def test_the_bytes_are_those_of_the_specifications() -> None:
    """C2SP signed-note and tlog-cosignature, by their own words and without our code."""
    root = base64.b64encode(CHECKPOINT.root).decode()
    assert f"{TEXT}\n" == f"gpki-signing-log\n1042\n{root}\ntime {int(AT.timestamp())}\n"
    dash, name, encoded = BY_LOG.rstrip("\n").split(" ")
    raw = base64.b64decode(encoded)
    der = LOG_PRIVATE.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert (dash, name, raw[:4]) == ("\u2014", "gpki-signing-log", hashlib.sha256(der).digest()[:4])
    LOG_PRIVATE.public_key().verify(raw[4:], f"{TEXT}\n".encode(), ec.ECDSA(hashes.SHA256()))
    dash, name, encoded = BY_WITNESS.rstrip("\n").split(" ")
    raw = base64.b64decode(encoded)
    public = WITNESS_PRIVATE.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    key_id = hashlib.sha256(b"gpki-monitor\n\x04" + public).digest()[:4]
    seconds = int(LATER.timestamp())
    assert (dash, name, raw[:12]) == ("\u2014", "gpki-monitor", key_id + struct.pack(">Q", seconds))
    message = f"cosignature/v1\ntime {seconds}\n{TEXT}\n".encode()
    WITNESS_PRIVATE.public_key().verify(raw[12:], message)
    assert WITNESS.text == f"gpki-monitor+{key_id.hex()}+{base64.b64encode(bytes([4]) + public).decode()}"


def test_what_is_written_is_read_by_both_readers() -> None:
    assert notes.read(BOTH) == CHECKPOINT
    read = sdk.read_checkpoint(BOTH)
    assert (read.origin, read.size, read.root, read.at) == (CHECKPOINT.origin, 1042, CHECKPOINT.root, AT)
    for key, at in ((LOG, AT), (WITNESS, LATER)):
        assert read_key(f"{key.text}\n") == key
        assert notes.signed_at(BOTH, key) == at
        assert sdk.signed_at(BOTH, sdk.verifier_key(key.text)) == at
    assert notes.signed_at(SIGNED, WITNESS) is None


def by_sdk(note: str, key: notes.NoteKey) -> datetime | None:
    try:
        sdk.read_checkpoint(note)
        return sdk.signed_at(note, sdk.verifier_key(key.text))
    except CheckpointError:
        return None


def by_platform(note: str, key: notes.NoteKey) -> datetime | None:
    try:
        notes.read(note)
        return notes.signed_at(note, key)
    except NoteError:
        return None


OTHER = witness_key("gpki-monitor", ed25519.Ed25519PrivateKey.generate())
NAMESAKE = log_key("gpki-signing-log", ec.generate_private_key(ec.SECP256R1()).public_key())

WRONG = {
    "no signature": TEXT + "\n",
    "no blank line": TEXT + "\n" + LINES,
    "another size": BOTH.replace("1042", "1043"),
    "another time": BOTH.replace("time 1", "time 2"),
    "the witness's time moved": f"{TEXT}\n\n{BY_LOG}" + BY_WITNESS.replace(BY_WITNESS[-60:-50], "AAAAAAAAAA"),
    "the log's line twice": f"{TEXT}\n\n{BY_LOG}{BY_LOG}{BY_WITNESS}{BY_WITNESS}",
    "a text before": f"one more line\n{BOTH}",
    "a line that is none": f"{TEXT}\n\n{BY_LOG}{BY_WITNESS}who?\n",
    "without its last newline": BOTH[:-1],
    "longer than any": BOTH + "\u2014 x QUJDRA==\n" * 400,
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_not_the_signed_note_is_signed_by_nobody(what: str) -> None:
    note = WRONG[what]
    log, witness = by_platform(note, LOG), by_platform(note, WITNESS)
    assert witness is None
    assert log is None or what == "the witness's time moved"
    assert (by_sdk(note, LOG), by_sdk(note, WITNESS)) == (log, witness)


def test_another_key_of_the_same_name_has_not_signed_it() -> None:
    for key in (OTHER, NAMESAKE):
        assert by_platform(BOTH, key) is by_sdk(BOTH, key) is None


@given(st.integers(0, len(BOTH) - 1), st.characters(codec="utf-8"))
def test_no_change_of_a_character_leaves_both_signatures(place: int, character: str) -> None:
    changed = BOTH[:place] + character + BOTH[place + 1 :]
    found = [by_platform(changed, LOG), by_platform(changed, WITNESS)]
    assert found == [by_sdk(changed, LOG), by_sdk(changed, WITNESS)]
    if changed != BOTH and None not in found:
        # Base64's last character may have bits that say nothing: the signature is the same then.
        assert notes.read(changed) == CHECKPOINT
        assert found == [AT, LATER]


@given(st.text(max_size=300))
def test_whatever_is_no_note_is_refused_and_nothing_else_is_raised(text: str) -> None:
    for reader in (notes.read, sdk.read_checkpoint):
        with pytest.raises((NoteError, CheckpointError)):
            reader(text)
    for read in (read_key, sdk.verifier_key):
        with pytest.raises((NoteError, CheckpointError)):
            read(text)


@pytest.mark.parametrize("change", ["name", "id", "kind", "cut"])
def test_a_verifier_key_that_is_not_its_own_is_refused(change: str) -> None:
    for key in (LOG, WITNESS):
        name, key_id, encoded = key.text.split("+", 2)
        content = base64.b64decode(encoded)
        wrong = {
            "name": f"with space+{key_id}+{encoded}",
            "id": f"{name}+00000000+{encoded}",
            "kind": f"{name}+{key_id}+{base64.b64encode(bytes([1]) + content[1:]).decode()}",
            "cut": f"{name}+{key_id}+{base64.b64encode(content[:-1]).decode()}",
        }[change]
        with pytest.raises(NoteError):
            read_key(wrong)
        if change != "name":
            with pytest.raises(CheckpointError):
                sdk.verifier_key(wrong)
