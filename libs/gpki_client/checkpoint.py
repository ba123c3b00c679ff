"""Checkpoints of the platform's signing log: signed notes (C2SP signed-note, tlog-checkpoint, tlog-cosignature).

A checkpoint says how many records the log holds, and the root of their Merkle tree. Two keys sign it, of two services
that do not share a database: the log's (ECDSA P-256, in an HSM), and a witness's, which has computed the same root from
what the platform told everybody. Pin both verifier keys, as the platform's operator published them.
"""

import base64
import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from .errors import CheckpointError

_ECDSA: Final = 0x02
_COSIGNATURE: Final = 0x04
_MAX_SIZE: Final = 4_096
_LINE: Final = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,17}")


@dataclass(frozen=True)
class VerifierKey:
    """A pinned key: a log's, or a witness's."""

    name: str
    kind: int
    id: bytes
    public: Any


@dataclass(frozen=True)
class Checkpoint:
    """What a log says of itself; `at` is the log's own word."""

    origin: str
    size: int
    root: bytes
    at: datetime


def verifier_key(text: str) -> VerifierKey:
    """Read `name+id+key`, the content of `log.vkey` or `witness.vkey`. Raises CheckpointError."""
    name, _, rest = text.strip().partition("+")
    key_id, _, encoded = rest.partition("+")
    try:
        content = base64.b64decode(encoded, validate=True)
        kind, material = content[0], content[1:]
        if kind == _ECDSA:
            public: Any = load_der_public_key(material)
            expected = hashlib.sha256(material).digest()[:4]
        else:
            public = Ed25519PublicKey.from_public_bytes(material)
            expected = hashlib.sha256(name.encode() + b"\n" + content).digest()[:4]
    except (ValueError, IndexError, UnsupportedAlgorithm):
        raise CheckpointError("not a verifier key") from None
    is_ours = isinstance(public, ec.EllipticCurvePublicKey) if kind == _ECDSA else kind == _COSIGNATURE
    if not is_ours or not name or expected.hex() != key_id:
        raise CheckpointError("not a verifier key of a log or a witness")
    return VerifierKey(name, kind, expected, public)


def read_checkpoint(note: str) -> Checkpoint:
    """What a note says, whoever has signed it. Raises CheckpointError."""
    text, _ = _split(note)
    try:
        origin, size, root, time, end = text.split("\n")
        hashed, seconds = base64.b64decode(root, validate=True), time.removeprefix("time ")
    except ValueError:
        raise CheckpointError("not a checkpoint") from None
    numbers = _NUMBER.fullmatch(size) and _NUMBER.fullmatch(seconds) and len(seconds) < 12 and seconds != time
    if not (origin and numbers and len(hashed) == 32 and not end):
        raise CheckpointError("not a checkpoint")
    return Checkpoint(origin, int(size), hashed, datetime.fromtimestamp(int(seconds), UTC))


def signed_at(note: str, key: VerifierKey) -> datetime:
    """When this key signed the note: a witness's own time, a log's that of the note.

    Raises CheckpointError when it did not, or not exactly once.
    """
    text, lines = _split(note)
    found = [content[4:] for name, content in lines if name == key.name and content[:4] == key.id]
    if len(found) != 1:
        raise CheckpointError(f"not signed by {key.name}")
    (signature,) = found
    try:
        if key.kind == _ECDSA:
            key.public.verify(signature, text.encode(), ec.ECDSA(hashes.SHA256()))
            return read_checkpoint(note).at
        seconds = int.from_bytes(signature[:8])
        key.public.verify(signature[8:], f"cosignature/v1\ntime {seconds}\n{text}".encode())
        return datetime.fromtimestamp(seconds, UTC)
    except (InvalidSignature, ValueError, OverflowError, OSError):
        raise CheckpointError(f"the signature of {key.name} is not over this checkpoint") from None


def _split(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """The text that is signed, and (name, key id and signature) of each line below it."""
    text, blank, signatures = note.rpartition("\n\n")
    if not blank or len(note.encode("utf-8", "surrogatepass")) > _MAX_SIZE or not signatures.endswith("\n"):
        raise CheckpointError("not a signed note")
    found = []
    for line in signatures.removesuffix("\n").split("\n"):
        parts = _LINE.fullmatch(line)
        if parts is None:
            raise CheckpointError("not a signed note")
        try:
            found.append((parts[1], base64.b64decode(parts[2], validate=True)))
        except ValueError:
            raise CheckpointError("not a signed note") from None
    return text + "\n", found
