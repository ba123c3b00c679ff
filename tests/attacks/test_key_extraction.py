"""A compromised hsm_signer, or a thief of its token's PIN, with a user's wrapped key and its wrapping key: KEY-1, I-14.

Everything that PKCS#11 lets the user's login do. Each way is also shown to work where what stops it is not there.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap, aes_key_unwrap_with_padding
from cryptography.hazmat.primitives.serialization import load_der_private_key
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass, Session, Token, UserType
from pkcs11.exceptions import (
    AttributeReadOnly,
    AttributeSensitive,
    KeyNotWrappable,
    KeyUnextractable,
    MechanismInvalid,
    PKCS11Error,
)

from libs.hsm.hsm import Hsm
from libs.hsm.keys import P256
from libs.hsm.module import finalize, initialize
from libs.hsm.token_session import new_attribute_mapper
from libs.hsm.wrapping_keys import WRAP, user_key_template
from tests.integration.hsm.softhsm import LABEL, MODULE, SO_PIN, USER_PIN, SoftHsm, ensure_wrapping_key

KEK = "kek"
KNOWN = b"known to the thief, all of it..."
WRAPS = MechanismFlag.WRAP | MechanismFlag.UNWRAP
ZEROS = bytes(16)
KNOWN_KEY = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.KEY_TYPE: KeyType.AES, Attribute.VALUE: KNOWN}


@pytest.fixture
async def blob(hsm: Hsm) -> bytes:
    """A user's key as the HSM wrapped it: what a right PIN gives the signer, and who is in it."""
    await ensure_wrapping_key(hsm, KEK)
    made = await hsm.generate_user_key(KEK, "p-256", lambda _key: b"")
    await hsm.aclose()
    return made.wrapped


@pytest.fixture
def token(soft_hsm: SoftHsm, blob: bytes) -> Iterator[Token]:
    del soft_hsm, blob  # after them
    yield initialize(MODULE).get_token(token_label=LABEL)
    finalize(MODULE)


@pytest.fixture
def thief(token: Token) -> Session:
    return opened(token, USER_PIN.get_secret_value())


def opened(token: Token, pin: str | None = None, who: UserType = UserType.USER) -> Session:
    return token.open(rw=True, user_pin=pin, user_type=who if pin else None, attribute_mapper=new_attribute_mapper())


def wrapping_key(session: Session) -> Any:
    (found,) = session.get_objects({Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.LABEL: KEK})
    return found


def let_in(wrapping: Any, blob: bytes, *, secret: bool = False, template: dict[Attribute, bool] | None = None) -> Any:
    """The user's key inside again: as the private key that it is, or as a secret of so many bytes."""
    return wrapping.unwrap_key(
        ObjectClass.SECRET_KEY if secret else ObjectClass.PRIVATE_KEY,
        KeyType.GENERIC_SECRET if secret else KeyType.EC,
        blob,
        mechanism=WRAP,
        store=False,
        capabilities=MechanismFlag.SIGN,
        template=user_key_template(wrapping, fresh=False) if template is None else template,
    )


def undefended(session: Session, *, secret: bool = False) -> Any:
    """A key that is let in with nothing forced on it, under a wrapping key of no template."""
    bare: Any = session.generate_key(KeyType.AES, 256, store=False, capabilities=WRAPS)
    curve = session.create_domain_parameters(KeyType.EC, {Attribute.EC_PARAMS: P256}, local=True)
    out = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: True}
    _, private = curve.generate_keypair(store=False, private_template=out)
    return let_in(bare, bytes(bare.wrap_key(private, mechanism=WRAP)), secret=secret, template=out)


def own_aes(session: Session) -> Any:
    """A wrapping key of which the thief knows every byte."""
    uses = {Attribute.TOKEN: False, Attribute.WRAP: True, Attribute.EXTRACTABLE: True}
    return session.create_object({**KNOWN_KEY, **uses})


def in_clear(padded: bytes) -> ec.EllipticCurvePrivateKey:
    """The private key of a PKCS#8 structure that SoftHSM has filled up with zeros."""
    key = load_der_private_key(padded[: 2 + padded[1]], None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def by_kwp(session: Session, key: Any) -> bytes:
    return aes_key_unwrap_with_padding(KNOWN, bytes(own_aes(session).wrap_key(key, mechanism=WRAP)))


def by_kw(session: Session, key: Any) -> bytes:
    return aes_key_unwrap(KNOWN, bytes(own_aes(session).wrap_key(key, mechanism=Mechanism.AES_KEY_WRAP)))


def by_rsa(session: Session, key: Any) -> bytes:
    """Of secrets only: so the private key is let in as one."""
    mine = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    numbers = mine.public_key().public_numbers()
    public: Any = session.create_object(
        {
            Attribute.CLASS: ObjectClass.PUBLIC_KEY,
            Attribute.KEY_TYPE: KeyType.RSA,
            Attribute.MODULUS: numbers.n.to_bytes(256),
            Attribute.PUBLIC_EXPONENT: numbers.e.to_bytes(3),
            Attribute.TOKEN: False,
            Attribute.WRAP: True,
        }
    )
    return mine.decrypt(bytes(public.wrap_key(key, mechanism=Mechanism.RSA_PKCS)), padding.PKCS1v15())


def by_a_known_key_that_the_wrapping_key_let_in(session: Session, key: Any) -> bytes:
    """Trusted is not what comes from under a trusted key."""
    kek = wrapping_key(session)
    template = user_key_template(kek, fresh=True)
    known = session.create_object({**KNOWN_KEY, **template})
    again = kek.unwrap_key(
        ObjectClass.SECRET_KEY,
        KeyType.AES,
        bytes(kek.wrap_key(known, mechanism=WRAP)),
        mechanism=WRAP,
        store=False,
        capabilities=WRAPS,
        template=template,
    )
    return aes_key_unwrap_with_padding(KNOWN, bytes(again.wrap_key(key, mechanism=WRAP)))


WAYS_OUT = [by_kwp, by_kw, by_rsa, by_a_known_key_that_the_wrapping_key_let_in]


@pytest.mark.parametrize("defence", ["on", "off"])
@pytest.mark.parametrize("way", WAYS_OUT)
def test_a_users_key_leaves_under_no_key_that_the_signer_can_make(
    thief: Session, blob: bytes, way: Callable[[Session, Any], bytes], defence: str
) -> None:
    """KEY-1, I-14."""
    secret = way is by_rsa
    if defence == "off":
        assert in_clear(way(thief, undefended(thief, secret=secret))).key_size == 256
        return
    with pytest.raises(KeyNotWrappable):
        way(thief, let_in(wrapping_key(thief), blob, secret=secret))


def generated(session: Session) -> Any:
    return session.generate_key(
        KeyType.AES, 256, store=False, capabilities=WRAPS, template={Attribute.TRUSTED: True, Attribute.PRIVATE: False}
    )


def created(session: Session) -> Any:
    public = {Attribute.TOKEN: False, Attribute.PRIVATE: False}
    return session.create_object({**KNOWN_KEY, **public, Attribute.WRAP: True, Attribute.TRUSTED: True})


def generated_in_a_pair(session: Session) -> Any:
    public, _ = session.generate_keypair(
        KeyType.RSA,
        2048,
        store=False,
        capabilities=WRAPS,
        public_template={Attribute.TRUSTED: True, Attribute.PRIVATE: False},
        private_template={Attribute.PRIVATE: False},
    )
    return public


@pytest.mark.parametrize("way", [generated, created, generated_in_a_pair])
def test_only_the_security_officer_makes_a_trusted_key(token: Token, way: Callable[[Session], Any]) -> None:
    thief = opened(token, USER_PIN.get_secret_value())
    with pytest.raises(AttributeReadOnly):
        way(thief)
    thief.close()
    assert way(opened(token, SO_PIN.get_secret_value(), UserType.SO))[Attribute.TRUSTED] is True


def test_no_key_of_the_signers_is_made_trusted_afterwards(thief: Session, blob: bytes) -> None:
    mine = own_aes(thief)
    for how in (lambda: mine.copy({Attribute.TRUSTED: True}), lambda: mine.__setitem__(Attribute.TRUSTED, True)):
        with pytest.raises(AttributeReadOnly):
            how()
    kek = wrapping_key(thief)
    trusting = {Attribute.TRUSTED: True, **user_key_template(kek, fresh=False)}
    with pytest.raises(AttributeReadOnly):
        let_in(kek, blob, secret=True, template=trusting)
    mine[Attribute.LABEL] = "mine"
    assert mine.copy({Attribute.LABEL: "copied"})[Attribute.LABEL] == "copied", "what is not trust does change"


def test_who_has_the_security_officers_pin_too_has_the_keys_that_are_entered(token: Token, blob: bytes) -> None:
    """The other half: what keeps a key inside is that this PIN is nowhere where the signer is (docs/security.md)."""
    between = opened(token)
    officer = opened(token, SO_PIN.get_secret_value(), UserType.SO)
    trusted = created(between)
    officer.close()
    thief = opened(token, USER_PIN.get_secret_value())
    wrapped = bytes(trusted.wrap_key(let_in(wrapping_key(thief), blob), mechanism=WRAP))
    assert in_clear(aes_key_unwrap_with_padding(KNOWN, wrapped)).key_size == 256


LIFTED = {
    Attribute.WRAP_WITH_TRUSTED: False,
    Attribute.SENSITIVE: False,
    Attribute.TOKEN: True,
    Attribute.PRIVATE: False,
    Attribute.MODIFIABLE: True,
    Attribute.COPYABLE: True,
    Attribute.LABEL: "nothing but another name",
}


@pytest.mark.parametrize("attribute", LIFTED)
@pytest.mark.parametrize("secret", [False, True])
def test_nothing_that_is_forced_on_a_users_key_is_lifted_or_copied_away(
    thief: Session, blob: bytes, attribute: Attribute, secret: bool
) -> None:
    """I-14. SoftHSM answers CKR_ACTION_PROHIBITED, which python-pkcs11 has no name for."""
    key = let_in(wrapping_key(thief), blob, secret=secret)
    before = len(list(thief.get_objects()))
    with pytest.raises(PKCS11Error):
        key[attribute] = LIFTED[attribute]
    with pytest.raises(PKCS11Error):
        key.copy({attribute: LIFTED[attribute]})
    assert len(list(thief.get_objects())) == before
    with pytest.raises(AttributeSensitive):
        key[Attribute.VALUE]


def test_a_key_that_is_not_forbidden_to_be_copied_becomes_a_token_object(thief: Session) -> None:
    """What a wrapping key's template did not forbid before COPYABLE and MODIFIABLE were in it."""
    stays = undefended(thief).copy({Attribute.TOKEN: True})
    assert stays[Attribute.TOKEN] is True
    stays.destroy()


WEAKER = {
    Attribute.DECRYPT: True,
    Attribute.ENCRYPT: True,
    Attribute.DERIVE: True,
    Attribute.SENSITIVE: False,
    Attribute.EXTRACTABLE: True,
    Attribute.MODIFIABLE: True,
    Attribute.PRIVATE: False,
    Attribute.ALLOWED_MECHANISMS: (Mechanism.AES_CBC,),
    Attribute.WRAP_TEMPLATE: {Attribute.SENSITIVE: True},
    Attribute.UNWRAP_TEMPLATE: {Attribute.SENSITIVE: True},
}


@pytest.mark.parametrize("attribute", WEAKER)
def test_the_wrapping_key_becomes_no_weaker_and_no_copy_of_it_is(thief: Session, attribute: Attribute) -> None:
    kek = wrapping_key(thief)
    with pytest.raises(PKCS11Error):
        kek[attribute] = WEAKER[attribute]
    with pytest.raises(PKCS11Error):
        kek.copy({attribute: WEAKER[attribute]})
    assert len(list(thief.get_objects({Attribute.LABEL: KEK}))) == 1


def test_a_wrapping_key_that_could_be_changed_would_decrypt(thief: Session) -> None:
    changeable = thief.generate_key(KeyType.AES, 256, store=False, capabilities=WRAPS)
    changeable[Attribute.DECRYPT] = True
    assert changeable.copy({Attribute.ENCRYPT: True})[Attribute.DECRYPT] is True


def test_the_wrapping_key_itself_stays_and_wraps_users_keys_by_kwp_alone(thief: Session, blob: bytes) -> None:
    kek, mine = wrapping_key(thief), own_aes(thief)
    with pytest.raises(AttributeSensitive):
        kek[Attribute.VALUE]
    for by in (mine, kek):
        with pytest.raises(KeyUnextractable):
            by.wrap_key(kek, mechanism=WRAP)
    key = let_in(kek, blob)
    for mechanism, parameter in ((Mechanism.AES_CBC, ZEROS), (Mechanism.AES_KEY_WRAP, None)):
        with pytest.raises(MechanismInvalid):
            kek.wrap_key(key, mechanism=mechanism, mechanism_param=parameter)
    with pytest.raises(KeyNotWrappable):
        kek.wrap_key(mine, mechanism=WRAP)
    assert bytes(kek.wrap_key(key, mechanism=WRAP)) == blob, "and this gives a thief nothing that was not there"


def test_without_a_login_nothing_is_seen(token: Token) -> None:
    """Not the wrapping key either: what the security officer makes is stored by the user, private."""
    assert list(opened(token).get_objects()) == []
