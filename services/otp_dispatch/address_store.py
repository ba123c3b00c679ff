"""The places of officers in the database."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path

from libs.contracts.state import User
from libs.storage.pool import Connection
from libs.storage.queries import load_queries
from services.otp_dispatch.addresses import Place

_SQL = load_queries(Path(__file__).parent / "sql" / "addresses.sql")


async def lock_users(connection: Connection, users: Collection[str]) -> dict[str, User]:
    """Our copies of these, as far as we have any, which nobody else replaces until the transaction ends."""
    rows = await connection.fetch(_SQL["lock_users"], list(users))
    return {user.user: user for user in (User.model_validate_json(row["value"]) for row in rows)}


async def places(connection: Connection, users: Collection[str]) -> dict[str, tuple[Place, ...]]:
    """The places of each of these, the earliest first; of whom nothing is kept, none."""
    found: dict[str, list[Place]] = defaultdict(list)
    for row in await connection.fetch(_SQL["places"], list(users)):
        found[row["user_id"]].append(Place(**{name: row[name] for name in Place.__slots__}))
    return {user: tuple(found[user]) for user in users}


async def put_places(connection: Connection, user: str, after: Sequence[Place]) -> None:
    """Keep an officer's places; call it under `lock_users`."""
    rows = [(user, one.channel, one.version, one.value, one.since, one.works_from, one.until) for one in after]
    await connection.executemany(_SQL["put_place"], rows)


async def begun(connection: Connection, users: Collection[str]) -> set[str]:
    """Which of these were ever to be sent a code."""
    return {row["user_id"] for row in await connection.fetch(_SQL["begun"], list(users))}
