"""Reads what an audit compares: the topics first, then posting's tables, so that what was told must be kept."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self
from uuid import UUID

from aiokafka import TopicPartition
from pydantic import ValidationError
from pydantic_core import from_json

from libs.bus.reader import Raw, partitions_of
from libs.contracts import topics
from libs.contracts.log import LOG_KEY_FILE, WITNESS_KEY_FILE, CheckpointCountersigned
from libs.contracts.signing import Posted, Rejected
from libs.contracts.topics import Topic
from libs.crypto import notes
from libs.crypto.notes import NoteError, NoteKey, read_key
from libs.runtime.clock import Clock
from libs.runtime.kafka_access import KafkaAccess
from libs.storage.pool import Connection
from services.operations.auditing import ALL, Audit, Kept, Key, Row, Signed, Told, Topics, first_whole
from services.operations.database import Database, connection
from services.operations.reading import consumer, until_end
from services.operations.terminal import escaped

CONNECT_SECONDS: Final = 5.0
PAGE: Final = 1_000
"""Rows that are in memory at once."""

READ: Final = (topics.SIGNED, topics.TOKEN_SIGNED, topics.POSTED, topics.REJECTED, topics.LOG_COUNTERSIGNED)

_ROWS: Final = """
SELECT l.position, l.leaf_hash, coalesce(l.record_id, r.record_id) AS record_id, r.record_id IS NOT NULL AS kept,
    r.request_id, r.place, r.system, r.document_id, r.action, r.user_id, r.sha256, r.amount, r.currency, r.value,
    r.posted_at
FROM posting.signing_log AS l FULL JOIN posting.posted_record AS r ON r.record_id = l.record_id
ORDER BY l.position NULLS LAST, r.record_id
"""


@dataclass(frozen=True)
class Keys:
    """The verifier keys that are pinned: the log's and its witness's."""

    log: NoteKey
    witness: NoteKey

    @classmethod
    def read(cls, pki: Path) -> Self:
        """From their files. Raises OSError, NoteError."""
        log, witness = ((pki / name).read_text(encoding="utf-8") for name in (LOG_KEY_FILE, WITNESS_KEY_FILE))
        return cls(read_key(log), read_key(witness))


async def audit(
    kafka: KafkaAccess,
    database: Database,
    clock: Clock,
    *,
    keys: Keys,
    late: timedelta,
    known: Sequence[Signed] = (),
) -> Audit:
    """Compare. Raises KafkaError, or what asyncpg raises, when one of the two cannot be asked.

    Memory: some 0.5 KB per document that is on the topics, which is 14 days of them, and as much per checkpoint.
    """
    told = await _topics(kafka, clock)
    told.countersigned, told.unsigned = _countersigned(told.notes, keys)
    async with (
        connection(database, as_name="gpki audit", seconds=CONNECT_SECONDS) as asked,
        asked.transaction(isolation="repeatable_read", readonly=True),  # one moment of it for all questions
    ):
        refused = {(row["request_id"], row["document_id"]) for row in await asked.fetch(_REFUSALS)}
        checkpoints = [_kept(dict(row), keys) for row in await asked.fetch(_CHECKPOINTS)]
        found = Audit(told, refused, late=late, checkpoints=checkpoints, known=known)
        found.beginnings = [_told(dict(row)) for row in await asked.fetch(_BEGINNINGS, keys.log.name)]
        async for row in _rows(asked):
            found.take(row)
    found.end()
    return found


_CHECKPOINTS: Final = "SELECT size, previous, root, note FROM posting.checkpoint ORDER BY size"

_BEGINNINGS: Final = """
SELECT size, previous, reason, by, at FROM monitor.witness_beginning WHERE origin = $1 ORDER BY size
"""

_REFUSALS: Final = "SELECT request_id, document_id FROM posting.refusal"


def _told(row: Mapping[str, Any]) -> str:
    """Where the witness was away, and who had it go on: of these positions there is the log's word alone."""
    said = f"positions {row['previous']} to {row['size'] - 1}, {row['at']:%Y-%m-%d %H:%M:%S}Z by {row['by']}"
    return escaped(f"{said}: {row['reason']}")


def _kept(row: Mapping[str, Any], keys: Keys) -> Kept:
    """A row is believed by its note alone: the columns must say the same."""
    try:
        said = notes.read(row["note"])
        signed = notes.signed_at(row["note"], keys.log) is not None
    except NoteError:
        signed = False
    signed = signed and (said.origin, said.size, said.root) == (keys.log.name, row["size"], row["root"])
    return Kept(row["size"], row["previous"], row["root"], signed)


def _countersigned(found: Sequence[str], keys: Keys) -> tuple[list[Signed], int]:
    """What log and witness have both signed of this log, and how many notes are not so."""
    good, bad = [], 0
    for note in found:
        try:
            said = notes.read(note)
            both = all(notes.signed_at(note, key) is not None for key in (keys.log, keys.witness))
        except NoteError:
            both = False
        if both and said.origin == keys.log.name:
            good.append(Signed(said.size, said.root, "a countersigned checkpoint"))
        else:
            bad += 1
    return good, bad


async def _rows(asked: Connection) -> AsyncIterator[Row]:
    async for row in asked.cursor(_ROWS, prefetch=PAGE):
        record = dict(row) if row["kept"] else None
        yield Row(row["position"], row["leaf_hash"], row["record_id"], record)


async def _topics(kafka: KafkaAccess, clock: Clock) -> Topics:
    places = partitions_of(READ)
    async with consumer(kafka, places) as reader:
        told = Topics(at=clock())
        begins = await reader.beginning_offsets(places)
        for place, offset in begins.items():
            reader.seek(place, offset)
        firsts: dict[TopicPartition, datetime] = {}
        async for record in until_end(reader):
            firsts.setdefault(TopicPartition(record.topic, record.partition), _at(record))
            _take(told, record)
        told.signed_since = first_whole(_firsts(topics.SIGNED, begins, firsts), told.at)
        told.posted_since = first_whole(_firsts(topics.POSTED, begins, firsts), told.at)
    return told


def _firsts(
    topic: Topic, begins: dict[TopicPartition, int], firsts: dict[TopicPartition, datetime]
) -> list[tuple[int, datetime | None]]:
    return [(begins[place], firsts.get(place)) for place in partitions_of([topic])]


def _take(told: Topics, record: Raw) -> None:
    """What is no event of its topic tells nothing: its dead letter tells of it."""
    try:
        _TAKING[record.topic](told, record)
    except (ValidationError, ValueError, KeyError, TypeError, AttributeError):
        return


def _signed(told: Topics, record: Raw) -> None:
    told.signed.setdefault(_key(record), _at(record))


def _token_signed(told: Topics, record: Raw) -> None:
    told.token_signed.setdefault(_key(record), _at(record))


def _posted(told: Topics, record: Raw) -> None:
    event = Posted.model_validate_json(record.value or b"")
    one = Told(event.record_id, event.log_position, event.leaf_hash)
    told.posted.setdefault((event.request_id, event.document_id), one)


def _rejected(told: Topics, record: Raw) -> None:
    event = Rejected.model_validate_json(record.value or b"")
    names = (ALL,) if event.documents is None else event.documents
    told.rejected |= {(event.request_id, name) for name in names}


def _noted(told: Topics, record: Raw) -> None:
    told.notes.append(CheckpointCountersigned.model_validate_json(record.value or b"").note)


_TAKING: Final[dict[str, Any]] = {
    topics.SIGNED.name: _signed,
    topics.TOKEN_SIGNED.name: _token_signed,
    topics.POSTED.name: _posted,
    topics.REJECTED.name: _rejected,
    topics.LOG_COUNTERSIGNED.name: _noted,
}


def _key(record: Raw) -> Key:
    return UUID(from_json(record.value or b"")["request_id"]), (record.key or b"").decode()


def _at(record: Raw) -> datetime:
    return datetime.fromtimestamp(record.timestamp / 1000, UTC)
