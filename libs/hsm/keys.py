"""Keys that stay in the token for years: MAC keys, and the key pairs of authorities; what confines all that do."""

from collections.abc import Mapping
from typing import Any, Final

from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.util.ec import encode_named_curve_parameters

from libs.hsm.adapters import HsmPrivateKey, adapt
from libs.hsm.errors import HsmRefused
from libs.hsm.token_session import TokenSession

__all__ = [
    "P256",
    "SECRET_KEY_USES",
    "attributes",
    "destroy_secret_key",
    "ensure_mac_key",
    "ensure_p256_key",
    "ensure_rsa_key",
    "find_secret_key",
    "hmac_sha256",
    "load_private_key",
    "refuse_unless_confined",
]

P256: Final = encode_named_curve_parameters("secp256r1")
_SIGN_AND_VERIFY: Final = MechanismFlag.SIGN | MechanismFlag.VERIFY
_STAYS_INSIDE: Final[Mapping[Attribute, bool]] = {
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.MODIFIABLE: False,
}
SECRET_KEY_USES: Final = (
    Attribute.ENCRYPT,
    Attribute.DECRYPT,
    Attribute.WRAP,
    Attribute.UNWRAP,
    Attribute.SIGN,
    Attribute.VERIFY,
    Attribute.DERIVE,
)
_PRIVATE_KEY_USES: Final = (Attribute.DECRYPT, Attribute.UNWRAP, Attribute.SIGN, Attribute.DERIVE)
_ORIGIN: Final = (Attribute.LOCAL, Attribute.ALWAYS_SENSITIVE, Attribute.NEVER_EXTRACTABLE)


def ensure_mac_key(session: TokenSession, label: str) -> None:
    """GENERIC_SECRET of 256 bits for `hmac_sha256`; raises HsmRefused when the label holds one that may do more."""
    key = session.find_or_create(
        ObjectClass.SECRET_KEY,
        label,
        lambda: session.raw.generate_key(
            KeyType.GENERIC_SECRET,
            256,
            label=label,
            store=True,
            capabilities=_SIGN_AND_VERIFY,
            template=dict(_STAYS_INSIDE),
        ),
    )
    refuse_unless_confined(key, label, {Attribute.SIGN, Attribute.VERIFY}, SECRET_KEY_USES)


def destroy_secret_key(session: TokenSession, label: str) -> bool:
    """Destroy a wrapping or MAC key for good; False when there is none. Safe to repeat."""
    return session.destroy(ObjectClass.SECRET_KEY, label)


def find_secret_key(session: TokenSession, label: str) -> None:
    """Return when there is a wrapping or MAC key of this label; `Hsm.run` tells a missing one from a lost session."""
    session.find(ObjectClass.SECRET_KEY, label)


def hmac_sha256(session: TokenSession, label: str, data: bytes) -> bytes:
    """HMAC-SHA-256 (RFC 2104) over at least one byte, 32 bytes; the key never leaves the HSM."""
    return bytes(session.find(ObjectClass.SECRET_KEY, label).sign(data, mechanism=Mechanism.SHA256_HMAC))


def ensure_rsa_key(session: TokenSession, label: str, bits: int) -> None:
    """RSA key pair for an authority; raises HsmRefused when the label holds a key that may leave or do more than sign.

    An existing key keeps its size, whatever `bits` says: certificates depend on it.
    """
    key = session.find_or_create(
        ObjectClass.PRIVATE_KEY,
        label,
        lambda: session.raw.generate_keypair(
            KeyType.RSA,
            bits,
            label=label,
            store=True,
            capabilities=_SIGN_AND_VERIFY,
            private_template=dict(_STAYS_INSIDE),
        ),
    )
    refuse_unless_confined(key, label, {Attribute.SIGN}, _PRIVATE_KEY_USES)


def ensure_p256_key(session: TokenSession, label: str) -> None:
    """P-256 key pair for an authority; raises as `ensure_rsa_key`."""
    key = session.find_or_create(
        ObjectClass.PRIVATE_KEY,
        label,
        lambda: session.raw.create_domain_parameters(
            KeyType.EC, {Attribute.EC_PARAMS: P256}, local=True
        ).generate_keypair(
            label=label, store=True, capabilities=_SIGN_AND_VERIFY, private_template=dict(_STAYS_INSIDE)
        ),
    )
    refuse_unless_confined(key, label, {Attribute.SIGN}, _PRIVATE_KEY_USES)


def load_private_key(session: TokenSession, label: str) -> HsmPrivateKey:
    """The authority's key for `cryptography`'s builders; use it inside the same `Hsm.run`, never keep it."""
    return adapt(session.find(ObjectClass.PRIVATE_KEY, label), session.find(ObjectClass.PUBLIC_KEY, label))


def attributes(session: TokenSession, object_class: ObjectClass, label: str) -> dict[str, Any]:
    """What the HSM itself says about a key, by attribute name: the evidence for mission.md KEY-1."""
    key = session.find(object_class, label)
    uses = _PRIVATE_KEY_USES if object_class is ObjectClass.PRIVATE_KEY else SECRET_KEY_USES
    trust = (Attribute.TRUSTED,) if object_class is ObjectClass.SECRET_KEY else ()
    wanted = (Attribute.TOKEN, *_STAYS_INSIDE, *_ORIGIN, *uses, *trust)
    return {attribute.name: key[attribute] for attribute in wanted}


def refuse_unless_confined(key: Any, label: str, allowed: set[Attribute], uses: tuple[Attribute, ...]) -> None:
    """A key that somebody made beforehand with the right label and weak attributes is an attack: raises HsmRefused."""
    expected = {**_STAYS_INSIDE, **{use: use in allowed for use in uses}}
    wrong = sorted(attribute.name for attribute, value in expected.items() if key[attribute] is not value)
    if wrong:
        raise HsmRefused(f"key {label!r} in the token has unacceptable {', '.join(wrong)}")
