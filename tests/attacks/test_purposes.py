"""A genuine certificate of one purpose, passed off for another: nobody seals to it, or believes it.

All that these authorities sign is under the pinned service root; its purpose is all that keeps one from the other, and
where nobody asks for it each is taken.
"""

from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from libs.bus.trust import key_trust, usable_key
from libs.contracts.state import Key
from libs.crypto import pki as building
from libs.crypto.pki import (
    SERVICE_PROFILES,
    Issuer,
    ServiceProfile,
    ServicePurpose,
    build_sealing_authority,
    build_service,
    distinguished_name,
)
from libs.crypto.public_keys import public_key_id
from libs.gpki_client import CertificateError, SealingKey, certificates
from libs.gpki_client.sealing import OID_SEALING
from services.otp_dispatch.sealing_key import newest_sealing_key
from tests.support.pki import EPOCH, Pki, p256_key

defended = pytest.mark.parametrize("defence", ["on", "off"])


@pytest.fixture(scope="module")
def tree() -> Pki:
    return Pki()


def der(issuer: Issuer) -> bytes:
    return issuer.certificate.public_bytes(Encoding.DER)


def issued(tree: Pki, issuer: Issuer, public_key: Any, purpose: ServicePurpose, name: str) -> bytes:
    made = build_service(
        issuer, public_key, purpose=purpose, name=distinguished_name(name), serial=tree.serial(),
        validity=tree.validity(),
    )  # fmt: skip
    return made.public_bytes(Encoding.DER)


@defended
@pytest.mark.parametrize("purpose", [each for each in ServicePurpose if each is not ServicePurpose.SEALING])
def test_no_other_service_s_certificate_is_a_sealing_key(
    tree: Pki, monkeypatch: pytest.MonkeyPatch, defence: str, purpose: ServicePurpose
) -> None:
    """I-17: who was certified as a caller or a producer, over a key that could open, has PIN and OTP sealed to it."""
    private = X25519PrivateKey.generate()
    with monkeypatch.context() as careless:  # an authority that looks at no kind of key
        marked = ServiceProfile(SERVICE_PROFILES[purpose].oid, (X25519PublicKey,), agrees=True)
        careless.setitem(SERVICE_PROFILES, purpose, marked)
        leaf = issued(tree, tree.service_root, private.public_key(), purpose, "sealing key")
    name, root = public_key_id(private.public_key()), der(tree.service_root)
    state = Key(key_id=name, version=1, purpose="sealing", owner="sealing key", chain=(leaf,), retired_at=None)
    if defence == "off":
        monkeypatch.setattr(certificates, "purposes", lambda _: {OID_SEALING})
        any_purpose = replace(SERVICE_PROFILES[ServicePurpose.SEALING], oid=SERVICE_PROFILES[purpose].oid)
        monkeypatch.setitem(SERVICE_PROFILES, ServicePurpose.SEALING, any_purpose)
    assert key_trust(root, lambda: EPOCH)(state) == (defence == "off")
    assert (newest_sealing_key([state], root, EPOCH) is not None) == (defence == "off")
    if defence == "off":
        assert SealingKey.judge(name, [leaf], service_root=root, at=EPOCH).key_id == name
        return
    with pytest.raises(CertificateError, match=r"^another purpose$"):
        SealingKey.judge(name, [leaf], service_root=root, at=EPOCH)


@defended
@pytest.mark.parametrize("purpose", ["caller", "registrar", "producer"])
def test_the_signer_s_authority_for_sealing_keys_makes_nobody_else(
    tree: Pki, monkeypatch: pytest.MonkeyPatch, defence: str, purpose: str
) -> None:
    """I-17: who has hsm_signer's sealing authority and may write `gpki.keys.v1` certifies whom he likes."""
    own, wanted = Ed25519PrivateKey.generate(), ServicePurpose(purpose)
    authority = tree.sealing_authority
    if defence == "off":
        with monkeypatch.context() as careless:  # an authority that is not limited to sealing keys
            careless.setattr(building, "OID_SEALING", SERVICE_PROFILES[wanted].oid)
            key = p256_key()
            certificate = build_sealing_authority(
                tree.service_root, key.public_key(), name=distinguished_name("Authority"), serial=tree.serial(),
                validity=tree.validity(),
            )  # fmt: skip
        authority = Issuer(certificate, key)
    leaf = issued(tree, authority, own.public_key(), wanted, "igfmas")
    state = Key(
        key_id=public_key_id(own.public_key()), version=1, purpose=purpose, owner="igfmas",
        chain=(leaf, der(authority)), retired_at=None,
    )  # fmt: skip
    assert key_trust(der(tree.service_root), lambda: EPOCH)(state) == (defence == "off")
    assert (usable_key(state, der(tree.service_root), EPOCH) is not None) == (defence == "off")
