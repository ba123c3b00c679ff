"""Upon which checkpoints a witness that missed a part may go on (I-56): those that continue what it signed, no fork."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.log import CheckpointProof
from libs.crypto import notes
from libs.crypto.merkle import leaf_hash, tree_root
from libs.crypto.notes import Checkpoint, NoteKey, log_key
from libs.crypto.tiles import TiledLog, complete_above, levels_of
from services.monitor import beginning
from services.monitor.beginning import FRESH, BeginningRefused, judged
from tests.support.pki import EPOCH

LEAVES = [leaf_hash(number.to_bytes(4)) for number in range(700)]
FORKED = [*LEAVES[:100], leaf_hash(b"another"), *LEAVES[101:]]
LAST = 300


@dataclass
class Log:
    """A log with a key of its own."""

    private: ec.EllipticCurvePrivateKey
    key: NoteKey

    @classmethod
    def named(cls, name: str) -> "Log":
        private = ec.generate_private_key(ec.SECP256R1())
        return cls(private, log_key(name, private.public_key()))

    def note(self, size: int, root: bytes, at: Any = EPOCH, origin: str = "") -> str:
        said = Checkpoint(origin or self.key.name, size, root, at)
        return notes.sign(said, self.key, lambda data: self.private.sign(data, ec.ECDSA(hashes.SHA256())))


LOG = Log.named("the-log")


def proof(size: int = 700, since: int = LAST, leaves: list[bytes] = LEAVES, by: Log = LOG, **note: Any) -> Any:
    """What `gpki checkpoint` makes of a log of these leaves."""
    nodes = {0: dict(enumerate(leaves[:size]))}
    for level, count in levels_of(size):
        if level:
            nodes[level] = complete_above(nodes[level - 1], 0, count)
    tree = TiledLog(size, nodes)
    return CheckpointProof(
        note=by.note(size, tree.root(), **note),
        previous=since,
        consistency=tuple(tree.consistency_path(since)),
        peaks=tuple(tree.peaks()),
    )


def countersigned(size: int = LAST) -> tuple[int, bytes]:
    return size, tree_root(LEAVES[:size])


@given(st.integers(2, 700), st.data())
def test_a_checkpoint_that_continues_what_was_countersigned_is_taken(size: int, data: st.DataObject) -> None:
    since = data.draw(st.integers(1, size - 1))
    said = judged(proof(size, since), countersigned(since), LOG.key, EPOCH)
    assert (said.size, said.root) == (size, tree_root(LEAVES[:size]))


def test_a_checkpoint_that_is_as_old_as_it_may_be_is_taken() -> None:
    judged(proof(), countersigned(), LOG.key, EPOCH + FRESH)


def altered(found: CheckpointProof, **changed: Any) -> CheckpointProof:
    return CheckpointProof.model_validate({**found.model_dump(), **changed})


OTHERS = {
    "a fork, proved upon itself": (lambda: proof(leaves=FORKED), "FORK"),
    "a fork with the true proof": (lambda: altered(proof(), note=proof(leaves=FORKED).note), "FORK"),
    "no proof": (lambda: altered(proof(), consistency=()), "FORK"),
    "a proof of another size": (lambda: proof(since=299), "it is proved upon size 299"),
    "one that says that it is of this size": (lambda: altered(proof(since=299), previous=LAST), "FORK"),
    "the same size": (lambda: proof(LAST, LAST), "is countersigned already"),
    "a fork of the same size": (lambda: proof(LAST, LAST, FORKED), "is countersigned already"),
    "an older one": (lambda: proof(250, 200), "is countersigned already"),
    "another log's": (lambda: proof(by=Log.named("the-log")), "not signed by the log's key"),
    "another log's, signed by the key": (lambda: proof(origin="other"), "not signed by the log's key"),
    "not signed": (
        lambda: altered(proof(), note=proof().note.replace("\n700\n", "\n701\n")),
        "not signed by the log's key",
    ),
    "no note": (lambda: altered(proof(), note="the-log\n700\nroot\n"), "no checkpoint"),
    "peaks of another tree": (lambda: altered(proof(), peaks=proof(leaves=FORKED).peaks), "peaks"),
    "peaks in another order": (lambda: altered(proof(), peaks=proof().peaks[::-1]), "peaks"),
    "the root for all peaks": (lambda: altered(proof(), peaks=(tree_root(LEAVES),)), "peaks"),
    "old": (lambda: proof(at=EPOCH - FRESH - timedelta(seconds=1)), "make one of today"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_anything_else_is_refused(what: str) -> None:
    """I-56."""
    make, why = OTHERS[what]
    with pytest.raises(BeginningRefused, match=why):
        judged(make(), countersigned(), LOG.key, EPOCH)


def test_a_fork_would_be_taken_where_its_proof_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beginning, "is_consistent", lambda *_: True)
    judged(proof(leaves=FORKED), countersigned(), LOG.key, EPOCH)


def test_a_witness_that_has_signed_nothing_has_nothing_to_hold_it_against() -> None:
    """I-56: whatever continues nothing would be trusted."""
    with pytest.raises(BeginningRefused, match="nothing was countersigned"):
        judged(altered(proof(), previous=0, consistency=()), (0, tree_root([])), LOG.key, EPOCH)
