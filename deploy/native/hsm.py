"""SoftHSM tokens of the embedded stack: one directory, configuration and set of PINs per owner."""

import os
import stat
import sys
from importlib import import_module
from pathlib import Path

from deploy.native.layout import CHECKOUT, Layout
from deploy.native.parts import TOKENS
from deploy.native.secret_files import ensure_secret

CONFIGURATION = """directories.tokendir = {tokens}
objectstore.backend = file
log.level = WARNING
slots.removable = false
"""


def prepare(layout: Layout) -> None:
    """Write each token's softhsm2.conf and make its secrets: the user PIN for its service, the SO PIN for none."""
    for service, token in TOKENS.items():
        home = layout.hsm(token)
        tokens = home / "tokens"
        for folder in (home.parent, home, tokens):
            folder.mkdir(exist_ok=True)
            if stat.S_IMODE(folder.stat().st_mode) != stat.S_IRWXU:
                folder.chmod(stat.S_IRWXU)
        (home / "softhsm2.conf").write_text(CONFIGURATION.format(tokens=tokens))
        ensure_secret(layout.secrets(service), "hsm_pin")
        _so_pin(layout, token)


def so_pin_file(layout: Layout, token: str) -> Path:
    """Where the PIN of the token's security officer is: with the operator, in no service's folder."""
    return layout.secrets("operator") / f"{token}_so_pin"


def _so_pin(layout: Layout, token: str) -> str:
    file = so_pin_file(layout, token)
    return ensure_secret(file.parent, file.name)


def provision(layout: Layout, token: str) -> None:
    """Initialise one token unless it is; wants that token's GPKI_PKCS11_… and SOFTHSM2_CONF in the environment.

    One process per token: SoftHSM reads its configuration once per process.
    """
    service = next(service for service, name in TOKENS.items() if name == token)
    import_module("libs.hsm.provision").provision_token(
        os.environ["GPKI_PKCS11_MODULE"],
        os.environ["GPKI_PKCS11_TOKEN_LABEL"],
        _so_pin(layout, token),
        ensure_secret(layout.secrets(service), "hsm_pin"),
    )


if __name__ == "__main__":
    provision(Layout(CHECKOUT, Path(os.environ["GPKI_STACK_DIR"]), ports={}), sys.argv[1])  # it asks no port
