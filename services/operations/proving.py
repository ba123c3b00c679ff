"""Receipts of what was posted, however long ago: of posting's records, the log's tree and the witness's own notes.

Nothing is believed: of each, leaf, path and both signatures are judged under the pinned keys before it is given out.
"""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from libs.contracts.record import Inclusion, Json, receipt
from libs.crypto import notes
from libs.crypto.merkle import MerkleError, leaf_hash, root_from_path
from libs.crypto.notes import NoteError
from libs.storage.pool import Connection
from services.operations.audit import Keys
from services.operations.tree import tree_of

_BY_REQUEST: Final = """
SELECT r.value, r.system, r.document_id, l.position, l.leaf_hash
FROM posting.posted_record AS r LEFT JOIN posting.signing_log AS l ON l.record_id = r.record_id
WHERE r.request_id = $1 ORDER BY l.position
"""
_BY_DOCUMENT: Final = """
SELECT r.value, r.system, r.document_id, l.position, l.leaf_hash
FROM posting.posted_record AS r LEFT JOIN posting.signing_log AS l ON l.record_id = r.record_id
WHERE r.system = ANY ($1) AND r.document_id = $2 ORDER BY l.position
"""
_SYSTEMS: Final = """
WITH RECURSIVE known AS (
    SELECT min(system) AS system FROM posting.record
    UNION ALL
    SELECT (SELECT min(system) FROM posting.record WHERE system > known.system) FROM known WHERE system IS NOT NULL
)
SELECT system FROM known WHERE system IS NOT NULL
"""
"""A look into the index for each system, of which there are few: no index is by the document alone."""

_COVERING: Final = """
(SELECT note, size FROM monitor.countersigned WHERE size > $1 AND note IS NOT NULL ORDER BY size LIMIT 1)
UNION
(SELECT note, size FROM monitor.countersigned WHERE size > $1 AND note IS NOT NULL ORDER BY size DESC LIMIT 1)
ORDER BY size
"""
"""The first checkpoint that holds a position, and the newest: of a key that was replaced the first may be."""


class ReceiptError(Exception):
    """What is kept makes no receipt; the text says of which document, and why."""


class NotYetError(ReceiptError):
    """It is in no checkpoint that log and witness have signed yet, or in none whose note is kept."""


@dataclass(frozen=True)
class Logged:
    """A record where the log has it; `value` is its canonical form."""

    value: bytes
    document_id: str
    position: int
    leaf: bytes


async def logged(asked: Connection, name: str) -> list[Logged]:
    """What is posted of the request, or of the document, of this name, in the log's order; none when nothing is.

    Raises ReceiptError: a record is not in the log, or the document's id is of several systems.
    """
    rows = []
    if (request := _request_id(name)) is not None:
        rows = await asked.fetch(_BY_REQUEST, request)
    if not rows:
        systems = [row["system"] for row in await asked.fetch(_SYSTEMS)]
        rows = await asked.fetch(_BY_DOCUMENT, systems, name)
        of = {row["system"] for row in rows}
        if len(of) > 1:
            raise ReceiptError(f"{name} is a document of {', '.join(sorted(of))}: name the request")
    for row in rows:
        if row["position"] is None:
            raise ReceiptError(f"{row['document_id']}: its record is not in the signing log")
    return [Logged(row["value"], row["document_id"], row["position"], row["leaf_hash"]) for row in rows]


async def receipts(asked: Connection, documents: Sequence[Logged], keys: Keys) -> AsyncIterator[Json]:
    """record.json of each of these, which are in the log's order. Raises ReceiptError at the first that does not hold.

    A document's checkpoint is the first that was countersigned after it was posted, as it was then: the receipt is the
    one that could be had at that time.
    """
    note, size = "", 0
    at_once: list[Logged] = []
    for document in documents:
        if document.position >= size:
            async for made in _of_one_checkpoint(asked, at_once, note, size):
                yield made
            at_once = []
            note, size = await _covering(asked, document, keys)
        at_once.append(document)
    async for made in _of_one_checkpoint(asked, at_once, note, size):
        yield made


async def _covering(asked: Connection, document: Logged, keys: Keys) -> tuple[str, int]:
    why = "no checkpoint that holds it is countersigned yet, or none whose note is kept"
    for row in await asked.fetch(_COVERING, document.position):
        try:
            said = notes.read(row["note"])
            missing = [key.name for key in (keys.log, keys.witness) if notes.signed_at(row["note"], key) is None]
        except NoteError as error:
            why = f"the checkpoint of size {row['size']} is {error}"
            continue
        if not missing and said.origin == keys.log.name and said.size == row["size"]:
            return row["note"], said.size
        why = f"the checkpoint of size {row['size']} is not signed by the pinned keys ({', '.join(missing)})"
    raise NotYetError(f"{document.document_id}, position {document.position}: {why}")


async def _of_one_checkpoint(
    asked: Connection, documents: Sequence[Logged], note: str, size: int
) -> AsyncIterator[Json]:
    if not documents:
        return
    root = notes.read(note).root
    tree = await tree_of(asked, size, [one.position for one in documents])
    for one in documents:
        where = f"{one.document_id}, position {one.position}"
        if leaf_hash(one.value) != one.leaf:
            raise ReceiptError(f"{where}: the record is not the one that was logged")
        try:
            path = tree.inclusion_path(one.position)
            proven = root_from_path(one.leaf, one.position, size, path) == root
        except MerkleError as error:
            raise ReceiptError(f"{where}: the log's tree is not whole: {error}") from None
        if not proven:
            raise ReceiptError(f"{where}: the log is not what was signed at size {size}")
        yield receipt(_record(one.value), one.position, one.leaf, Inclusion(path, note))


def _record(value: bytes) -> Json:
    record: dict[str, Any] = json.loads(value)
    return record


def _request_id(name: str) -> UUID | None:
    try:
        return UUID(name)
    except ValueError:
        return None


def folder_of(out: Path, record: Json) -> Path:
    """Of a receipt: the document's id for its `sah`, and `<document id>@peraku` beside it: no id has an @."""
    name, action = record["document"]["id"], record["header"]["action"]
    return out / (name if action == "sah" else f"{name}@{action}")
