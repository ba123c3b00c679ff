"""The signer knows whether its HSM signs before an officer finds out."""

import asyncio

from cryptography.hazmat.primitives.asymmetric import ec
from prometheus_client import CollectorRegistry

from libs.hsm.hsm import Hsm
from libs.runtime.health import Health
from services.hsm_signer import proof
from services.hsm_signer.hsm import HSM
from tests.integration.hsm.conftest import hsm, soft_hsm
from tests.support.waiting import eventually

__all__ = ["hsm", "soft_hsm"]

LABEL = "proof-1"


async def public_key(of: Hsm, label: str = LABEL) -> ec.EllipticCurvePublicKey:
    await of.ensure_p256_key(label)
    key = await of.with_private_key(label, lambda key: key.public_key())
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key


async def test_a_signature_that_was_made_and_verified_is_well_and_anything_else_is_not(hsm: Hsm) -> None:
    own = await public_key(hsm)
    ok, detail = await proof.prove(hsm, LABEL, own)
    assert (ok, detail[:22]) == (True, "test signature made in")
    assert await proof.prove(hsm, "nobody-s", own) == (False, "it refuses to sign")
    ok, detail = await proof.prove(hsm, LABEL, await public_key(hsm, "proof-2"))
    assert (ok, "does not verify" in detail) == (False, True)
    await hsm.ensure_rsa_key("proof-rsa", 2048)
    assert (await proof.prove(hsm, "proof-rsa", own))[0] is False
    await hsm.aclose()
    assert await proof.prove(hsm, LABEL, own) == (False, "it cannot be asked (HsmUnavailable)")


async def test_the_check_is_starting_until_the_first_signature_and_then_told_with_its_age(hsm: Hsm) -> None:
    health = Health("hsm_signer", registry=CollectorRegistry(), expects=[HSM])
    assert not health.ready
    watching = asyncio.create_task(proof.watch(hsm, LABEL, await public_key(hsm), health))
    try:
        await eventually(lambda: health.ready, "the first test signature")
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
