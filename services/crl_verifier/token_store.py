"""crl_verifier's tables of token requests: the request until its end, and each document until its first outcome."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal
from uuid import UUID

from libs.contracts.manifest import Header, Manifest
from libs.contracts.reasons import Reason
from libs.storage.pool import Connection
from libs.storage.queries import load_queries

_SQL = load_queries(Path(__file__).parent / "sql" / "token.sql")

State = Literal["open", "waiting", "verified", "rejected"]
"""`waiting`: a signature is here, and waits for a CRL. The last two are final."""

Key = tuple[UUID, str]
"""(request, document)."""


@dataclass(frozen=True)
class Request:
    """A token request; `expires_at` is until when signatures are taken, by the broker's time."""

    request_id: UUID
    credential_id: UUID
    root: bytes
    header: Header
    expires_at: datetime
    end_reason: Reason | None


async def add_request(
    connection: Connection, manifest: Manifest, *, credential_id: UUID, root: bytes, expires_at: datetime
) -> None:
    """Keep a request that is new; one that is there already stays as it is. Call it under the request's cancel lock."""
    header = manifest.header
    arguments = header.request_id, credential_id, root, header.model_dump_json(), expires_at
    if await connection.fetchval(_SQL["add_request"], *arguments):
        ids = [document.id for document in manifest.documents]
        await connection.execute(_SQL["add_documents"], header.request_id, ids)


async def lock_requests(connection: Connection, request_ids: Iterable[UUID]) -> dict[UUID, Request]:
    """The rows of these requests, as far as they are known, locked until the transaction ends."""
    rows = await connection.fetch(_SQL["lock_requests"], list(set(request_ids)))
    return {
        row["request_id"]: Request(
            row["request_id"],
            row["credential_id"],
            row["root"],
            Header.model_validate_json(row["header"]),
            row["expires_at"],
            None if row["end_reason"] is None else Reason(row["end_reason"]),
        )
        for row in rows
    }


async def lock_request(connection: Connection, request_id: UUID) -> Request | None:
    """The row of one request, likewise."""
    return (await lock_requests(connection, [request_id])).get(request_id)


async def documents(connection: Connection, keys: Collection[Key]) -> dict[Key, State]:
    """How far these documents of locked requests are; what no request of ours has is missing."""
    if not keys:
        return {}
    requests, names = zip(*keys, strict=True)
    rows = await connection.fetch(_SQL["documents"], requests, names)
    return {(row["request_id"], row["document_id"]): row["state"] for row in rows}


async def unsigned(connection: Connection, request_ids: Collection[UUID], now: datetime) -> dict[Key, datetime]:
    """What is open of these requests, as far as they have not ended and take no signatures any more, and since when."""
    rows = await connection.fetch(_SQL["unsigned"], list(request_ids), now)
    return {(row["request_id"], row["document_id"]): row["expires_at"] for row in rows}


async def mark(connection: Connection, states: Mapping[Key, State]) -> None:
    """Keep how far documents of locked requests are now."""
    if states:
        requests, names = zip(*states, strict=True)
        await connection.execute(_SQL["mark"], requests, names, list(states.values()))


async def expire_rest(connection: Connection, request_id: UUID) -> tuple[list[str], bool]:
    """Reject what no signature that is here may still decide; returns those documents in the manifest's order, and
    whether others are left.
    """
    rest = [row["document_id"] for row in await connection.fetch(_SQL["expire_rest"], request_id)]
    return rest, await connection.fetchval(_SQL["undecided"], request_id)


async def reject_rest(connection: Connection, request_id: UUID, states: Collection[State]) -> list[str]:
    """Reject what is in one of these states; returns the documents' ids, in the manifest's order."""
    return [row["document_id"] for row in await connection.fetch(_SQL["reject_rest"], request_id, list(states))]


async def end_request(connection: Connection, request_id: UUID, reason: Reason) -> None:
    """What has ended stays ended, for the first reason."""
    await connection.execute(_SQL["end_request"], request_id, reason)
