"""`python -m services.hsm_signer.destroy_key LABEL` destroys a wrapping key or pepper that another has replaced.

It refuses as long as a credential is under it: `gpki keys --left LABEL` lists those. A backup of the database, however
old, opens nothing that was under it any more.
"""

import sys

import structlog

from libs.hsm.settings import open_hsm
from libs.runtime.health import Health
from libs.runtime.process import run
from libs.runtime.settings import ConfigurationError
from libs.storage.service import service_database
from services.hsm_signer.custody_keys import StillInUse, destroy
from services.hsm_signer.settings import Settings

log = structlog.get_logger()


async def main(settings: Settings, _health: Health) -> None:
    """Raises ConfigurationError, which is exit code 78, for what must be done first."""
    if len(sys.argv) != 2:
        raise ConfigurationError(["name one key: python -m services.hsm_signer.destroy_key LABEL"])
    label = sys.argv[1]
    if label in {settings.wrapping_key, settings.pepper}:
        raise ConfigurationError([f"{label}: the settings name it as the current key"])
    try:
        async with open_hsm(settings) as hsm, service_database(settings, []) as (pool, _clock):
            was_there = await destroy(pool, hsm, label)
    except StillInUse as error:
        raise ConfigurationError([f"{label}: {error}; `gpki keys --left {label}` lists them"]) from None
    log.warning("key destroyed" if was_there else "the HSM had no such key", label=label)


if __name__ == "__main__":
    raise SystemExit(run(Settings, main))
