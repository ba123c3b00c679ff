"""Whose checkpoints the witness believes, and the key by which it countersigns them."""

from dataclasses import dataclass
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from libs.contracts.log import LOG_KEY_FILE, LogCheckpoint
from libs.crypto import notes
from libs.crypto.notes import Checkpoint, NoteError, NoteKey
from libs.crypto.requests import read_signing_key
from services.monitor.settings import Settings


@dataclass(frozen=True)
class Keys:
    """Whose checkpoints are believed, and by whom they are countersigned."""

    log: NoteKey
    witness: NoteKey
    private: Ed25519PrivateKey

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The pinned key of the log and our own. Raises OSError, CryptoError."""
        private = read_signing_key(settings.witness_key.get_secret_value().encode())
        log_key = notes.read_key((settings.pki_dir / LOG_KEY_FILE).read_text(encoding="utf-8"))
        return cls(log_key, notes.witness_key(settings.witness_name, private), private)

    def signed(self, event: LogCheckpoint) -> Checkpoint | None:
        """What the log says in it; None when it was not the log that said so."""
        try:
            said = notes.read(event.note)
            signed = notes.signed_at(event.note, self.log) is not None
        except NoteError:
            return None
        return said if signed and said.origin == self.log.name else None
