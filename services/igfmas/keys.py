"""The client's private keys: the caller's, which vouches for documents, and two registrars', for officers."""

from pathlib import Path
from typing import Final

from libs.crypto.pki import distinguished_name
from libs.crypto.requests import certification_request, new_signing_key, read_signing_key
from libs.gpki_client import Caller
from libs.runtime.secret_files import ensure_secret, publish, require_secret
from services.igfmas.enrolment import Registrars

CALLER: Final = "igfmas"
SYSTEM: Final = "iGFMAS"
"""Whom and which system the caller's certificate names (CN, OU)."""

REGISTRAR: Final = "mygpki"
VALIDATOR: Final = "mygpki-pengesah"
"""Who registers officers, and who validates them: the platform asks for two people."""

CALLER_KEY: Final = "caller_key"
REGISTRAR_KEY: Final = "registrar_key"
VALIDATOR_KEY: Final = "validator_key"


def make_keys(secrets_dir: Path, pki_dir: Path) -> None:
    """Make what is missing, and ask the certificate authority for the certificates; may run again. Raises OSError."""
    caller = distinguished_name(CALLER, organizational_unit=SYSTEM)
    for secret, purpose, owner, name in (
        (CALLER_KEY, "caller", CALLER, caller),
        (REGISTRAR_KEY, "registrar", REGISTRAR, distinguished_name(REGISTRAR)),
        (VALIDATOR_KEY, "registrar", VALIDATOR, distinguished_name(VALIDATOR)),
    ):
        key = read_signing_key(ensure_secret(secrets_dir, secret, new_signing_key))
        publish(pki_dir / "requests" / purpose / f"{owner}.csr.pem", certification_request(key, name))


def read_keys(secrets_dir: Path) -> tuple[Caller, Registrars]:
    """The caller's and the registrars' keys, as `make_keys` wrote them. Raises ConfigurationError, GpkiError."""
    named = ((CALLER, CALLER_KEY), (REGISTRAR, REGISTRAR_KEY), (VALIDATOR, VALIDATOR_KEY))
    caller, registering, validating = (
        Caller.from_pem(name, require_secret(secrets_dir / file)) for name, file in named
    )
    return caller, Registrars(registering, validating)
