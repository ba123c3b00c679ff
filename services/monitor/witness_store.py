"""The witness's two tables. Every function works in the caller's transaction."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from libs.storage.pool import Connection
from libs.storage.queries import load_queries
from services.monitor.told_log import ToldLog

_SQL = load_queries(Path(__file__).parent / "sql" / "witness.sql")


@dataclass(frozen=True)
class Beginning:
    """Where a person had the witness go on, upon what it had countersigned last, why, and who it was."""

    size: int
    root: bytes
    previous: int
    previous_root: bytes
    reason: str
    by: str
    at: datetime


@dataclass(frozen=True)
class State:
    """How far a log is countersigned, and from which offsets on the topics are to be read for what follows."""

    size: int
    root: bytes
    peaks: tuple[bytes, ...]
    note: str
    posted_offsets: tuple[int, ...]
    checkpoint_offset: int

    @classmethod
    def of(cls, *, size: int, peaks: list[bytes], note: str, posted_offsets: list[int], checkpoint_offset: int) -> Self:
        """From its row."""
        root = ToldLog(size, peaks).root()
        return cls(size, root, tuple(peaks), note, tuple(posted_offsets), checkpoint_offset)


async def state(connection: Connection, origin: str) -> State | None:
    """Of a log; None before the first countersignature."""
    row = await connection.fetchrow(_SQL["state"], origin)
    return None if row is None else State.of(**dict(row))


async def move(connection: Connection, origin: str, new: State, *, upon: int) -> bool:
    """Countersigned is `new`, where it was size `upon`; False, and nothing kept, when a twin has moved on meanwhile."""
    kept = await connection.fetchval(
        _SQL["move"],
        origin,
        new.size,
        list(new.peaks),
        new.note,
        list(new.posted_offsets),
        new.checkpoint_offset,
        upon,
    )
    if kept is None:
        return False
    await connection.execute(_SQL["keep_root"], new.size, new.root, new.note)
    return True


async def root_of(connection: Connection, size: int) -> bytes | None:
    """The root that was countersigned at this size; None when none was."""
    root: bytes | None = await connection.fetchval(_SQL["root_of"], size)
    return root


async def add_beginning(connection: Connection, origin: str, begun: Beginning) -> None:
    """Keep what was decided."""
    await connection.execute(
        _SQL["add_beginning"],
        origin,
        begun.size,
        begun.root,
        begun.previous,
        begun.previous_root,
        begun.reason,
        begun.by,
        begun.at,
    )


async def beginning_at(connection: Connection, origin: str, size: int) -> Beginning | None:
    """What was decided at this size; None when nothing was."""
    row = await connection.fetchrow(_SQL["beginning_at"], origin, size)
    return None if row is None else Beginning(**dict(row))


async def was_away(connection: Connection, origin: str, size: int) -> bool:
    """Whether the witness never heard of this size, because it was away then."""
    return bool(await connection.fetchval(_SQL["was_away"], origin, size))
