"""`python -m services.monitor.init` makes the witness's key once, and publishes its verifier key."""

from libs.contracts.log import WITNESS_KEY_FILE
from libs.crypto import notes
from libs.crypto.requests import new_signing_key, read_signing_key
from libs.runtime.health import Health
from libs.runtime.process import run
from libs.runtime.secret_files import ensure_secret, publish, secrets_directory
from services.monitor.settings import InitSettings


async def initialise(settings: InitSettings, _health: Health) -> None:
    """Make what is missing in `GPKI_SECRETS_DIR` and below `GPKI_PKI_DIR`."""
    private = read_signing_key(ensure_secret(secrets_directory(), "witness_key", new_signing_key))
    key = notes.witness_key(settings.witness_name, private)
    publish(settings.pki_dir / WITNESS_KEY_FILE, f"{key.text}\n".encode())


if __name__ == "__main__":
    raise SystemExit(run(InitSettings, initialise))
