"""Checkpoints of a log as signed notes (C2SP signed-note, tlog-checkpoint, tlog-cosignature): text, keys, signatures.

    gpki-signing-log                                  the log's name, which is its key's too
    1042                                              leaves
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=      root
    time 1795860000                                   when the log says that this was so: seconds since 1970

    — gpki-signing-log kRvcfjBEAiB…                   the log's signature over the text above: ECDSA, P-256, SHA-256
    — gpki-monitor PvWnHwAAAABrC…                     a witness's: Ed25519 over its own time and the text

The same is written a second time for integrators, who read and do not sign: libs/gpki_client/checkpoint.py.
"""

import base64
import binascii
import hashlib
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from libs.crypto.errors import CryptoError
from libs.crypto.merkle import HASH_SIZE
from libs.crypto.signatures import verify

ECDSA: Final = 0x02
COSIGNATURE: Final = 0x04
"""Signature types of C2SP signed-note: ECDSA, and an Ed25519 cosignature with its own time."""

MAX_SIZE: Final = 4_096
"""Bytes of a note: room for sixteen signatures."""

NAME: Final = re.compile(r"[^\s+]{1,100}")
"""A key's name."""

_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,17}")
_LINE: Final = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
_TIMESTAMP: Final = struct.Struct(">Q")


class NoteError(CryptoError):
    """A note or a key that is not of its form."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of itself. `at` is in whole seconds."""

    origin: str
    size: int
    root: bytes
    at: datetime

    @property
    def text(self) -> str:
        """What is signed."""
        root = base64.b64encode(self.root).decode()
        return f"{self.origin}\n{self.size}\n{root}\ntime {int(self.at.timestamp())}\n"


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A public key that signs notes, and by which name and kind."""

    name: str
    kind: int
    public: ec.EllipticCurvePublicKey | Ed25519PublicKey

    @property
    def id(self) -> bytes:
        """The four bytes before each of its signatures."""
        if self.kind == ECDSA:
            return hashlib.sha256(self._encoded).digest()[:4]
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self._encoded).digest()[:4]

    @property
    def text(self) -> str:
        """The verifier key (vkey), as it stands in a file: name, id and key in one word."""
        encoded = base64.b64encode(bytes([self.kind]) + self._encoded).decode()
        return f"{self.name}+{self.id.hex()}+{encoded}"

    @property
    def _encoded(self) -> bytes:
        if self.kind == ECDSA:
            return self.public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return self.public.public_bytes(Encoding.Raw, PublicFormat.Raw)


def read_key(text: str) -> NoteKey:
    """A verifier key from its file. Raises NoteError."""
    name, _, rest = text.strip().partition("+")
    key_id, _, encoded = rest.partition("+")
    try:
        content = base64.b64decode(encoded, validate=True)
        kind, material = content[0], content[1:]
        public = load_der_public_key(material) if kind == ECDSA else Ed25519PublicKey.from_public_bytes(material)
    except (ValueError, IndexError, UnsupportedAlgorithm):
        raise NoteError("not a verifier key") from None
    is_p256 = isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, ec.SECP256R1)
    if not (is_p256 if kind == ECDSA else kind == COSIGNATURE) or not NAME.fullmatch(name):
        raise NoteError("not a verifier key of a log or a witness")
    key = NoteKey(name, kind, public)  # type: ignore[arg-type]  # judged above
    if key.id.hex() != key_id:
        raise NoteError("a verifier key with another key's id")
    return key


def log_key(name: str, public: ec.EllipticCurvePublicKey) -> NoteKey:
    """A log's key."""
    return NoteKey(name, ECDSA, public)


def witness_key(name: str, private: Ed25519PrivateKey) -> NoteKey:
    """A witness's key."""
    return NoteKey(name, COSIGNATURE, private.public_key())


def sign(checkpoint: Checkpoint, key: NoteKey, signing: Callable[[bytes], bytes]) -> str:
    """The log's note; `signing` makes the ECDSA signature (DER) over the text's bytes."""
    return f"{checkpoint.text}\n{_line(key, signing(checkpoint.text.encode()))}"


def countersign(note: str, key: NoteKey, private: Ed25519PrivateKey, at: datetime) -> str:
    """The note with a witness's signature behind those that it has: as of `at`, this log began as it always had."""
    text, _ = _split(note)
    seconds = int(at.timestamp())
    return note + _line(key, _TIMESTAMP.pack(seconds) + private.sign(_cosigned(text, seconds)))


def alone(note: str, key: NoteKey) -> str:
    """The note with this key's lines and nobody else's: whoever hands it on can have added some. Raises NoteError."""
    text, lines = _split(note)
    own = (_line(key, content[4:]) for name, content in lines if name == key.name and content[:4] == key.id)
    return f"{text}\n{''.join(own)}"


def read(note: str) -> Checkpoint:
    """What a note says, whoever has signed it. Raises NoteError."""
    text, _ = _split(note)
    lines = text.split("\n")
    try:
        origin, size, root, time, end = lines
        hashed = base64.b64decode(root, validate=True)
    except (ValueError, binascii.Error):
        raise NoteError("not a checkpoint of ours") from None
    seconds = time.removeprefix("time ")
    good = NAME.fullmatch(origin) and _NUMBER.fullmatch(size) and len(hashed) == HASH_SIZE and not end
    if not good or seconds == time or not _NUMBER.fullmatch(seconds) or len(seconds) > 11:
        raise NoteError("not a checkpoint of ours")
    found = Checkpoint(origin, int(size), hashed, datetime.fromtimestamp(int(seconds), UTC))
    if found.text != text:
        raise NoteError("not in the one form of a checkpoint")
    return found


def signed_at(note: str, key: NoteKey) -> datetime | None:
    """When this key signed the note: a witness's own time, a log's that of the note; None when it did not.

    A wrong signature under the key's name and id is as none, also beside a right one. Raises NoteError.
    """
    text, lines = _split(note)
    found = [content[4:] for name, content in lines if name == key.name and content[:4] == key.id]
    if len(found) != 1:
        return None
    signature = found[0]
    if key.kind == ECDSA:
        return read(note).at if verify(key.public, signature, text.encode()) else None
    if len(signature) != _TIMESTAMP.size + 64:
        return None
    (seconds,) = _TIMESTAMP.unpack_from(signature)
    good = seconds < 1 << 36 and verify(key.public, signature[_TIMESTAMP.size :], _cosigned(text, seconds))
    return datetime.fromtimestamp(seconds, UTC) if good else None


def _cosigned(text: str, seconds: int) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()


def _line(key: NoteKey, signature: bytes) -> str:
    return f"— {key.name} {base64.b64encode(key.id + signature).decode()}\n"


def _split(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """The text, and (name, key id and signature) of each line below it."""
    text, blank, signatures = note.rpartition("\n\n")
    if not blank or len(note.encode()) > MAX_SIZE or not signatures.endswith("\n"):
        raise NoteError("not a signed note")
    found = []
    for line in signatures.removesuffix("\n").split("\n"):
        parts = _LINE.fullmatch(line)
        if parts is None:
            raise NoteError("not a line of a signature")
        try:
            found.append((parts[1], base64.b64decode(parts[2], validate=True)))
        except binascii.Error:
            raise NoteError("not a line of a signature") from None
    return text + "\n", found
