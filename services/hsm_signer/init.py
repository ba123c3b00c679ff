"""`python -m services.hsm_signer.init` makes the token's keys once, and asks for a sealing authority's certificate.

The wrapping key is made by the HSM's security officer: when there is none of the name that the settings say, the PIN is
read from the file that `GPKI_HSM_SO_PIN_FILE` names. The service has no such setting, and need not read that file.
"""

from pathlib import Path

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import Field, SecretStr

from libs.crypto.pki import distinguished_name
from libs.hsm.settings import open_hsm
from libs.hsm.wrapping_keys import ensure_wrapping_key
from libs.runtime.health import Health
from libs.runtime.process import run
from libs.runtime.secret_files import publish, require_secret
from libs.runtime.settings import ConfigurationError
from services.hsm_signer.backup_file import BACKUP_KEY
from services.hsm_signer.sealing_keys import AUTHORITY_KEY
from services.hsm_signer.settings import Settings

SEALING_REQUEST = "requests/sealing-authority/hsm_signer.csr.pem"
SEALING_AUTHORITY = "certificates/sealing-authority/hsm_signer.pem"
"""In the PKI directory: what we ask of the certificate authority, and its answer."""


log = structlog.get_logger()


class InitSettings(Settings):
    """What the service is told, and for this command alone where the PIN of the token's security officer is."""

    hsm_so_pin_file: Path | None = Field(
        default=None, description="File with that PIN, its owner's alone; used only when a wrapping key is to be made."
    )


async def initialise(settings: InitSettings, _health: Health) -> None:
    """Make what is missing in the token, and write the request; safe to repeat, not to run twice at once."""

    def so_pin() -> SecretStr:
        if settings.hsm_so_pin_file is None:
            missing = f"GPKI_HSM_SO_PIN_FILE: names no file, and there is no key {settings.wrapping_key} yet"
            raise ConfigurationError([missing])
        return SecretStr(require_secret(settings.hsm_so_pin_file).decode())

    trusted = ensure_wrapping_key(
        settings.pkcs11_module,
        settings.pkcs11_token_label,
        settings.wrapping_key,
        user_pin=settings.hsm_pin,
        so_pin=so_pin,
    )
    if not trusted:
        log.warning("the keys under this wrapping key stay under it: it is not trusted", label=settings.wrapping_key)
    async with open_hsm(settings) as hsm:
        await hsm.ensure_mac_key(settings.pepper)
        await hsm.ensure_p256_key(AUTHORITY_KEY)
        await hsm.ensure_p256_key(BACKUP_KEY)
        builder = x509.CertificateSigningRequestBuilder().subject_name(distinguished_name("hsm_signer"))
        pem = await hsm.with_private_key(
            AUTHORITY_KEY, lambda key: builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
        )
    request = settings.pki_dir / SEALING_REQUEST
    if not request.exists():
        publish(request, pem)


if __name__ == "__main__":
    raise SystemExit(run(InitSettings, initialise))
