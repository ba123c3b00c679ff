"""`python -m services.posting.init` makes the signing log's key once, and publishes its verifier key."""

from libs.contracts.log import LOG_KEY_FILE
from libs.hsm.settings import open_hsm
from libs.runtime.health import Health
from libs.runtime.process import run
from libs.runtime.secret_files import publish
from services.posting.log_key import LABEL, public_key, require_pinned
from services.posting.settings import Settings


async def initialise(settings: Settings, _health: Health) -> None:
    """Make what is missing; safe to repeat, not to run twice at once. Raises ConfigurationError as LogKey.open does."""
    async with open_hsm(settings) as hsm:
        await hsm.ensure_p256_key(LABEL)
        key = await public_key(hsm, settings.log_origin)
    file = settings.pki_dir / LOG_KEY_FILE
    if not file.exists():
        publish(file, f"{key.text}\n".encode())
    require_pinned(key, file)


if __name__ == "__main__":
    raise SystemExit(run(Settings, initialise))
