"""Initialise a PKCS#11 token once, without a PIN on any command line."""

import ctypes

from pkcs11 import Slot, Token, TokenFlag
from pkcs11.exceptions import (
    PinIncorrect,
    PinInvalid,
    PinLenRange,
    PinLocked,
    PKCS11Error,
    TokenNotPresent,
    TokenNotRecognised,
)
from pydantic import SecretStr

from libs.hsm.errors import ProvisionFailed
from libs.hsm.module import claim_module, finalize, initialize, plain, release_module

__all__ = ["provision_token"]

_LABEL_BYTES = 32  # CK_TOKEN_INFO.label: blank padded, not null terminated (PKCS#11 2.40 section 3.2)


class _FunctionList(ctypes.Structure):
    """Head of CK_FUNCTION_LIST (PKCS#11 2.40 section 3.6): C_InitToken is its tenth function."""

    _fields_ = (("version", ctypes.c_ubyte * 2), ("functions", ctypes.c_void_p * 10))


def provision_token(module_path: str, token_label: str, so_pin: SecretStr | str, user_pin: SecretStr | str) -> None:
    """Make sure that a token `token_label` with a user PIN exists; does nothing when it does (PINs are then not tried).

    An interrupted earlier run is completed. The first token that is not initialised is taken. Needs SOFTHSM2_CONF in
    the environment when the module is SoftHSM. Blocking (about 50 ms on SoftHSM); not while an Hsm is open in this
    process, and not by two processes at the same time.

    Raises ProvisionFailed (what to change is in the text, never a PIN).
    """
    label = token_label.encode()
    if not label.strip() or len(label) > _LABEL_BYTES:
        raise ProvisionFailed(f"token label must have 1 to {_LABEL_BYTES} bytes: {token_label!r}")
    claim_module()
    try:
        token = _token(module_path, token_label)
        if token is None:
            _init_token(module_path, _free_slot(module_path).slot_id, label.ljust(_LABEL_BYTES), so_pin)
            token = _token(module_path, token_label)
            if token is None:
                raise ProvisionFailed(f"token {token_label!r} is not listed after its initialisation")
        if not token.flags & TokenFlag.USER_PIN_INITIALIZED:
            token.open(rw=True, so_pin=plain(so_pin)).init_pin(plain(user_pin))
    except (PinIncorrect, PinLocked) as error:
        raise ProvisionFailed(f"token {token_label!r} refused the security officer's PIN") from error
    except (PinInvalid, PinLenRange) as error:
        raise ProvisionFailed(f"token {token_label!r} does not accept a PIN of this length or alphabet") from error
    except PKCS11Error as error:
        raise ProvisionFailed(
            f"PKCS#11 module {module_path}: {type(error).__name__} {error} "
            "(for SoftHSM: does SOFTHSM2_CONF name a readable file and an existing, writable token directory?)"
        ) from error
    finally:
        finalize(module_path)
        release_module()


def _token(module_path: str, token_label: str) -> Token | None:
    """The one token with this label; initialises the module afresh, since slots are only enumerated then."""
    found = list(initialize(module_path).get_tokens(token_label=token_label))
    if len(found) > 1:
        raise ProvisionFailed(f"{len(found)} tokens are labelled {token_label!r}: remove all but one")
    return found[0] if found else None


def _free_slot(module_path: str) -> Slot:
    for slot in initialize(module_path).get_slots():
        try:
            if not slot.get_token().flags & TokenFlag.TOKEN_INITIALIZED:
                return slot
        except (TokenNotPresent, TokenNotRecognised):
            continue
    raise ProvisionFailed("no slot holds an uninitialised token: create a partition with the vendor's tool first")


def _init_token(module_path: str, slot_id: int, label: bytes, so_pin: SecretStr | str) -> None:
    """C_InitToken, which python-pkcs11 0.10.1 lacks; the same loaded module, hence the same initialised state."""
    head = ctypes.POINTER(_FunctionList)()
    if ctypes.CDLL(module_path).C_GetFunctionList(ctypes.byref(head)) != 0:
        raise ProvisionFailed(f"{module_path} gives no function list")
    c_init_token = ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)(
        head.contents.functions[9]
    )
    code = c_init_token(slot_id, plain(so_pin).encode(), len(plain(so_pin).encode()), label)
    if code != 0:
        raise ProvisionFailed(f"C_InitToken on slot {slot_id} answered CKR 0x{code:08X}")
