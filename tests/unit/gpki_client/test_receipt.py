"""What a receipt proves of its place in the signing log, and that no part of the proof can be left out or exchanged."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from libs.contracts.log import CheckpointCountersigned, LogTile
from libs.contracts.manifest import root_of_document
from libs.contracts.record import canonical_record, record_id_of, record_of
from libs.contracts.signing import Posted, Verified
from libs.crypto import notes
from libs.crypto.merkle import leaf_hash
from libs.crypto.notes import Checkpoint, log_key, witness_key
from libs.crypto.tiles import WIDTH, TiledLog, complete_above
from libs.gpki_client import RecordError
from libs.gpki_client.checkpoint import verifier_key
from libs.gpki_client.record import Pinned, verify_record
from services.igfmas.evidence import write_evidence
from services.igfmas.signing_log import SigningLogSeen
from tests.support.documents import content, document, manifest, sign
from tests.support.pki import EPOCH
from tests.unit.gpki_client.test_record import CRLS, OFFICERS, PKI, ROOT, checked

LOG_PRIVATE, WITNESS_PRIVATE = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()
LOG, WITNESS = log_key("gpki-signing-log", LOG_PRIVATE.public_key()), witness_key("gpki-monitor", WITNESS_PRIVATE)
PINNED = Pinned(ROOT, verifier_key(LOG.text), verifier_key(WITNESS.text))
POSITION, SIZE = WIDTH + 3, 2 * WIDTH + 9


def checkpoint(size: int, root: bytes) -> str:
    note = notes.sign(
        Checkpoint(LOG.name, size, root, EPOCH), LOG, lambda data: LOG_PRIVATE.sign(data, ec.ECDSA(hashes.SHA256()))
    )
    return notes.countersign(note, WITNESS, WITNESS_PRIVATE, EPOCH)


def logged(event: Verified) -> tuple[Posted, TiledLog, dict[int, bytes]]:
    """The record in a log of others."""
    record = record_of(event, root=bytes.fromhex(_root(event)), posted_at=EPOCH)
    posted = Posted(
        request_id=event.request_id,
        document_id=event.entry.id,
        record_id=record_id_of(event.request_id, event.entry.id),
        log_position=POSITION,
        leaf_hash=leaf_hash(canonical_record(record)),
        posted_at=EPOCH,
    )
    leaves = {place: leaf_hash(place.to_bytes(4)) for place in range(SIZE)} | {POSITION: posted.leaf_hash}
    return posted, TiledLog(SIZE, {0: leaves, 1: complete_above(leaves, 0, SIZE // WIDTH)}), leaves


def _root(event: Verified) -> str:
    return root_of_document(event.header, event.entry, event.index, event.path).hex()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As iGFMAS writes it from what is on Kafka."""
    who = OFFICERS["p-256"]
    event = checked(sign(who, manifest(who.user, [document(f"D{number}") for number in range(5)]))[2])
    posted, tree, leaves = logged(event)
    seen = SigningLogSeen()
    assert not seen.covers(posted)
    assert seen.inclusion_of(posted) is None
    note = CheckpointCountersigned(note=checkpoint(SIZE, tree.root()))
    seen.take(note)
    for first in range(0, SIZE, WIDTH):
        own = tuple(leaves[place] for place in range(first, min(first + WIDTH, SIZE)))
        seen.take(LogTile(size=SIZE, first=first, leaves=own, path=tuple(tree.inclusion_path(first, above=WIDTH))))
    seen.take(CheckpointCountersigned(note="not\n1\na note\n"))
    assert seen.covers(posted)
    write_evidence(
        tmp_path / "r",
        content=content(event.entry.id),
        verified=event,
        posted=posted,
        trust=PKI.trust_pem(*CRLS),
        inclusion=seen.inclusion_of(posted),
    )
    return tmp_path / "r"


def failed(folder: Path, pinned: Pinned = PINNED, **inclusion: Any) -> str:
    record = json.loads((folder / "record.json").read_text())
    changed = record | {"inclusion": record["inclusion"] | inclusion}
    (folder / "record.json").write_text(json.dumps(changed, ensure_ascii=False))
    try:
        with pytest.raises(RecordError) as raised:
            verify_record(folder, pinned=pinned)
    finally:
        (folder / "record.json").write_text(json.dumps(record, ensure_ascii=False))
    return raised.value.check


def test_a_receipt_is_proven_under_the_pinned_keys(folder: Path) -> None:
    """I-44."""
    assert verify_record(folder, pinned=PINNED).logged_at == EPOCH
    assert verify_record(folder, root=ROOT).logged_at is None, "nobody's word was asked for"


def test_each_key_must_have_signed_and_be_the_pinned_one(folder: Path) -> None:
    """I-44."""
    other_log = log_key(LOG.name, ec.generate_private_key(ec.SECP256R1()).public_key())
    other_witness = witness_key(WITNESS.name, ed25519.Ed25519PrivateKey.generate())
    elsewhere = log_key("another-log", LOG_PRIVATE.public_key())
    assert failed(folder, replace(PINNED, log=verifier_key(other_log.text))) == "log"
    assert failed(folder, replace(PINNED, log=verifier_key(elsewhere.text))) == "log"
    assert failed(folder, replace(PINNED, witness=verifier_key(other_witness.text))) == "witness"
    note = json.loads((folder / "record.json").read_text())["inclusion"]["checkpoint"]
    text, _, lines = note.rpartition("\n\n")
    by_log, by_witness, _ = lines.split("\n")
    assert failed(folder, checkpoint=f"{text}\n\n{by_log}\n") == "witness"
    assert failed(folder, checkpoint=f"{text}\n\n{by_witness}\n") == "log"


def test_the_path_leads_from_this_leaf_at_this_place_to_that_root(folder: Path) -> None:
    """I-44: also when a forger has a checkpoint that is signed by both, of another tree."""
    record = json.loads((folder / "record.json").read_text())
    path = record["inclusion"]["path"]
    assert len(path) == 10
    for at in range(len(path)):
        assert failed(folder, path=[*path[:at], bytes(32).hex(), *path[at + 1 :]]) == "inclusion"
        assert failed(folder, path=path[:at] + path[at + 1 :]) == "inclusion"
    assert failed(folder, path=[*path, path[0]]) == "inclusion"
    assert failed(folder, checkpoint=checkpoint(SIZE, leaf_hash(b"another"))) == "inclusion"
    assert failed(folder, checkpoint="not a note") == "inclusion"
    for position in (POSITION - 1, POSITION + 1, SIZE, -1):
        (folder / "record.json").write_text(json.dumps(record | {"log_position": position}))
        with pytest.raises(RecordError, match="inclusion"):
            verify_record(folder, pinned=PINNED)


def test_a_folder_without_the_proof_is_no_receipt(folder: Path) -> None:
    record = json.loads((folder / "record.json").read_text())
    del record["inclusion"]
    (folder / "record.json").write_text(json.dumps(record))
    assert verify_record(folder, root=ROOT).document_id == "D2"
    with pytest.raises(RecordError, match="inclusion"):
        verify_record(folder, pinned=PINNED)
