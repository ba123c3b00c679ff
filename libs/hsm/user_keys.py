"""Users' keys: made in the HSM, kept wrapped outside, inside again only while a handful of messages is signed."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pkcs11 import Attribute, KeyType, MechanismFlag, ObjectClass
from pkcs11.exceptions import FunctionFailed, GeneralError, WrappedKeyInvalid, WrappedKeyLenRange

from libs.hsm.adapters import HsmPrivateKey, adapt, signer
from libs.hsm.errors import KeyUnusable
from libs.hsm.keys import P256
from libs.hsm.token_session import TokenSession
from libs.hsm.wrapping_keys import WRAP, is_trusted, user_key_template

__all__ = ["NewUserKey", "UserKeyAlgorithm", "generate_user_key", "move_user_key", "sign_many"]

UserKeyAlgorithm = Literal["rsa-2048", "p-256"]

_KEY_TYPES: Final[dict[UserKeyAlgorithm, KeyType]] = {"rsa-2048": KeyType.RSA, "p-256": KeyType.EC}
_NO_USE: Final = MechanismFlag(0)


@dataclass(frozen=True, slots=True)
class NewUserKey:
    """A user's new key as it lives outside the HSM; `wrapped` opens only under the wrapping key inside it."""

    wrapped: bytes = field(repr=False)
    certified: bytes


def generate_user_key(
    session: TokenSession,
    wrapping_label: str,
    algorithm: UserKeyAlgorithm,
    certify: Callable[[HsmPrivateKey], bytes],
) -> NewUserKey:
    """Make a key pair, let `certify` use it once (sign a CSR; its bytes become `certified`), wrap it, destroy it.

    Takes 150 ms for RSA-2048 on SoftHSM. A broken session repeats it with another key: only what is returned counts.
    """
    wrapping = session.find(ObjectClass.SECRET_KEY, wrapping_label)
    public, private = _generate(session, algorithm, user_key_template(wrapping, fresh=True))
    try:
        certified = certify(adapt(private, public))
        return NewUserKey(bytes(wrapping.wrap_key(private, mechanism=WRAP)), certified)
    finally:
        try:
            private.destroy()
        finally:
            public.destroy()


def sign_many(
    session: TokenSession,
    wrapping_label: str,
    algorithm: UserKeyAlgorithm,
    wrapped: bytes,
    messages: Sequence[bytes],
) -> list[bytes]:
    """One signature per message, in order, with a key that exists in the HSM only during this call.

    SHA-256 with RSASSA-PKCS1-v1_5 (deterministic), or with ECDSA as DER ECDSA-Sig-Value (RFC 3279 2.2.3).
    Raises KeyUnusable when the blob does not unwrap. All or nothing: no signature is returned if one failed.
    A key kept open between slices of 25 would be 5 % faster (measured); it would also outlive the check of its
    certificate and a cancelled caller, so there is no such way.
    """
    with _unwrapped(session, wrapping_label, _KEY_TYPES[algorithm], wrapped) as private:
        sign = signer(private, _KEY_TYPES[algorithm])
        return [sign(message) for message in messages]


def move_user_key(
    session: TokenSession, old_label: str, new_label: str, algorithm: UserKeyAlgorithm, wrapped: bytes
) -> bytes | None:
    """The same key as another wrapping key wraps it, moved inside the HSM; None when the HSM lets it out under none.

    Raises KeyUnusable when the blob does not unwrap. Takes 1 ms on SoftHSM.
    """
    old, new = (session.find(ObjectClass.SECRET_KEY, label) for label in (old_label, new_label))
    if not (is_trusted(old) and is_trusted(new)):
        return None
    with _unwrapped(session, old_label, _KEY_TYPES[algorithm], wrapped) as private:
        return bytes(new.wrap_key(private, mechanism=WRAP))


def _generate(session: TokenSession, algorithm: UserKeyAlgorithm, template: dict[Attribute, bool]) -> tuple[Any, Any]:
    uses = MechanismFlag.SIGN | MechanismFlag.VERIFY
    if algorithm == "rsa-2048":
        return session.raw.generate_keypair(
            KeyType.RSA, 2048, store=False, capabilities=uses, private_template=template
        )
    curve = session.raw.create_domain_parameters(KeyType.EC, {Attribute.EC_PARAMS: P256}, local=True)
    return curve.generate_keypair(store=False, capabilities=uses, private_template=template)


@contextmanager
def _unwrapped(session: TokenSession, wrapping_label: str, key_type: KeyType, wrapped: bytes) -> Iterator[Any]:
    wrapping = session.find(ObjectClass.SECRET_KEY, wrapping_label)
    try:
        private = _unwrap(wrapping, ObjectClass.PRIVATE_KEY, key_type, wrapped, MechanismFlag.SIGN)
    except (WrappedKeyInvalid, WrappedKeyLenRange) as error:
        raise KeyUnusable("the wrapped key does not unwrap") from error
    except (GeneralError, FunctionFailed) as error:
        # SoftHSM says GeneralError for an altered blob and for a broken token: only an experiment tells them apart.
        _prove_that_unwrapping_works(session, wrapping)
        raise KeyUnusable("the wrapped key does not unwrap") from error
    try:
        yield private
    finally:
        # Not suppressed: a key that cannot be destroyed is a broken session, whose repair ends every session object.
        private.destroy()


def _prove_that_unwrapping_works(session: TokenSession, wrapping: Any) -> None:
    """Wrap and unwrap a throw-away key; raises the PKCS11Error that says that the HSM cannot be asked now."""
    sample = session.raw.generate_key(
        KeyType.AES, 256, store=False, capabilities=_NO_USE, template=user_key_template(wrapping, fresh=True)
    )
    try:
        blob = bytes(wrapping.wrap_key(sample, mechanism=WRAP))
        _unwrap(wrapping, ObjectClass.SECRET_KEY, KeyType.AES, blob, _NO_USE).destroy()
    finally:
        sample.destroy()


def _unwrap(wrapping: Any, object_class: ObjectClass, key_type: KeyType, wrapped: bytes, uses: MechanismFlag) -> Any:
    return wrapping.unwrap_key(
        object_class,
        key_type,
        wrapped,
        mechanism=WRAP,
        store=False,
        capabilities=uses,
        template=user_key_template(wrapping, fresh=False),
    )
