"""The PKCS#11 module as the process-wide resource that it is: one user at a time, one place to (de)initialise."""

from __future__ import annotations  # pkcs11._pkcs11 exists at run time only after the first pkcs11.lib()

import threading
from typing import TYPE_CHECKING

import pkcs11
from pkcs11.exceptions import PKCS11Error
from pydantic import SecretStr

if TYPE_CHECKING:
    from pkcs11._pkcs11 import lib as Library  # noqa: N812 - the class is spelled like a module

__all__ = ["claim_module", "finalize", "initialize", "plain", "release_module"]

_in_use = threading.Lock()


def claim_module() -> None:
    """Take the process's only right to use PKCS#11; raises RuntimeError when it is already taken.

    C_Initialize and C_Login hold for the whole process, and python-pkcs11 0.10.1 tells the module that there are no
    threads: a second user in the same process would crash it, or log the first one out.
    """
    if not _in_use.acquire(blocking=False):
        raise RuntimeError(
            "PKCS#11 is already in use in this process: one Hsm per process, more processes for more speed"
        )


def release_module() -> None:
    """Give the right back; only for who claimed it, after `finalize`."""
    _in_use.release()


def initialize(module_path: str) -> Library:
    """C_Initialize afresh (SoftHSM reads SOFTHSM2_CONF here); raises PKCS11Error, also when the file does not load."""
    finalize(module_path)
    return pkcs11.lib(module_path)


def finalize(module_path: str) -> None:
    """C_Finalize if initialised: closes every session, forgets every login; never raises: it runs on broken modules."""
    library = pkcs11._loaded.get(module_path)  # noqa: SLF001 - the only way to ask without initialising
    if library is not None and library.initialized:
        try:
            library.finalize()
        except PKCS11Error:
            # Already finalised behind our back; python-pkcs11 cleared its flag before it raised, which is all we want.
            return


def plain(pin: SecretStr | str) -> str:
    """The PIN's text. Call it inside an argument list: a local variable shows in tracebacks that render locals."""
    return pin.get_secret_value() if isinstance(pin, SecretStr) else pin
