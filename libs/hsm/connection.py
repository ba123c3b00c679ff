"""One session that is opened again when it breaks; blocking, and only for the one thread that owns PKCS#11."""

import logging
from collections.abc import Callable
from typing import Concatenate, Final, ParamSpec, TypeVar

from pkcs11 import TokenFlag, UserType
from pkcs11 import exceptions as ck
from pydantic import SecretStr

from libs.hsm.errors import HsmLoginRefused, HsmRefused, HsmUnavailable
from libs.hsm.module import finalize, initialize, plain
from libs.hsm.token_session import TokenSession, new_attribute_mapper

__all__ = ["Connection", "reason_not_to_login"]

_log = logging.getLogger(__name__)
_P = ParamSpec("_P")
_T = TypeVar("_T")

_ANSWERED_NO: Final = (
    ck.ArgumentsBad,
    ck.AttributeReadOnly,
    ck.AttributeSensitive,
    ck.AttributeTypeInvalid,
    ck.AttributeValueInvalid,
    ck.DataInvalid,
    ck.DataLenRange,
    ck.DomainParamsInvalid,
    ck.FunctionNotSupported,
    ck.FunctionRejected,
    ck.KeyIndigestible,
    ck.KeyNotWrappable,
    ck.KeySizeRange,
    ck.KeyTypeInconsistent,
    ck.KeyUnextractable,
    ck.MechanismInvalid,
    ck.MechanismParamInvalid,
    ck.MultipleObjectsReturned,
    ck.PublicKeyInvalid,
    ck.TemplateIncomplete,
    ck.TemplateInconsistent,
    ck.TokenWriteProtected,
    ck.UnwrappingKeySizeRange,
    ck.UnwrappingKeyTypeInconsistent,
    ck.WrappedKeyInvalid,
    ck.WrappedKeyLenRange,
    ck.WrappingKeySizeRange,
    ck.WrappingKeyTypeInconsistent,
)
"""Codes about the request. Every other one, vendors' too, may be about the session: repair, ask once more."""

_PIN_REFUSED: Final = (
    ck.PinExpired,
    ck.PinIncorrect,
    ck.PinInvalid,
    ck.PinLenRange,
    ck.PinLocked,
    ck.UserPinNotInitialized,
)


_PIN_FLAGS: Final = {
    UserType.USER: (TokenFlag.USER_PIN_LOCKED, TokenFlag.USER_PIN_FINAL_TRY),
    UserType.SO: (TokenFlag.SO_PIN_LOCKED, TokenFlag.SO_PIN_FINAL_TRY),
}


def reason_not_to_login(flags: TokenFlag, who: UserType = UserType.USER) -> str | None:
    """Why a login must not even be tried, from CK_TOKEN_INFO.flags (PKCS#11 2.40 section 3.2); None when it may.

    Guards against a supervisor that restarts a process with a wrong PIN until the token locks.
    """
    locked, final_try = _PIN_FLAGS[who]
    if flags & locked:
        return f"the token's {who.name} PIN is locked"
    if flags & final_try:
        return (
            f"one more wrong {who.name} PIN would lock the token: log in once by hand with the right one, then restart"
        )
    return None


class Connection:
    """Opens lazily, repairs by finalising and initialising the module (the one repair that works for every module)."""

    def __init__(self, *, module_path: str, token_label: str, user_pin: SecretStr) -> None:
        self._module_path = module_path
        self._token_label = token_label
        self._user_pin = user_pin
        self._session: TokenSession | None = None
        self._login_refused: str | None = None

    def call(
        self, operation: Callable[Concatenate[TokenSession, _P], _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Run `operation(session, ...)`, which must be safe to repeat: it runs a second time if the session broke.

        Raises HsmUnavailable, HsmLoginRefused, HsmRefused, and whatever `operation` raises that is not PKCS#11's.
        """
        try:
            return self._attempt(operation, *args, **kwargs)
        except ck.PKCS11Error as error:
            _log.warning("HSM session broke (%s): opening a new one", _name(error))
        self.close()
        try:
            return self._attempt(operation, *args, **kwargs)
        except ck.NoSuchKey as error:
            raise HsmRefused(f"token {self._token_label!r}: {error}") from error
        except ck.PKCS11Error as error:
            self.close()
            raise HsmUnavailable(f"token {self._token_label!r}: {_name(error)}") from error

    def close(self) -> None:
        """End the session and the login; never raises. The next call opens again."""
        self._session = None
        finalize(self._module_path)

    def _attempt(
        self, operation: Callable[Concatenate[TokenSession, _P], _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        if self._session is None:
            self._session = self._open()
        try:
            return operation(self._session, *args, **kwargs)
        except _ANSWERED_NO as error:
            raise HsmRefused(f"token {self._token_label!r}: {_name(error)}") from error

    def _open(self) -> TokenSession:
        """One login at most; a refused PIN is remembered and never tried again by this object."""
        if self._login_refused is not None:
            raise HsmLoginRefused(self._login_refused)
        token = initialize(self._module_path).get_token(token_label=self._token_label)
        reason = reason_not_to_login(token.flags)
        if reason is None:
            try:
                raw = token.open(rw=True, user_pin=plain(self._user_pin), attribute_mapper=new_attribute_mapper())
                return TokenSession(raw)
            except _PIN_REFUSED as error:
                reason = f"the token refused the PIN ({_name(error)})"
        self._login_refused = f"token {self._token_label!r}: {reason}"
        self.close()
        raise HsmLoginRefused(self._login_refused)


def _name(error: ck.PKCS11Error) -> str:
    """The CKR code as python-pkcs11 spells it; vendors' codes only have a text."""
    return f"{type(error).__name__} {error}".strip()
