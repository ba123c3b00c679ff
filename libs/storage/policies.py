"""Which policies of settings a service was under: what keeps an older one from coming back."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from libs.storage.pool import Connection
from libs.storage.queries import load_queries

_SQL = load_queries(Path(__file__).parent / "sql" / "policies.sql")


@dataclass(frozen=True, slots=True)
class Seen:
    """A policy's number and digest."""

    version: int
    sha256: bytes


NONE_YET: Final = Seen(0, b"")
"""Two security officers were met, and no policy: from then on there has to be one."""


async def newest(connection: Connection) -> Seen | None:
    """The one of the highest number; None while there has never been anything to remember."""
    row = await connection.fetchrow(_SQL["newest"])
    return None if row is None else Seen(*row.values())


async def remember(connection: Connection, policy: Seen) -> Seen:
    """Keep it for ever, unless another of its number is kept; returns the newest that is kept then."""
    await connection.execute(_SQL["remember"], policy.version, policy.sha256)
    kept = await newest(connection)
    assert kept is not None
    return kept
