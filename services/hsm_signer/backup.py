"""`python -m services.hsm_signer.backup FILE` writes a backup of custody (`gpki custody backup`).

It may run beside the service. What is in the file: services/hsm_signer/backup_file.py.
"""

import sys
from pathlib import Path

import structlog

from libs.hsm.hsm import Hsm
from libs.hsm.settings import open_hsm
from libs.runtime.health import Health
from libs.runtime.process import run
from libs.runtime.secret_files import write_secret
from libs.runtime.settings import ConfigurationError
from libs.storage.pool import Pool
from libs.storage.service import service_database
from services.hsm_signer import backup_file, restoring
from services.hsm_signer.settings import Settings

log = structlog.get_logger()


async def backed_up(pool: Pool, hsm: Hsm) -> bytes:
    """The file, of one moment. Raises HsmError."""
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        backup = await restoring.take(connection)
    return await backup_file.sealed(backup, hsm)


def _free(name: str) -> Path:
    file = Path(name)
    if file.exists():
        raise ConfigurationError([f"{file} is there already: name another"])
    if not file.parent.is_dir():
        raise ConfigurationError([f"there is no folder {file.parent}"])
    return file


async def main(settings: Settings, _health: Health) -> None:
    """Raises ConfigurationError, which is exit code 78, when no file can be made by this name."""
    if len(sys.argv) != 2:
        raise ConfigurationError(["name a file: python -m services.hsm_signer.backup FILE"])
    file = _free(sys.argv[1])
    async with open_hsm(settings) as hsm, service_database(settings, []) as (pool, _clock):
        content = await backed_up(pool, hsm)
    write_secret(file, content)
    log.info("custody backed up", file=str(file), sha256=backup_file.digest(content), size=len(content))


if __name__ == "__main__":
    raise SystemExit(run(Settings, main))
