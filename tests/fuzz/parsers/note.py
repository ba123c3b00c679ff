"""Signed notes, as anybody could send them (0), as log and witness could sign them (1); their keys' files (2), and what
a witness is shown that was away (3). Each is read as the platform does, and as the SDK does.
"""

import base64
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from random import Random

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ValidationError

from libs.contracts.log import CheckpointProof
from libs.crypto import notes
from libs.crypto.merkle import leaf_hash
from libs.crypto.notes import Checkpoint, NoteError, log_key, witness_key
from libs.crypto.tiles import TiledLog
from libs.gpki_client import checkpoint as sdk
from libs.gpki_client.errors import CheckpointError
from services.monitor.beginning import BeginningRefused, judged
from tests.fuzz.mutating import mutate_bytes, mutate_json
from tests.fuzz.parsers.authority import fixed_key, fixed_signer
from tests.fuzz.target import Target
from tests.support.pki import EPOCH

_LOG_PRIVATE, _WITNESS_PRIVATE = fixed_key(0x55), fixed_signer(5)
LOG, WITNESS = log_key("gpki-signing-log", _LOG_PRIVATE.public_key()), witness_key("gpki-monitor", _WITNESS_PRIVATE)
_BEFORE, _SIZE = 5, 9
_KNOWN = [leaf_hash(bytes([number])) for number in range(_SIZE)]


def accepts(data: bytes) -> bool:
    """Whether the platform believes it: then the SDK reads the same, and it is what the holders of the keys signed."""
    way, content = data[:1], data[1:]
    if way == b"\3":
        return _begins(content)
    text = content.decode("utf-8", "replace")  # whoever reads a note has it as text: out of JSON, or a file
    if way == b"\2":
        return _is_key(text)
    note = _line(_line(text + "\n", log=True, over=text), log=False, over=text) if way == b"\1" else text
    ours, theirs = _read(note), _read_by_sdk(note)
    assert ours is None or ours == theirs
    if ours is not None and ours[1:] != (None, None) and way != b"\1":
        assert note.rpartition("\n\n")[0] + "\n" in (_checkpoint(size).text for size in (_BEFORE, _SIZE))
    return ours is not None and None not in ours


def _read(note: str) -> tuple[object, ...] | None:
    try:
        said = notes.read(note)
        times = [notes.signed_at(note, key) for key in (LOG, WITNESS)]
    except NoteError:
        return None
    assert said.at.tzinfo is UTC
    return (said.origin, said.size, said.root, said.at), *times


def _read_by_sdk(note: str) -> tuple[object, ...] | None:
    times: list[datetime | None] = []
    for key in (LOG, WITNESS):
        try:
            times.append(sdk.signed_at(note, sdk.verifier_key(key.text)))
        except CheckpointError:
            times.append(None)
    try:
        said = sdk.read_checkpoint(note)
    except CheckpointError:
        return None
    return (said.origin, said.size, said.root, said.at), *times


def _is_key(text: str) -> bool:
    try:
        theirs = sdk.verifier_key(text)
    except CheckpointError:
        theirs = None
    try:
        key = notes.read_key(text)
    except NoteError:
        return False
    assert theirs is not None
    assert (theirs.name, theirs.kind, theirs.id) == (key.name, key.kind, key.id)
    assert notes.read_key(key.text).id == key.id
    return True


def _begins(content: bytes) -> bool:
    try:
        proof = CheckpointProof.model_validate_json(content)
        said = judged(proof, (_BEFORE, _checkpoint(_BEFORE).root), LOG, EPOCH + timedelta(days=1))
    except (ValidationError, BeginningRefused):
        return False
    assert said == _checkpoint(_SIZE)
    assert list(proof.peaks) == _tree(_SIZE).peaks()
    return True


def _tree(size: int) -> TiledLog:
    return TiledLog(size, {0: dict(enumerate(_KNOWN[:size]))})


def _checkpoint(size: int) -> Checkpoint:
    return Checkpoint(LOG.name, size, _tree(size).root(), EPOCH)


def _sign(data: bytes) -> bytes:
    return _LOG_PRIVATE.sign(data, ec.ECDSA(hashes.SHA256()))


def note_of(checkpoint: Checkpoint) -> str:
    """Signed by the log and its witness."""
    return notes.countersign(notes.sign(checkpoint, LOG, _sign), WITNESS, _WITNESS_PRIVATE, checkpoint.at)


def _line(note: str, *, log: bool, over: str) -> str:
    """The note with one more line, over whatever text this is."""
    at = int(EPOCH.timestamp())
    if log:
        key, signature = LOG, _sign(over.encode())
    else:
        cosigned = f"cosignature/v1\ntime {at}\n{over}".encode()
        key, signature = WITNESS, at.to_bytes(8) + _WITNESS_PRIVATE.sign(cosigned)
    return f"{note}— {key.name} {base64.b64encode(key.id + signature).decode()}\n"


def _mutate(data: bytes, random: Random) -> bytes:
    way, content = data[:1], data[1:]
    if way == b"\3":
        return way + mutate_json(content, random)
    if random.random() < 0.5:
        return way + mutate_bytes(content, random)
    sign = random.choice((b"\n", b" ", b"+"))  # lines and words, exchanged, said twice, or left out
    parts = content.split(sign)
    at, other = random.randrange(len(parts)), random.choice(parts)
    parts[at : at + 1] = random.choice(([], [other], [parts[at], other], [mutate_bytes(parts[at], random)]))
    return way + sign.join(parts)


def seeds() -> Iterable[bytes]:
    """Two checkpoints, as they are and to be signed; both keys; and how the second continues the first."""
    for size in (_BEFORE, _SIZE):
        yield b"\0" + note_of(_checkpoint(size)).encode()
        yield b"\1" + _checkpoint(size).text.encode()
    yield b"\2" + LOG.text.encode()
    yield b"\2" + WITNESS.text.encode()
    tree = _tree(_SIZE)
    proof = CheckpointProof(
        note=note_of(_checkpoint(_SIZE)),
        previous=_BEFORE,
        consistency=tuple(tree.consistency_path(_BEFORE)),
        peaks=tuple(tree.peaks()),
    )
    yield b"\3" + json.dumps(proof.model_dump(mode="json")).encode()


TARGET = Target("note", accepts, seeds, _mutate)
