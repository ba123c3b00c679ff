"""`python -m services.otp_dispatch.init` makes its keys once, and asks for the producer key's certificate."""

import secrets
from pathlib import Path

from libs.bus.signing import make_producer_key
from libs.runtime.health import Health
from libs.runtime.process import run
from libs.runtime.secret_files import ensure_secret, secrets_directory
from services.otp_dispatch.settings import InitSettings

OWNER = "otp_dispatch"
CODE_KEY_BYTES = 32


async def initialise(settings: InitSettings, _health: Health) -> None:
    """Make what is missing in `GPKI_SECRETS_DIR` and below `GPKI_PKI_DIR`."""
    make_keys(secrets_directory(), settings.pki_dir)


def make_keys(secrets_dir: Path, pki_dir: Path) -> None:
    """The secrets `otp_key` and `producer_key`, and the request for the latter's certificate."""
    ensure_secret(secrets_dir, "otp_key", lambda: secrets.token_hex(CODE_KEY_BYTES).encode())
    make_producer_key(OWNER, secrets_dir, pki_dir)


if __name__ == "__main__":
    raise SystemExit(run(InitSettings, initialise))
