"""The signing log's own key, in a token of posting's own: it signs checkpoints and nothing else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from libs.contracts.log import LOG_KEY_FILE
from libs.crypto import notes
from libs.crypto.notes import Checkpoint, NoteKey
from libs.hsm.hsm import Hsm
from libs.hsm.settings import open_hsm
from libs.runtime.settings import ConfigurationError
from services.posting.settings import Settings

LABEL: Final = "gpki-signing-log"
"""Of the key pair in the token."""


class LogKey:
    """Signs checkpoints of one log."""

    def __init__(self, hsm: Hsm, public: NoteKey) -> None:
        self._hsm = hsm
        self.public = public

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings) -> AsyncIterator["LogKey"]:
        """Log in; log out at the end.

        Raises HsmUnavailable, HsmLoginRefused, HsmRefused when there is no key, ConfigurationError when it is another
        than the one that verifiers have pinned: a token that was made anew would sign what nobody believes.
        """
        async with open_hsm(settings) as hsm:
            key = cls(hsm, await public_key(hsm, settings.log_origin))
            require_pinned(key.public, settings.pki_dir / LOG_KEY_FILE)
            yield key

    async def sign(self, checkpoint: Checkpoint) -> str:
        """The signed note. Raises HsmUnavailable, HsmRefused."""
        return await self._hsm.with_private_key(
            LABEL,
            lambda key: notes.sign(
                checkpoint,
                self.public,
                lambda data: key.sign(data, ec.ECDSA(hashes.SHA256())),  # type: ignore[arg-type,call-arg]  # P-256
            ),
        )


async def public_key(hsm: Hsm, origin: str) -> NoteKey:
    """The public half of the log's key, under the log's name."""
    public = await hsm.with_private_key(LABEL, lambda key: key.public_key())
    assert isinstance(public, ec.EllipticCurvePublicKey)
    return notes.log_key(origin, public)


def require_pinned(key: NoteKey, file: Path) -> None:
    """The key is the one in the file that verifiers have. Raises ConfigurationError, OSError."""
    if file.read_text(encoding="utf-8").strip() != key.text:
        raise ConfigurationError([f"{file}: the token's key, or GPKI_LOG_ORIGIN, is not the one that verifiers pin"])
