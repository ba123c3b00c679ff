"""The gateway's tables: requests with their timeline, manifests, challenges. Works in the caller's transaction."""

import json
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from libs.contracts.signing import MediumResolved, OtpDispatched, SealedChallenge
from libs.storage.pool import Connection
from libs.storage.queries import load_queries
from services.gateway.authentication import Caller
from services.gateway.status import Told
from services.gateway.timeline import Advance, merged

SQL = load_queries(Path(__file__).parent / "sql" / "gateway.sql")
MIGRATIONS = Path(__file__).parent / "sql" / "migrations"


async def advance(connection: Connection, advances: Sequence[Advance]) -> None:
    """Move requests on, a whole slice in one statement.

    The rows of the requests stay locked until the transaction ends, so that whoever has seen a `seq` will meet no
    smaller one that is new.
    """
    advances = merged(advances)
    if not advances:
        return
    rows = [(one, place, entry) for one in advances for place, entry in enumerate(reversed(one.entries))]
    await connection.execute(
        SQL["advance"],
        [one.request_id for one in advances],
        [None if one.header is None else json.dumps(dict(one.header)) for one in advances],
        [one.vouched for one in advances],
        [one.medium for one in advances],
        [len(one.entries) for one in advances],
        [one.reached["signed"] for one in advances],
        [one.reached["verified"] for one in advances],
        [one.reached["posted"] for one in advances],
        [one.request_id for one, _, _ in rows],
        [place for _, place, _ in rows],
        [entry.kind for _, _, entry in rows],
        [entry.at for _, _, entry in rows],
        [entry.data.model_dump_json() for _, _, entry in rows],
    )


async def owned_seq(connection: Connection, request_id: UUID, caller: Caller) -> int | None:
    """How far the timeline of this caller's and user's request is; None when there is no such request."""
    row = await connection.fetchrow(SQL["request"], request_id)
    if row is None or row["header"] is None or not caller.owns(json.loads(row["header"])):
        return None
    seq: int = row["seq"]
    return seq


async def told(connection: Connection, request_id: UUID) -> Told | None:
    """What is known of a request; None while nobody has said whose it is."""
    row = await connection.fetchrow(SQL["request"], request_id)
    if row is None or row["header"] is None:
        return None
    rows = await connection.fetch(SQL["told"], request_id, row["seq"])
    return Told(
        request_id=request_id,
        header=json.loads(row["header"]),
        medium=row["medium"],
        seq=row["seq"],
        reached={"signed": row["signed"], "verified": row["verified"], "posted": row["posted"]},
        rows=[(entry["kind"], entry["at"], entry["data"]) for entry in rows],
    )


async def add_manifests(connection: Connection, manifests: Sequence[tuple[MediumResolved, bytes]]) -> None:
    """Keep signed manifests, each with its JSON, and what a resend carries beside it."""
    await connection.executemany(
        SQL["add_manifests"],
        [
            (event.request_id, text, event.requested_at, event.credential_id, event.channels)
            for event, text in manifests
        ],
    )


async def add_challenges(connection: Connection, events: Sequence[OtpDispatched]) -> None:
    """Keep activation challenges."""
    await connection.execute(
        SQL["add_challenges"],
        [event.request_id for event in events],
        [event.number for event in events],
        [event.sealing_key_id for event in events],
        [event.challenge for event in events],
    )


async def manifest(connection: Connection, request_id: UUID) -> bytes | None:
    """The signed manifest of a request as JSON (`SignedManifest`)."""
    text: bytes | None = await connection.fetchval(SQL["manifest"], request_id)
    return text


async def challenges(connection: Connection, request_id: UUID, limit: int) -> tuple[SealedChallenge, ...]:
    """The newest challenges, expired or not: which of them still counts, the signer says by the broker's time."""
    return tuple(
        SealedChallenge(sealing_key_id=row["sealing_key_id"], sealed=row["sealed"])
        for row in await connection.fetch(SQL["challenges"], request_id, limit)
    )
