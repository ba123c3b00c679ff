"""The signer's tables: credentials, requests, attempts, reserved documents."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from uuid import UUID

import asyncpg

from libs.contracts.manifest import Header
from libs.contracts.reasons import Reason
from libs.contracts.state import Certificate
from libs.crypto.credential import Argon2Parameters
from libs.storage import cancels
from libs.storage.pool import Connection
from libs.storage.queries import load_queries
from services.hsm_signer import limits
from services.hsm_signer.authorisation import Counts
from services.hsm_signer.custody import Credential, Protection

_SQL = load_queries(Path(__file__).parent / "sql" / "signer.sql")


@dataclass(frozen=True)
class Kept:
    """A credential with its counters. `credential` is None once the key was destroyed."""

    credential: Credential | None
    wrong_pins: int
    locked: bool


@dataclass(frozen=True)
class Request:
    """One request as the signer keeps it. `attempt` is the one that authorised it; `credential_id` is None only where
    the request ended because nobody knew its credential.
    """

    request_id: UUID
    credential_id: UUID | None
    root: bytes
    header: Header
    requested_at: datetime
    expires_at: datetime
    wrong_otps: int
    wrong_pins: int
    end_reason: Reason | None
    attempt: str | None
    reserved_at: datetime | None
    channel: str | None
    reference_code: str | None


async def lock_credential(connection: Connection, credential_id: UUID) -> Kept | None:
    """Lock first the credential, then the request: always in this order."""
    row = await connection.fetchrow(_SQL["lock_credential"], credential_id)
    if row is None:
        return None
    credential = None
    if row["wrapped"] is not None:
        parameters = Argon2Parameters(row["memory_kib"], row["iterations"], row["parallelism"])
        protection = Protection(row["wrapping_key"], row["pepper"], parameters)
        credential = Credential(
            row["credential_id"], row["user_id"], row["algorithm"], row["salt"], protection, row["wrapped"]
        )
    return Kept(credential, row["wrong_pins"], row["locked_at"] is not None)


async def add_credential(connection: Connection, credential: Credential) -> None:
    """Keep a new credential; one that is there already stays."""
    await connection.execute(
        _SQL["add_credential"],
        credential.credential_id,
        credential.user_id,
        credential.algorithm,
        *_sealed(credential),
    )


async def seal_again(connection: Connection, old: Credential, new: Credential) -> bool:
    """Keep `new` in place of the very `old` that was opened; False when that is no longer what is kept.

    A PIN that was changed meanwhile, or a key that was destroyed, is not undone by an attempt that began before.
    """
    done = await connection.execute(_SQL["seal_again"], old.credential_id, old.wrapped, *_sealed(new))
    return str(done) == "UPDATE 1"


async def has_credential(connection: Connection, credential_id: UUID) -> bool:
    """Whether this credential was made before."""
    return bool(await connection.fetchval(_SQL["has_credential"], credential_id))


async def destroy_credentials(connection: Connection, credential_ids: Sequence[UUID]) -> None:
    """Destroy wrapped keys for good: revocation is final."""
    await connection.execute(_SQL["destroy_credentials"], credential_ids)


async def add_request(
    connection: Connection, header: Header, *, credential_id: UUID | None, root: bytes, requested_at: datetime
) -> None:
    """Keep a request that is new, under its cancel lock; one that is there already stays as it is."""
    await cancels.lock(connection, header.request_id)
    expires_at = requested_at + limits.UNDISPATCHED_EXPIRY
    await connection.execute(
        _SQL["add_request"], header.request_id, credential_id, root, header.model_dump_json(), requested_at, expires_at
    )


async def lock_request(connection: Connection, request_id: UUID) -> Request | None:
    """The request's row, locked until the transaction ends."""
    return _request(await connection.fetchrow(_SQL["lock_request"], request_id))


async def read_request(connection: Connection, request_id: UUID) -> Request | None:
    """The request's row, as it stands."""
    return _request(await connection.fetchrow(_SQL["request"], request_id))


async def code_dispatched(connection: Connection, request_id: UUID, until: datetime) -> datetime | None:
    """A code lives until then, and the request at least as long; returns when it expires, None if it is not known."""
    expires: datetime | None = await connection.fetchval(_SQL["code_dispatched"], request_id, until)
    return expires


async def unanswered(connection: Connection, request_ids: Sequence[UUID], now: datetime) -> dict[UUID, datetime]:
    """Of these requests, those whose time is over without an authorisation or an end, and when it was."""
    rows = await connection.fetch(_SQL["unanswered"], request_ids, now)
    return {row["request_id"]: row["expires_at"] for row in rows}


async def end_request(connection: Connection, request_id: UUID, reason: Reason) -> None:
    """What has ended stays ended, for the first reason."""
    await connection.execute(_SQL["end_request"], request_id, reason)


async def take_slot(connection: Connection, request_id: UUID, credential_id: UUID, attempt: str) -> None:
    """Record an attempt before anything is tried; a repeat of the same blob in this request is the same attempt.

    `request_id` is the request's, or the id of a change of the PIN.
    """
    await connection.execute(_SQL["take_slot"], request_id, attempt, credential_id)


async def attempt_state(connection: Connection, request_id: UUID, attempt: str) -> str | None:
    """What became of an attempt, None if it is new."""
    state: str | None = await connection.fetchval(_SQL["attempt_state"], request_id, attempt)
    return state


async def counts(connection: Connection, request: Request, kept: Kept, attempt: str) -> Counts:
    """What was wrong so far, and how many other attempts are being tried now."""
    of_credential = await _counts_of_credential(connection, kept, request.credential_id, request.request_id, attempt)
    return replace(of_credential, wrong_otps=request.wrong_otps, wrong_pins=request.wrong_pins)


async def counts_of_change(
    connection: Connection, kept: Kept, credential_id: UUID, change: UUID, attempt: str
) -> Counts:
    """The same for a change of the PIN, which has no code: neither wrong ones nor their hold stop it."""
    of_credential = await _counts_of_credential(connection, kept, credential_id, change, attempt)
    return replace(of_credential, wrong_otps_of_day=0, held_until=None)


async def _counts_of_credential(
    connection: Connection, kept: Kept, credential_id: UUID | None, request_id: UUID, attempt: str
) -> Counts:
    row = await connection.fetchrow(
        _SQL["pending"],
        credential_id,
        request_id,
        attempt,
        limits.TRY_WITHIN,
        limits.DAY,
        limits.WRONG_OTPS_OF_DAY,
    )
    assert row is not None
    in_a_row = max(kept.wrong_pins, limits.WRONG_PINS_IN_A_ROW if kept.locked else 0)
    return Counts(0, 0, in_a_row, row["of_request"], row["of_credential"], row["wrong_otps_of_day"], row["held_until"])


async def decide_attempt(connection: Connection, request_id: UUID, attempt: str, state: str) -> bool:
    """Decide a pending attempt; False when it was decided before, or never taken. A void one may still prove wrong."""
    return str(await connection.execute(_SQL["decide_attempt"], request_id, attempt, state)) == "UPDATE 1"


async def last_taken(connection: Connection) -> datetime | None:
    """When any replica last took a slot."""
    taken: datetime | None = await connection.fetchval(_SQL["last_taken"])
    return taken


async def count_wrong_otp(connection: Connection, request: Request, counts: Counts) -> Counts:
    """One more wrong code of this request; of the day it is counted by its attempt."""
    return replace(counts, wrong_otps=await connection.fetchval(_SQL["count_wrong_otp"], request.request_id))


async def count_wrong_pin(connection: Connection, request: Request) -> Counts:
    """One more wrong PIN, of this request and in a row; the last one in a row locks the credential."""
    of_request = await connection.fetchval(_SQL["count_wrong_pin_of_request"], request.request_id)
    return Counts(request.wrong_otps, of_request, await count_wrong_pin_in_a_row(connection, request.credential_id))


async def count_wrong_pin_in_a_row(connection: Connection, credential_id: UUID | None) -> int:
    """One more wrong PIN of this credential; returns how many there are, the last of which locks it."""
    in_a_row: int = await connection.fetchval(
        _SQL["count_wrong_pin_of_credential"], credential_id, limits.WRONG_PINS_IN_A_ROW
    )
    return in_a_row


async def forget_wrong_pins(connection: Connection, credential_id: UUID) -> None:
    """A right PIN ends the row."""
    await connection.execute(_SQL["forget_wrong_pins"], credential_id)


async def authorise(
    connection: Connection,
    request: Request,
    *,
    attempt: str,
    reserved_at: datetime,
    channel: str,
    reference_code: str,
    documents: Sequence[str],
) -> None:
    """Reserve all documents under this attempt, and forget the wrong PINs before it."""
    await connection.execute(_SQL["authorise"], request.request_id, attempt, reserved_at, channel, reference_code)
    await connection.execute(_SQL["reserve_documents"], request.request_id, documents)
    assert request.credential_id is not None
    await forget_wrong_pins(connection, request.credential_id)


async def next_slice(
    connection: Connection, request_id: UUID, credential_id: UUID, limit: int, *, after: int
) -> tuple[list[int], Reason | None, Certificate | None]:
    """Indexes above `after` that are reserved and not signed, lowest first; why the request ended; its certificate."""
    row = await connection.fetchrow(_SQL["next_slice"], request_id, limit, after, credential_id)
    assert row is not None
    return (
        row["indexes"],
        None if row["end_reason"] is None else Reason(row["end_reason"]),
        None if row["certificate"] is None else Certificate.model_validate_json(row["certificate"]),
    )


async def mark_signed(connection: Connection, request_id: UUID, indexes: Sequence[int]) -> set[int]:
    """Mark documents, in ascending order, as signed; returns those that this transaction is the first to mark."""
    rows = await connection.fetch(_SQL["mark_documents"], request_id, indexes, "signed")
    return {row["index"] for row in rows}


async def reject_reserved(connection: Connection, request_id: UUID) -> list[str]:
    """Reject every document that is not signed; returns their ids."""
    return [row["document_id"] for row in await connection.fetch(_SQL["reject_reserved"], request_id)]


def _sealed(credential: Credential) -> tuple[object, ...]:
    """What changes when a key is sealed again, in the order of both statements."""
    protection, cost = credential.protection, credential.protection.parameters
    return (
        credential.wrapped,
        credential.salt,
        protection.wrapping_key,
        protection.pepper,
        cost.memory_kib,
        cost.iterations,
        cost.parallelism,
    )


def _request(row: asyncpg.Record | None) -> Request | None:
    if row is None:
        return None
    return Request(
        row["request_id"],
        row["credential_id"],
        row["root"],
        Header.model_validate_json(row["header"]),
        row["requested_at"],
        row["expires_at"],
        row["wrong_otps"],
        row["wrong_pins"],
        None if row["end_reason"] is None else Reason(row["end_reason"]),
        row["attempt"],
        row["reserved_at"],
        row["channel"],
        row["reference_code"],
    )
