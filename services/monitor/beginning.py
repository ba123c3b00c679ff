"""When a witness that was away for too long goes on: upon a checkpoint that continues what it countersigned last. Pure.

What lies between it was never told. That the log begins as it always had is proved; that what came since is what was
told then is the log's word alone, and stays marked as such.
"""

from datetime import datetime, timedelta
from typing import Final

from libs.contracts.log import CheckpointProof
from libs.crypto import notes
from libs.crypto.merkle import Frontier, is_consistent
from libs.crypto.notes import Checkpoint, NoteError, NoteKey

FRESH: Final = timedelta(days=7)
"""Age of the checkpoint at most: what was posted since must be told on `posted`, which is kept for 14 days."""


class BeginningRefused(Exception):
    """The witness does not go on from this; the text says why."""


def judged(proof: CheckpointProof, last: tuple[int, bytes], log: NoteKey, now: datetime) -> Checkpoint:
    """The checkpoint to go on from; `last` are size and root that were countersigned last. Raises BeginningRefused."""
    try:
        said = notes.read(proof.note)
        signed = notes.signed_at(proof.note, log) is not None
    except NoteError as error:
        raise BeginningRefused(f"it is no checkpoint: {error}") from None
    size, root = last
    peaks = Frontier(said.size, proof.peaks)
    if not signed or said.origin != log.name:
        raise BeginningRefused(f"it is not signed by the log's key, {log.name}")
    if now - said.at > FRESH:
        raise BeginningRefused(f"it is of {said.at:%Y-%m-%d %H:%M:%S}Z: make one of today")
    if not size:
        raise BeginningRefused("nothing was countersigned before: there is nothing that it could be held against")
    if said.size <= size:
        raise BeginningRefused(f"size {size} is countersigned already, and it is of size {said.size}")
    if proof.previous != size:
        raise BeginningRefused(f"it is proved upon size {proof.previous}; countersigned was size {size}")
    if not is_consistent((size, root), (said.size, said.root), proof.consistency):
        raise BeginningRefused(
            f"IT IS A FORK: the log of size {said.size} does not begin with the log that was countersigned at {size}"
        )
    if len(proof.peaks) != said.size.bit_count() or peaks.root() != said.root:
        raise BeginningRefused("its peaks do not make its root")
    return said
