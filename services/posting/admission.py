"""May this document be posted: the signature checked once more, and four eyes (design section 5)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from libs.contracts.document_signature import CheckedSignature, check_signature
from libs.contracts.reasons import Reason
from libs.contracts.record import canonical_record, record_id_of, record_of
from libs.contracts.signing import Verified
from libs.crypto.merkle import leaf_hash


@dataclass(frozen=True, slots=True)
class Examined:
    """A document whose signature holds: the certificate that made it, and its record as it would be posted."""

    fingerprint: bytes
    record_id: UUID
    record: bytes
    leaf_hash: bytes


@dataclass(frozen=True, slots=True)
class Certified:
    """What was posted as `sah`: by whom, and which content."""

    user: str
    sha256: str
    amount: str
    currency: str


class Contradiction(StrEnum):
    """How a posted `sah` contradicts a `peraku`; goes into `rejected` as its detail."""

    SAME_USER = "sah-by-same-user"
    OTHER_CONTENT = "sah-of-other-content"


def examine(documents: Sequence[Verified], posted_at: datetime) -> list[Examined | Reason]:
    """Check signatures and make records, in order. Pure CPU, about 170 µs a document: call it off the event loop."""
    return [_examine(verified, posted_at) for verified in documents]


def contradiction(peraku: Verified, sah: Certified) -> Contradiction | None:
    """Whether a `peraku` is of other content than the posted `sah`, or by the same user; None when they agree."""
    entry = peraku.entry
    if (sah.sha256, sah.amount, sah.currency) != (entry.sha256, entry.amount, entry.currency):
        return Contradiction.OTHER_CONTENT
    return Contradiction.SAME_USER if sah.user == peraku.header.user else None


def _examine(verified: Verified, posted_at: datetime) -> Examined | Reason:
    checked = check_signature(verified)
    if not isinstance(checked, CheckedSignature):
        return checked
    if verified.certificate_path[:1] != (checked.fingerprint.hex(),):
        return Reason.CERTIFICATE_MISMATCH  # what was verified is not what signed
    record = canonical_record(record_of(verified, root=checked.root, posted_at=posted_at))
    record_id = record_id_of(verified.request_id, verified.entry.id)
    return Examined(checked.fingerprint, record_id, record, leaf_hash(record))
