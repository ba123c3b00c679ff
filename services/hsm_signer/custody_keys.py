"""Which of the HSM's keys users' keys are under, and the end of one: nothing is under it, then it is destroyed."""

from pathlib import Path

import asyncpg

from libs.hsm.hsm import Hsm
from libs.runtime.settings import ConfigurationError
from libs.storage.pool import Connection, Pool
from libs.storage.queries import load_queries
from services.hsm_signer.custody import Protection

_SQL = load_queries(Path(__file__).parent / "sql" / "custody.sql")


class StillInUse(Exception):
    """So many credentials are under the key: their officers use a PIN once more, or get a new certificate, first."""

    def __init__(self, credentials: int) -> None:
        super().__init__(f"{credentials} credentials are under this key")
        self.credentials = credentials


async def know(connection: Connection, hsm: Hsm, current: Protection) -> None:
    """Before anything is protected with these keys, or moved to them.

    Raises ConfigurationError for one that was destroyed, or was never made; HsmUnavailable.
    """
    labels = [current.wrapping_key, current.pepper]
    unmade = [label for label in labels if not await hsm.has_secret_key(label)]
    gone = [row["label"] for row in await connection.fetch(_SQL["destroyed"], labels)]
    if gone:
        raise ConfigurationError([f"{', '.join(gone)}: this key was destroyed; name the one that took its place"])
    if unmade:
        raise ConfigurationError([f"{', '.join(unmade)}: the HSM has no such key; `init` makes it"])
    await connection.execute(_SQL["know"], labels)


async def destroy(pool: Pool, hsm: Hsm, label: str) -> bool:
    """Destroy a key that nothing is under, for good; False when the HSM had it no more. Safe to repeat.

    A credential that another process puts under it meanwhile is refused by the database, or keeps the key.
    Raises StillInUse, HsmUnavailable.
    """
    async with pool.acquire() as connection:
        try:
            async with connection.transaction():
                await connection.execute(_SQL["forget"], label)
                await connection.execute(_SQL["keep_destroyed"], label)
        except asyncpg.ForeignKeyViolationError:
            raise StillInUse(await connection.fetchval(_SQL["in_use"], label)) from None
    return await hsm.destroy_secret_key(label)
