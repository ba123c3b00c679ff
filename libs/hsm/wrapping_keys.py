"""The keys under which users' keys leave the HSM: what they let out, and their making by the security officer.

PKCS#11 2.40, 4.9: a key with CKA_WRAP_WITH_TRUSTED leaves the HSM only under a key with CKA_TRUSTED, and that
attribute only the security officer's login gives. Our own login, and whoever steals it, makes no such key.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass, Token, UserType
from pkcs11.exceptions import NoSuchKey, PinIncorrect, PinLocked, PKCS11Error, TemplateInconsistent
from pydantic import SecretStr

from libs.hsm.connection import reason_not_to_login
from libs.hsm.errors import HsmRefused, ProvisionFailed
from libs.hsm.keys import SECRET_KEY_USES, refuse_unless_confined
from libs.hsm.module import claim_module, finalize, initialize, plain, release_module
from libs.hsm.token_session import TokenSession, new_attribute_mapper

__all__ = ["WRAP", "ensure_wrapping_key", "is_trusted", "user_key_template"]

WRAP: Final = Mechanism.AES_KEY_WRAP_PAD
"""AES-KWP (RFC 5649): authenticated, so an altered blob does not unwrap."""

_LEAVES_UNDER_TRUSTED: Final[Mapping[Attribute, bool]] = {
    Attribute.TOKEN: False,
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: True,
    Attribute.WRAP_WITH_TRUSTED: True,
    Attribute.COPYABLE: False,  # a copy could be a token object, and stay
    Attribute.MODIFIABLE: False,  # the last: SoftHSM refuses what a template says after it
}
"""What a user's key is in the HSM: gone with the session, unreadable, let out under trusted wrapping keys only."""

_LEAVES_NEVER: Final[Mapping[Attribute, bool]] = {
    Attribute.TOKEN: False,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
}
"""The same under a wrapping key of before there were trusted ones, which forces just this on what it unwraps."""

_AS_MADE: Final[Mapping[Attribute, Any]] = {
    Attribute.PRIVATE: False,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.TRUSTED: True,
    Attribute.ALLOWED_MECHANISMS: (WRAP,),
    Attribute.WRAP_TEMPLATE: {Attribute.SENSITIVE: True, Attribute.WRAP_WITH_TRUSTED: True},
    Attribute.UNWRAP_TEMPLATE: _LEAVES_UNDER_TRUSTED,
}
_AS_KEPT: Final[Mapping[Attribute, bool]] = {
    Attribute.TOKEN: True,
    Attribute.PRIVATE: True,
    Attribute.MODIFIABLE: False,
}
_USES: Final = MechanismFlag.WRAP | MechanismFlag.UNWRAP


def is_trusted(wrapping: Any) -> bool:
    """Whether the security officer made it, so that a key can be moved from it, or to it, inside the HSM."""
    return wrapping[Attribute.TRUSTED] is True


def user_key_template(wrapping: Any, *, fresh: bool) -> dict[Attribute, bool]:
    """What a user's key has to be that this wrapping key lets in, or that is `fresh`, to leave under it once."""
    if is_trusted(wrapping):
        return dict(_LEAVES_UNDER_TRUSTED)
    return {**_LEAVES_NEVER, Attribute.EXTRACTABLE: fresh}


def ensure_wrapping_key(
    module_path: str, token_label: str, label: str, *, user_pin: SecretStr, so_pin: Callable[[], SecretStr]
) -> bool:
    """AES-256 that can only wrap and unwrap users' keys by AES-KWP; made if there is none. False: it is not trusted.

    The HSM enforces on every program that logs in that what it unwraps stays in the session, unread, uncopied, and
    leaves under a trusted key only. `so_pin` is asked when one is to be made. Blocking; not while an Hsm is open in
    this process, and not by two processes at the same time.

    Raises HsmRefused when the label holds a key that may leave the HSM, do more, or force less, ProvisionFailed (what
    to change is in the text, never a PIN).
    """
    claim_module()
    try:
        token = initialize(module_path).get_token(token_label=token_label)
        _refuse_to_lock(token, UserType.USER)
        trusted = _known(token, label, user_pin)
        if trusted is None:
            _refuse_to_lock(token, UserType.SO)
            _make(token, label, user_pin=user_pin, so_pin=so_pin())
            trusted = _known(token, label, user_pin)
    except (PinIncorrect, PinLocked) as error:
        raise ProvisionFailed(f"token {token_label!r} refused a PIN ({type(error).__name__})") from error
    except PKCS11Error as error:
        raise ProvisionFailed(f"token {token_label!r}: {type(error).__name__} {error}") from error
    finally:
        finalize(module_path)
        release_module()
    return trusted is True


def _refuse_to_lock(token: Token, who: UserType) -> None:
    reason = reason_not_to_login(token.flags, who)
    if reason is not None:
        raise ProvisionFailed(f"token {token.label!r}: {reason}")


def _known(token: Token, label: str, user_pin: SecretStr) -> bool | None:
    """Whether it is trusted, None if there is none. What is there is looked at, whoever made it."""
    with _logged_in(token, user_pin) as session:
        try:
            key = session.find(ObjectClass.SECRET_KEY, label)
        except NoSuchKey:
            return None
        refuse_unless_confined(key, label, {Attribute.WRAP, Attribute.UNWRAP}, SECRET_KEY_USES)
        _refuse_unless_it_confines(session, key, label)
        return is_trusted(key)


def _refuse_unless_it_confines(session: TokenSession, key: Any, label: str) -> None:
    """Try what its template is to forbid: attributes of templates are not shown by each HSM, and would prove less."""
    none = MechanismFlag(0)
    sample = session.raw.generate_key(
        KeyType.AES, 256, store=False, capabilities=none, template=user_key_template(key, fresh=True)
    )
    blob, forced = bytes(key.wrap_key(sample, mechanism=WRAP)), user_key_template(key, fresh=False)
    for attribute, value in forced.items():
        weaker = {**forced, attribute: not value}
        try:
            let_in = key.unwrap_key(
                ObjectClass.SECRET_KEY,
                KeyType.AES,
                blob,
                mechanism=WRAP,
                store=weaker[Attribute.TOKEN],
                capabilities=none,
                template=weaker,
            )
        except TemplateInconsistent:
            continue
        let_in.destroy()
        raise HsmRefused(f"key {label!r} in the token lets keys in with {attribute.name} {not value}")


def _make(token: Token, label: str, *, user_pin: SecretStr, so_pin: SecretStr) -> None:
    """Make it as the security officer, and keep it as the user.

    PKCS#11 lets the security officer see no private object, and the user trust no key. So it is made as a public
    object of a session, in this process's memory only, that outlives the officer's login; the user's copy is the one
    that is stored, private, and unchangeable from its first moment.
    """
    between = token.open(rw=True, attribute_mapper=new_attribute_mapper())
    with _logged_in(token, so_pin, UserType.SO):
        made = between.generate_key(
            KeyType.AES, 256, label=label, store=False, capabilities=_USES, template=dict(_AS_MADE)
        )
    with _logged_in(token, user_pin):
        made.copy(dict(_AS_KEPT))
        made.destroy()


@contextmanager
def _logged_in(token: Token, pin: SecretStr, who: UserType = UserType.USER) -> Iterator[TokenSession]:
    """PKCS#11 logs the whole process in: as one of the two, so that one logs out before the other comes."""
    with token.open(rw=True, user_pin=plain(pin), user_type=who, attribute_mapper=new_attribute_mapper()) as raw:
        yield TokenSession(raw)
