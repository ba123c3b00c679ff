"""Backup and restore with the permissions that the signer has on the stack: its own role, settings and token."""

import asyncio
import sys
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from deploy.native.layout import CHECKOUT
from deploy.native.parts import inherited, service_environment
from libs.bus.signing import unsigned
from libs.contracts.custody import RestoreOrder
from libs.runtime.clock import utc_now
from services.hsm_signer import restoring
from services.hsm_signer.backup_file import Backup, digest
from services.hsm_signer.replay import Told
from tests.support.stack import Stack

pytestmark = pytest.mark.stack


def own(file: Path) -> bytes:
    """What is in it; nobody else may read that."""
    assert file.stat().st_mode & 0o777 == 0o600
    return file.read_bytes()


async def test_the_signers_own_role_writes_a_backup_and_may_write_all_that_a_restore_does(
    full_stack: Stack, tmp_path: Path
) -> None:
    """I-40: nothing of it needs the tables' owner. What is written is taken back: the stack is everybody's."""
    file = tmp_path / "custody.json"
    environment = {**inherited(), **service_environment(full_stack.layout, "hsm_signer"), "GPKI_HEALTH_PORT": "0"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.operations", "custody", "backup", str(file)), cwd=CHECKOUT, env=environment
    )
    assert await process.wait() == 0
    content = own(file)
    backup = Backup.model_validate_json(content.splitlines()[0])
    settings = {"search_path": "hsm_signer"}
    signer = await asyncpg.create_pool(
        full_stack.postgres_dsn("hsm_signer"), min_size=1, max_size=1, server_settings=settings
    )
    async with signer, signer.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            await restoring.lock(connection)
            await restoring.put(connection, backup, Told(), set(), service="hsm_signer", sign=unsigned)
            order = RestoreOrder(order=uuid4(), backup_sha256=digest(content), ordered_at=utc_now())
            await restoring.follow(connection, order)
            restored = await restoring.counted(connection, 0)
        finally:
            await transaction.rollback()
    assert restored.credentials >= len(backup.credentials)
