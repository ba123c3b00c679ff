"""The tables of every service: made by their owner, who serves nothing, before the service starts."""

from collections.abc import Collection, Mapping
from pathlib import Path

import asyncpg

from deploy.native.chain import chain_table
from deploy.native.database import AUDITOR, OPERATOR, OWNER, SUPERUSER, dsn
from deploy.native.layout import SERVICES, Layout
from libs.storage.grants import grant, grant_reading
from libs.storage.migrations import LEDGER_MIGRATIONS, migrate

LOOKED_INTO = (
    *("migration", "inbox", "outcome", "content", "recorded"),
    "daily_file",
    *("custody", "custody_key", "destroyed_key"),
    *("countersigned", "witness_beginning"),
)
"""What the operator's command line reads of every service: is it migrated, what did it handle, what did it record?

And of monitor, which has no inbox, which days it has listed and forgotten, and what it has countersigned; of hsm_signer
how many credentials are under which key.
"""

RECORDING = "posting"
"""Of which the operator's command line reads everything."""

AUDITED: Mapping[str, Collection[str] | None] = {RECORDING: None, "monitor": ("countersigned", "witness_beginning")}
"""What an auditor reads: everything of posting, and of the witness its word, with which receipts are made."""


async def migrate_all(layout: Layout) -> None:
    """Apply what is missing in each schema, and give everybody exactly what they may do there.

    Repeatable. Raises MigrationChanged.
    """
    for service, folders in _folders(layout).items():
        settings = {"role": OWNER, "search_path": service}
        async with asyncpg.create_pool(
            dsn(layout, SUPERUSER), min_size=1, max_size=1, server_settings=settings
        ) as pool:
            await migrate(pool, folders)
            async with pool.acquire() as connection:
                await grant(connection, service, service)
                await grant_reading(connection, service, OPERATOR, None if service == RECORDING else LOOKED_INTO)
                if service in AUDITED:
                    await grant_reading(connection, service, AUDITOR, AUDITED[service])


def _folders(layout: Layout) -> dict[str, list[Path]]:
    """Of each service; who emits runs the loop of libs/bus, and has its ledger."""
    table = chain_table()
    return {
        service: [
            *([LEDGER_MIGRATIONS] if table[service].emits else []),
            layout.checkout / "services" / service / "sql" / "migrations",
        ]
        for service in SERVICES
    }
