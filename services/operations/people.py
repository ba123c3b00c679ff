"""What people sign with keys of their own, one signature each."""

from pathlib import Path
from typing import Annotated

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from libs.contracts.enrolment import AdministratorSignature
from libs.crypto.errors import CryptoError
from libs.crypto.public_keys import public_key_id
from libs.crypto.requests import read_signing_key
from libs.runtime.secret_files import require_secret
from libs.runtime.settings import ConfigurationError
from services.operations.terminal import fail

KeyFile = Annotated[Path, typer.Option(help="file of your own private key (Ed25519, PEM), mode 0600")]


def own_key(file: Path) -> Ed25519PrivateKey:
    """Ends the command when there is none, or others may read it."""
    try:
        return read_signing_key(require_secret(file))
    except ConfigurationError as error:
        fail(f"your key: {error}")
    except CryptoError as error:
        fail(f"your key: {file}: {error}")


def signature(key: Ed25519PrivateKey, content: bytes) -> AdministratorSignature:
    """One person's."""
    return AdministratorSignature(key_id=public_key_id(key.public_key()), signature=key.sign(content))


def added(
    signatures: tuple[AdministratorSignature, ...], mine: AdministratorSignature
) -> tuple[AdministratorSignature, ...]:
    """Those that there are and mine, which replaces one by the same key."""
    return (*(one for one in signatures if one.key_id != mine.key_id), mine)
