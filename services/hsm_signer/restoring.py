"""Put a backup in the place of custody, with what Kafka tells since: nothing that was taken away comes back (I-51)."""

import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID

from libs.bus.signing import Sign
from libs.contracts import topics
from libs.contracts.cloudevents import encode_with_id
from libs.contracts.custody import RestoreOrder
from libs.contracts.ids import event_id_of
from libs.contracts.reasons import Reason
from libs.contracts.signing import MediumResolved, Rejected
from libs.contracts.state import Certificate
from libs.hsm.hsm import Hsm
from libs.storage import ledger
from libs.storage.pool import Connection
from libs.storage.queries import load_queries
from services.hsm_signer import limits, store
from services.hsm_signer.backup_file import BackedUpCredential, Backup, Place
from services.hsm_signer.replay import Told

WRITE_SECONDS: Final = 600.0
"""For the statement that writes all credentials."""

NO_KEY_BYTES: Final = 64
"""Of chance, where the private key of a sealing key was: they decrypt to nothing."""

_SQL = load_queries(Path(__file__).parent / "sql" / "restore.sql")
_HISTORY = load_queries(Path(__file__).parent / "sql" / "history.sql")


@dataclass(frozen=True)
class Restored:
    """How many credentials there are; of how many the key is gone for good; how many are locked."""

    credentials: int
    destroyed: int
    locked: int
    rejected: int
    """Requests that were open."""


async def take(connection: Connection) -> Backup:
    """Custody as it is now; in a transaction that sees one moment (REPEATABLE READ)."""
    return Backup(
        made_at=await connection.fetchval(_SQL["made_at"]),
        history=tuple(Place.model_validate(dict(row)) for row in await connection.fetch(_SQL["history"])),
        custody_keys=tuple(row["label"] for row in await connection.fetch(_SQL["custody_keys"])),
        destroyed_keys=tuple(row["label"] for row in await connection.fetch(_SQL["destroyed_keys"])),
        credentials=tuple(
            BackedUpCredential.model_validate(dict(row)) for row in await connection.fetch(_SQL["credentials"])
        ),
    )


async def lock(connection: Connection) -> None:
    """Nobody takes a slot and no other restore begins until the transaction has ended."""
    await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")  # Kafka and the HSM are asked in it
    await connection.execute(_SQL["lock"])


async def follow(connection: Connection, order: RestoreOrder) -> None:
    """Keep that it was followed."""
    await connection.execute(_SQL["followed"], order.order, order.backup_sha256)


async def missing_keys(hsm: Hsm, backup: Backup) -> set[str]:
    """Of the HSM's keys that the backup names, those that the HSM has no more. Raises HsmUnavailable."""
    return {*backup.destroyed_keys, *[one for one in backup.custody_keys if not await hsm.has_secret_key(one)]}


async def put(
    connection: Connection, backup: Backup, told: Told, missing: set[str], *, service: str, sign: Sign
) -> int:
    """Write everything, in the caller's transaction; returns how many requests were open. Raises Unavailable."""
    await connection.execute(_SQL["keep_destroyed"], sorted(missing))
    await connection.execute(_SQL["know"], [label for label in backup.custody_keys if label not in missing])
    now: datetime = await connection.fetchval(_SQL["made_at"])
    await connection.executemany(
        _SQL["put"], [_row(one, missing, now) for one in backup.credentials], timeout=WRITE_SECONDS
    )
    await store.destroy_credentials(connection, [*told.changed, *await _revoked(connection)])
    await connection.execute(
        _SQL["limit_tries"],
        json.dumps({str(credential): count for credential, count in told.wrong_pins.items()}),
        list(told.locked),
        limits.WRONG_PINS_IN_A_ROW,
        told.of_nobody > 0,
    )
    await connection.executemany(_SQL["put_wrong_code"], told.wrong_codes)
    await connection.executemany(_SQL["put_unlock"], told.unlocks)
    lost = [key for key in told.sealing_keys.values() if key.retired_at is None and key.owner == service]
    await connection.executemany(
        _SQL["put_sealing_key"], [(key.key_id, key.chain, secrets.token_bytes(NO_KEY_BYTES)) for key in lost]
    )
    open_requests = await _end(connection, told)
    await _reject(connection, told, open_requests, now, service=service, sign=sign)
    await connection.execute(
        _HISTORY["begin_anew"],
        [place.topic for place in told.ends],
        [place.partition for place in told.ends],
        list(told.ends.values()),
    )
    return len(open_requests)


async def counted(connection: Connection, rejected: int) -> Restored:
    """What custody is now."""
    row = await connection.fetchrow(_SQL["counted"])
    assert row is not None
    return Restored(row["credentials"], row["destroyed"], row["locked"], rejected)


def _row(one: BackedUpCredential, missing: set[str], now: datetime) -> tuple[object, ...]:
    """Of a credential; without its key, if the HSM's key over it is gone."""
    gone = one.wrapped is None or {one.wrapping_key, one.pepper} & missing
    return (
        one.credential_id,
        one.user_id,
        one.algorithm,
        None if gone else one.wrapped,
        one.salt,
        None if gone else one.wrapping_key,
        None if gone else one.pepper,
        one.memory_kib,
        one.iterations,
        one.parallelism,
        one.wrong_pins,
        one.locked_at,
        (one.destroyed_at or now) if gone else None,
        one.created_at,
    )


async def _revoked(connection: Connection) -> list[UUID]:
    """What is known here already; what is not is read from Kafka before the signer takes a request (I-8)."""
    rows = await connection.fetch(_SQL["revoked"])
    return [row["credential_id"] for row in rows if Certificate.model_validate_json(row["value"]).status == "revoked"]


async def _end(connection: Connection, told: Told) -> list[MediumResolved]:
    """Every request that there was is known and has ended; returns those that nobody has told the end of."""
    was_open = []
    for event in told.requests.values():
        header, reason = event.signed.manifest.header, Reason.AUTHORISATION_EXPIRED
        root = event.signed.manifest.commitment().root
        values = (event.request_id, event.credential_id, root, header.model_dump_json(), event.requested_at, reason)
        ended_now = await connection.fetchval(_SQL["put_request"], *values)
        await connection.execute(_SQL["reject_documents"], event.request_id)
        if ended_now and event.request_id not in told.completed:
            was_open.append(event)
    return was_open


async def _reject(
    connection: Connection, told: Told, requests: Iterable[MediumResolved], now: datetime, *, service: str, sign: Sign
) -> None:
    """Record the refusal of what is not signed of them; the signer publishes it a minute after it starts."""
    outcomes = []
    for event in requests:
        manifest, signed = event.signed.manifest, told.signed.get(event.request_id, set())
        left = tuple(document.id for document in manifest.documents if document.id not in signed)
        if not left:
            continue
        reason = Reason.AUTHORISATION_EXPIRED
        rejected = Rejected(
            request_id=event.request_id,
            header=manifest.header,
            documents=left if signed else None,
            stage="hsm_signer",
            reason=reason,
            safe_to_retry=reason.safe_to_retry,
        )
        identifier, record = encode_with_id(topics.REJECTED, rejected, source=service, time=now)
        cause = event_id_of("restored", event.request_id)
        outcomes.append(ledger.Outcome(identifier, cause, sign(topics.REJECTED, record)))
    await ledger.record(connection, outcomes)
