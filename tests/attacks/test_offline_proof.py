"""Attacks on what is proved offline (`gpki verify`, the SDK): each receipt is false; without its check it holds."""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from libs.crypto import notes
from libs.crypto.merkle import leaf_hash
from libs.crypto.notes import Checkpoint, log_key, witness_key
from libs.crypto.pki import RevokedCertificate
from libs.gpki_client import RecordError
from libs.gpki_client import record as proving
from libs.gpki_client.checkpoint import signed_at
from libs.gpki_client.manifest import canonical
from libs.gpki_client.record import verify_record
from tests.support.pki import EPOCH
from tests.unit.gpki_client.test_receipt import LOG, LOG_PRIVATE, PINNED, WITNESS, folder
from tests.unit.gpki_client.test_record import OFFICERS, PKI, ROOT, write

__all__ = ["folder"]

Json = dict[str, Any]

FORGERS = ec.generate_private_key(ec.SECP256R1())
FORGERS_WITNESS = ed25519.Ed25519PrivateKey.generate()
OTHER_LOG, OTHER_WITNESS = log_key(LOG.name, FORGERS.public_key()), witness_key(WITNESS.name, FORGERS_WITNESS)


def to_his_phone(record: Json) -> Json:
    """What no officer's signature covers: how the code went."""
    assert record["authorisation"]["channel"] == "e-mail"
    return record | {"authorisation": record["authorisation"] | {"channel": "gpki-mobile"}}


def logged(record: Json) -> Json:
    """With the leaf that it would have."""
    beside = ("log_position", "leaf_hash", "inclusion", "openssl")
    bare = {name: value for name, value in record.items() if name not in beside}
    return record | {"leaf_hash": leaf_hash(canonical(bare)).hex()}


def under(record: Json, note: str, path: list[str]) -> Json:
    return record | {"log_position": 0, "inclusion": {"checkpoint": note, "path": path}}


def alone_in(record: Json, *, log: Any = (LOG, LOG_PRIVATE), witness: Any = None) -> Json:
    """In a log of one leaf that somebody made of it, and signed with what he has."""
    key, private = log
    said = Checkpoint(LOG.name, 1, bytes.fromhex(record["leaf_hash"]), EPOCH)
    note = notes.sign(said, key, lambda data: private.sign(data, ec.ECDSA(hashes.SHA256())))
    if witness is not None:
        name, own = witness
        note = notes.countersign(note, name, own, EPOCH)
    return under(record, note, [])


def with_its_leaf(record: Json) -> Json:
    return logged(to_his_phone(record))


def in_a_log_of_his_own(record: Json) -> Json:
    return alone_in(logged(to_his_phone(record)), log=(OTHER_LOG, FORGERS), witness=(OTHER_WITNESS, FORGERS_WITNESS))


def in_a_log_that_no_witness_saw(record: Json) -> Json:
    return alone_in(logged(to_his_phone(record)))


def in_a_log_that_another_saw(record: Json) -> Json:
    return alone_in(logged(to_his_phone(record)), witness=(OTHER_WITNESS, FORGERS_WITNESS))


def without(check: str) -> Callable[[bool, str, str], None]:
    """The SDK's checks but this one."""

    def others(holds: bool, name: str, text: str) -> None:
        if not holds and name != check:
            raise RecordError(name, text)

    return others


def signed_by(*pinned: Any) -> Callable[[str, Any], datetime]:
    """Takes the word of these for signed; of others the signature is asked for."""

    def judge(note: str, key: Any) -> datetime:
        return EPOCH if key in pinned else signed_at(note, key)

    return judge


FORGERIES: dict[str, tuple[Callable[[Json], Json], str, dict[str, Any]]] = {
    "a record that was changed": (to_his_phone, "leaf", {"_check": without("leaf")}),
    "with its leaf": (with_its_leaf, "inclusion", {"_check": without("inclusion")}),
    "in a log of the forger's own": (in_a_log_of_his_own, "log", {"signed_at": signed_by(PINNED.log, PINNED.witness)}),
    "in a log that its own key signed and no witness": (
        in_a_log_that_no_witness_saw,
        "witness",
        {"signed_at": signed_by(PINNED.witness)},
    ),
    "in one that another witness signed": (
        in_a_log_that_another_saw,
        "witness",
        {"signed_at": signed_by(PINNED.witness)},
    ),
}
"""What is forged → how, the check that finds it, and what the SDK has in its place without it."""


def forge(folder: Path, how: Callable[[Json], Json]) -> None:
    record = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps(how(record), ensure_ascii=False))


def found(folder: Path) -> str:
    """The check that says no; none when the receipt holds."""
    try:
        verify_record(folder, pinned=PINNED)
    except RecordError as error:
        return error.check
    return ""


@pytest.mark.parametrize("what", FORGERIES)
def test_a_false_receipt_holds_only_without_the_check_that_finds_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """I-44: who has posting's tables, its log's key, or neither, says that the code went to the officer's phone."""
    assert found(folder) == ""
    how, check, away = FORGERIES[what]
    forge(folder, how)
    assert found(folder) == check
    for name, instead in away.items():
        monkeypatch.setattr(proving, name, instead)
    assert found(folder) == ""


def test_a_path_and_a_checkpoint_of_another_document_prove_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I-44: a genuine note, signed by both, of a tree that this record is not in; its place is another's."""
    forge(folder, lambda record: record | {"log_position": record["log_position"] - 1})
    assert found(folder) == "inclusion"
    with monkeypatch.context() as off:
        off.setattr(proving, "_check", without("inclusion"))
        assert found(folder) == ""


@pytest.mark.parametrize("defence", ["on", "off"])
def test_other_bytes_than_were_signed_are_not_the_document(
    folder: Path, monkeypatch: pytest.MonkeyPatch, defence: str
) -> None:
    """A voucher over another sum is handed to the auditor beside a genuine signature."""
    (folder / "document").write_bytes(b"Baucar D2, RM 9,999,999.00\n")
    if defence == "off":
        monkeypatch.setattr(proving, "_check", without("document"))
    assert found(folder) == ("document" if defence == "on" else "")


@pytest.mark.parametrize("defence", ["on", "off"])
def test_a_signature_with_a_revoked_certificate_proves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, defence: str
) -> None:
    """crl_verifier let it pass, and posting: the list that it names says otherwise."""
    who = OFFICERS["p-256"]
    entry = RevokedCertificate(who.identity.certificate.serial_number, EPOCH)
    crls = [PKI.crl(PKI.issuing, number=7, revoked=[entry]), PKI.crl(PKI.root, number=3)]
    made = write(tmp_path / "r", who, crls=crls)
    if defence == "off":
        monkeypatch.setattr(proving, "_check", without("crl"))
        assert verify_record(made, root=ROOT).document_id == "D2"
        return
    with pytest.raises(RecordError, match=r"^crl: the certificate was revoked"):
        verify_record(made, root=ROOT)
