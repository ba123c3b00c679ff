"""Who serves finds its schema migrated, or says which migration its owner has yet to apply."""

from pathlib import Path

import pytest

from libs.storage.migrations import LEDGER_MIGRATIONS, MigrationChanged, NotMigrated, migrate, require_migrated
from tests.support.bus import Room

pytestmark = pytest.mark.stack


async def test_a_schema_without_a_migration_is_named_and_one_that_was_edited_too(room: Room, tmp_path: Path) -> None:
    folder = tmp_path / "archive" / "sql" / "migrations"
    folder.mkdir(parents=True)
    file = folder / "0001_archive.sql"
    file.write_text("CREATE TABLE archive ()")
    await require_migrated(room.pool, [LEDGER_MIGRATIONS])
    with pytest.raises(NotMigrated, match="archive/0001_archive"):
        await require_migrated(room.pool, [LEDGER_MIGRATIONS, folder])
    assert await migrate(room.pool, [LEDGER_MIGRATIONS, folder]) == ["archive/0001_archive"]
    await require_migrated(room.pool, [LEDGER_MIGRATIONS, folder])
    file.write_text("CREATE TABLE other ()")
    with pytest.raises(MigrationChanged, match="archive/0001_archive"):
        await require_migrated(room.pool, [folder])


async def test_a_schema_that_was_never_migrated_is_no_other_error(room: Room) -> None:
    await room.pool.execute("DROP TABLE migration")
    with pytest.raises(NotMigrated):
        await require_migrated(room.pool, [LEDGER_MIGRATIONS])
