"""The codes of otp_dispatch: reserved before they are sent, wiped with the record."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID

from libs.contracts.signing import Channel
from libs.storage.pool import Connection
from libs.storage.queries import load_queries
from services.otp_dispatch.dispatch import History
from services.otp_dispatch.pacing import DAY, MOST, Officer

MIGRATIONS = Path(__file__).parent / "sql" / "migrations"

_SQL = load_queries(Path(__file__).parent / "sql" / "otp_dispatch.sql")


@dataclass(frozen=True)
class Reservation:
    """What one code's message and challenge will be; `closed_code` is None once nobody may send it any more, because it
    was delivered or given up.

    `sealing_key` is the raw X25519 public key that the challenge will be sealed to.
    """

    request_id: UUID
    number: int
    resend: UUID | None
    channel: Channel
    reference_code: str
    message_id: str
    sealing_key: bytes
    closed_code: bytes | None = field(repr=False)
    delivered_at: datetime | None = None


async def lock(connection: Connection, request_id: UUID) -> None:
    """Until the transaction ends, nobody else numbers, delivers or gives up codes of this request."""
    await connection.execute(_SQL["lock"], request_id)


async def number(connection: Connection, request_id: UUID, resend: UUID) -> int:
    """The number of this resend's code: the one that it has, or else the next. Call it under `lock`."""
    found: int = await connection.fetchval(_SQL["number"], request_id, resend)
    return found


async def lock_officers(connection: Connection, users: Collection[str], now: datetime) -> dict[str, Officer]:
    """Until the transaction ends, nobody else reserves a code for one of these. Take it before `lock`."""
    await connection.execute(_SQL["lock_officers"], list(users))
    rows = await connection.fetch(_SQL["officers"], list(users), DAY, MOST, now)
    return {row["user_id"]: Officer(row["held_until"], row["unanswered"], set(row["live_references"])) for row in rows}


async def reserved(connection: Connection, request_id: UUID, number: int) -> Reservation | None:
    """The code that was reserved under this number, if any was."""
    row = await connection.fetchrow(_SQL["reserved"], request_id, number)
    return None if row is None else Reservation(**row)


async def reserve(connection: Connection, wanted: Reservation, user: str, total: Decimal | None = None) -> None:
    """Reserve what nobody has reserved; call it under `lock_officers`. `total` counts against a day's ceiling."""
    await connection.execute(
        _SQL["reserve"],
        wanted.request_id,
        wanted.number,
        wanted.resend,
        wanted.channel,
        wanted.reference_code,
        wanted.message_id,
        wanted.sealing_key,
        wanted.closed_code,
        user,
        total,
    )


async def sum_of_day(connection: Connection, user: str, channels: Sequence[Channel], *, but: UUID) -> Decimal:
    """The sum in MYR of the officer's requests of a day that codes went for by one of these, without that request."""
    found: Decimal = await connection.fetchval(_SQL["sum_of_day"], user, channels, but, DAY)
    return found


async def answered(connection: Connection, requests: Collection[UUID]) -> None:
    """A right answer to these requests has come: their officers' codes until now are not unanswered."""
    await connection.execute(_SQL["answered"], list(requests))


async def user_of(connection: Connection, request_id: UUID) -> str | None:
    """Whose codes those of this request are; None when there are none."""
    user: str | None = await connection.fetchval(_SQL["user_of"], request_id)
    return user


async def hold(connection: Connection, user: str, until: datetime) -> None:
    """No code for this officer before then; a longer hold stays."""
    await connection.execute(_SQL["hold"], user, until)


async def history(connection: Connection, requests: Collection[UUID]) -> dict[UUID, History]:
    """The codes so far of each of these requests."""
    found = {request_id: History() for request_id in requests}
    for row in await connection.fetch(_SQL["history"], list(requests)):
        found[row["request_id"]] = History(row["highest"], row["expires_at"], row["ended"])
    return found


async def delivered(
    connection: Connection, request_id: UUID, number: int, *, delivered_at: datetime, expires_at: datetime
) -> None:
    """It was delivered: from now on the code is not here any more."""
    await connection.execute(_SQL["delivered"], request_id, number, delivered_at, expires_at)


async def give_up(connection: Connection, request_id: UUID) -> None:
    """The request has ended here: forget its codes that were not delivered."""
    await connection.execute(_SQL["give_up"], request_id)


async def give_up_code(connection: Connection, request_id: UUID, resend: UUID | None) -> None:
    """Forget the code of this resend, or the first one; the request and its other codes are as they were."""
    await connection.execute(_SQL["give_up_code"], request_id, resend)
