"""`python -m services.hsm_signer.init` makes the token's keys once, and asks for a sealing authority's certificate."""

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from libs.crypto.pki import distinguished_name
from libs.hsm.settings import open_hsm
from libs.runtime.health import Health
from libs.runtime.process import run
from libs.runtime.secret_files import publish
from services.hsm_signer.backup_file import BACKUP_KEY
from services.hsm_signer.sealing_keys import AUTHORITY_KEY
from services.hsm_signer.settings import Settings

SEALING_REQUEST = "requests/sealing-authority/hsm_signer.csr.pem"
SEALING_AUTHORITY = "certificates/sealing-authority/hsm_signer.pem"
"""In the PKI directory: what we ask of the certificate authority, and its answer."""


async def initialise(settings: Settings, _health: Health) -> None:
    """Make what is missing in the token, and write the request; safe to repeat, not to run twice at once."""
    async with open_hsm(settings) as hsm:
        await hsm.ensure_wrapping_key(settings.wrapping_key)
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
    raise SystemExit(run(Settings, initialise))
