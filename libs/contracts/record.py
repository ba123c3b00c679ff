"""The record of a posted document: its canonical form, its leaf in the signing log, and how to check it offline."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from pydantic_core import to_json

from libs.contracts.base import Exact, Part
from libs.contracts.ids import event_id_of
from libs.contracts.manifest import DOCUMENT_FIELDS, root_of_document
from libs.contracts.signing import Posted, Verified
from libs.crypto.merkle import leaf_hash

RECORD_TYPE = "gpki.record.v1"
"""First member of every record: no other JSON of ours can be taken for one."""

SIGNATURE_FILE = "signature.p7s"
DOCUMENT_FILE = "document"
TRUST_FILE = "trust.pem"
"""Files beside record.json: the CMS in DER, the document's bytes, root + issuing CA + consulted CRLs in PEM."""

_DOCUMENT_NAMES = sorted(DOCUMENT_FIELDS)

Json = dict[str, Any]
"""A JSON object."""


class EvidenceError(ValueError):
    """Events that do not belong together, or a record that is not the one in the log."""


def record_id_of(request_id: UUID, document_id: str) -> UUID:
    """The id of a record: one per document of a request, whoever computes it."""
    return event_id_of(RECORD_TYPE, request_id, document_id)


def record_of(verified: Verified, *, root: bytes, posted_at: datetime) -> Json:
    """The record: every value a text, or a list or an object of texts; bytes in hex, the CMS in base64, times in UTC.

    Names stand in the order of the canonical form. `root` is what header, entry, index and path prove
    (`root_of_document`).
    """
    return {
        "authorisation": dict(_texts(verified.authorisation)),
        "certificate_path": list(verified.certificate_path),
        "cms": base64.b64encode(verified.cms).decode("ascii"),
        "crls": [
            {
                "issuer": crl.issuer,
                "next_update": _time(crl.next_update),
                "number": str(crl.number),  # up to 160 bits: as a JSON number it would lose some
                "this_update": _time(crl.this_update),
            }
            for crl in verified.crls
        ],
        "document": {name: getattr(verified.entry, name) for name in _DOCUMENT_NAMES},
        "header": dict(_texts(verified.header)),
        "index": str(verified.index),
        "path": [sibling.hex() for sibling in verified.path],
        "posted_at": _time(posted_at),
        "record_id": str(record_id_of(verified.request_id, verified.entry.id)),
        "request_id": str(verified.request_id),
        "root": root.hex(),
        "signed_at": _time(verified.signed_at),
        "type": RECORD_TYPE,
        "verified_at": _time(verified.verified_at),
    }


def canonical_record(record: Json) -> bytes:
    """The canonical form (RFC 8785) of a record as `record_of` orders it.

    For ASCII names in order and values that are texts, pydantic's encoder writes exactly that, ten times as fast
    (tested against rfc8785).
    """
    return to_json(record)


@dataclass(frozen=True)
class Inclusion:
    """That a leaf is in the signing log: its audit path in the tree of a countersigned checkpoint (a signed note)."""

    path: Sequence[bytes]
    checkpoint: str


def evidence(verified: Verified, posted: Posted, inclusion: Inclusion | None = None) -> Json:
    """The content of record.json, the receipt of a document: the record, its place in the signing log with the proof
    of it, and the command that checks the signature.

    Offline: SHA-256(0x00 ‖ JCS(this object without `log_position`, `leaf_hash`, `inclusion`, `openssl`)) is
    `leaf_hash`, `inclusion` leads from there to a root that log and witness have signed, and `openssl`, run beside the
    other three files, verifies the CMS over the document's bytes. Raises EvidenceError when the events are not of one
    document, or the record that they make is not the one that was logged.
    """
    try:
        root = root_of_document(verified.header, verified.entry, verified.index, verified.path)
    except ValueError:
        raise EvidenceError("the path proves no root") from None
    record = record_of(verified, root=root, posted_at=posted.posted_at)
    if str(posted.record_id) != record["record_id"] or leaf_hash(canonical_record(record)) != posted.leaf_hash:
        raise EvidenceError("not the record in the signing log")
    return receipt(record, posted.log_position, posted.leaf_hash, inclusion)


def receipt(record: Json, log_position: int, leaf: bytes, inclusion: Inclusion | None = None) -> Json:
    """The content of record.json, of a record as it was logged. Whether the leaf is the record's is not judged."""
    return {
        **record,
        "log_position": log_position,
        "leaf_hash": leaf.hex(),
        **({"inclusion": _inclusion(inclusion)} if inclusion else {}),
        "openssl": openssl_command(record),
    }


def _inclusion(inclusion: Inclusion) -> Json:
    return {"path": [node.hex() for node in inclusion.path], "checkpoint": inclusion.checkpoint}


def openssl_command(record: Json) -> str:
    """The command that verifies the signature with nobody's code but OpenSSL's, whenever it is run.

    `-attime` is the first moment at which the signature was there and the consulted CRLs were in force.
    """
    times = [record["signed_at"], *(crl["this_update"] for crl in record["crls"])]
    moment = max(map(datetime.fromisoformat, times))
    return (
        f"openssl cms -verify -binary -inform DER -in {SIGNATURE_FILE} -content {DOCUMENT_FILE} -CAfile {TRUST_FILE} "
        f"-crl_check -purpose any -attime {int(moment.timestamp())}"
    )


# Kept: documents of one request and of one slice have these in common.
@lru_cache(maxsize=1024)
def _texts(part: Part | Exact) -> dict[str, str]:
    return dict(sorted(part.model_dump().items()))


@lru_cache(maxsize=1024)
def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
