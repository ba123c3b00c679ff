"""posting's tables: records, the signing log, refusals, requests. Every function works in the caller's transaction."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from pathlib import Path
from uuid import UUID

from libs.contracts.manifest import Header
from libs.contracts.reasons import Reason
from libs.contracts.record import record_id_of
from libs.contracts.signing import PostedDocument, RejectedDocuments, Stage, Verified
from libs.storage.pool import Connection
from libs.storage.queries import load_queries
from services.posting.admission import Certified, Examined

_SQL = load_queries(Path(__file__).parent / "sql" / "posting.sql")

ALL = "*"
"""The document id of a refusal of everything that has no outcome of its own; no document has such an id."""

Key = tuple[UUID, str]
"""A document of a request: (request id, document id)."""


@dataclass
class Request:
    """A request whose row this transaction holds locked; header and documents are None while nobody has said."""

    request_id: UUID
    header: Header | None
    documents: int | None
    posted: int
    refused: int
    completed_at: datetime | None

    @property
    def accounted(self) -> bool:
        """Whether every document has an outcome."""
        return self.documents is not None and self.posted + self.refused >= self.documents


@dataclass(frozen=True, slots=True)
class Refusal:
    """A document that will not be posted, or with ALL for its id: every one without an outcome."""

    request_id: UUID
    document_id: str
    stage: Stage
    reason: Reason
    safe_to_retry: bool


async def lock_requests(connection: Connection, headers: dict[UUID, Header | None]) -> dict[UUID, Request]:
    """Lock these requests until the transaction ends, making rows for new ones."""
    rows = await connection.fetch(
        _SQL["lock_requests"],
        list(headers),
        [header.model_dump_json() if header else None for header in headers.values()],
        [header.documents if header else None for header in headers.values()],
    )
    return {
        row["request_id"]: Request(
            row["request_id"],
            Header.model_validate_json(row["header"]) if row["header"] else None,
            row["documents"],
            row["posted"],
            row["refused"],
            row["completed_at"],
        )
        for row in rows
    }


async def decided(connection: Connection, documents: Collection[Key]) -> set[Key]:
    """Which of these documents are posted, or refused by name."""
    rows = await connection.fetch(
        _SQL["decided"],
        [request_id for request_id, _ in documents],
        [document_id for _, document_id in documents],
        [record_id_of(*document) for document in documents],
    )
    return {(row["request_id"], row["document_id"]) for row in rows}


async def certified(connection: Connection, documents: Collection[tuple[str, str]]) -> dict[tuple[str, str], Certified]:
    """What is posted as `sah` of these (system, document id)."""
    if not documents:
        return {}
    systems, ids = zip(*documents, strict=True)
    return {
        (row["system"], row["document_id"]): Certified(row["user_id"], row["sha256"], row["amount"], row["currency"])
        for row in await connection.fetch(_SQL["certified"], systems, ids)
    }


async def insert_records(
    connection: Connection, documents: Sequence[tuple[Verified, Examined]], posted_at: datetime
) -> set[UUID]:
    """Post documents; returns the record ids. Missing are those whose (system, document, action) is posted already.

    Waits for a transaction that is posting the same. Call it for `sah` before `peraku`: one order for all.
    """
    if not documents:
        return set()
    events = [verified for verified, _ in documents]
    sizes = [len(examined.record) for _, examined in documents]
    rows = await connection.fetch(
        _SQL["insert_records"],
        [examined.record_id for _, examined in documents],
        [event.request_id for event in events],
        [event.index for event in events],
        [event.header.system for event in events],
        [event.entry.id for event in events],
        [event.header.action for event in events],
        [event.header.user for event in events],
        [event.entry.sha256 for event in events],
        [event.entry.amount for event in events],
        [event.entry.currency for event in events],
        list(accumulate(sizes[:-1], initial=0)),
        sizes,
        b"".join([examined.record for _, examined in documents]),
        posted_at,
    )
    return {row["record_id"] for row in rows}


async def append(connection: Connection, leaves: Sequence[tuple[UUID, bytes]]) -> dict[UUID, int]:
    """Append (record id, leaf hash) to the signing log, in this order; returns positions by record id.

    Holds the log's lock until the transaction ends: call it last.
    """
    if not leaves:
        return {}
    await connection.execute(_SQL["lock_log"])
    rows = await connection.fetch(_SQL["append"], [leaf for _, leaf in leaves], [record for record, _ in leaves])
    return {row["record_id"]: row["position"] for row in rows}


async def refuse(connection: Connection, refusals: Sequence[Refusal]) -> list[Key]:
    """Refuse documents; returns those that were not refused before. The first of two for one document counts."""
    if not refusals:
        return []
    rows = await connection.fetch(
        _SQL["refuse"],
        [refusal.request_id for refusal in refusals],
        [refusal.document_id for refusal in refusals],
        [refusal.stage for refusal in refusals],
        [refusal.reason for refusal in refusals],
        [refusal.safe_to_retry for refusal in refusals],
    )
    return [(row["request_id"], row["document_id"]) for row in rows]


async def write_counts(connection: Connection, requests: Iterable[Request]) -> None:
    """Write the counts of locked requests."""
    requests = list(requests)
    await connection.execute(
        _SQL["count"],
        [request.request_id for request in requests],
        [request.posted for request in requests],
        [request.refused for request in requests],
        [request.completed_at for request in requests],
    )


async def posted_documents(connection: Connection, request_id: UUID) -> tuple[PostedDocument, ...]:
    """What is posted of a request, in the manifest's order."""
    rows = await connection.fetch(_SQL["posted_documents"], request_id)
    return tuple(PostedDocument(document_id=row["document_id"], record_id=row["record_id"]) for row in rows)


async def refused_documents(connection: Connection, request_id: UUID) -> tuple[RejectedDocuments, ...]:
    """What is refused of a request, by cause."""
    return tuple(
        RejectedDocuments(
            documents=None if row["documents"] == [ALL] else tuple(row["documents"]),
            stage=row["stage"],
            reason=Reason(row["reason"]),
            safe_to_retry=row["safe_to_retry"],
        )
        for row in await connection.fetch(_SQL["refused_documents"], request_id)
    )
