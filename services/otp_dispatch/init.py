"""`python -m services.otp_dispatch.init` makes its keys once, and asks for the challenge key's certificate."""

import secrets
from pathlib import Path

from libs.crypto.pki import distinguished_name
from libs.crypto.requests import certification_request, new_signing_key, read_signing_key
from libs.runtime.health import Health
from libs.runtime.process import run
from libs.runtime.secret_files import ensure_secret, publish, secrets_directory
from services.otp_dispatch.settings import InitSettings

OWNER = "otp_dispatch"
CODE_KEY_BYTES = 32


async def initialise(settings: InitSettings, _health: Health) -> None:
    """Make what is missing in `GPKI_SECRETS_DIR` and below `GPKI_PKI_DIR`."""
    make_keys(secrets_directory(), settings.pki_dir)


def make_keys(secrets_dir: Path, pki_dir: Path) -> None:
    """The secrets `otp_key` and `challenge_key`, and `requests/producer/otp_dispatch.csr.pem` for the authority."""
    ensure_secret(secrets_dir, "otp_key", lambda: secrets.token_hex(CODE_KEY_BYTES).encode())
    key = read_signing_key(ensure_secret(secrets_dir, "challenge_key", new_signing_key))
    request = certification_request(key, distinguished_name(OWNER))
    publish(pki_dir / "requests" / "producer" / f"{OWNER}.csr.pem", request)


if __name__ == "__main__":
    raise SystemExit(run(InitSettings, initialise))
