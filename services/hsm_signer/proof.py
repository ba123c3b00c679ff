"""A signature that nobody needs, made every minute: that the HSM signs is known before an officer finds out.

The key is the sealing authority's: the one private key that stays in the token, so that no officer's key is touched.
"""

import asyncio
import secrets
import time
from typing import Final

import structlog
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from libs.hsm.adapters import HsmECPrivateKey, HsmPrivateKey
from libs.hsm.errors import HsmError, HsmRefused
from libs.hsm.hsm import Hsm
from libs.runtime.health import Health
from services.hsm_signer.hsm import HSM

EVERY: Final = 60.0
"""Seconds between two; a P-256 signature takes the HSM about 1 ms."""

AGAIN: Final = 5.0
"""Seconds after one that failed."""

_DOMAIN: Final = b"gpki.hsm-test-signature.v1"
"""Begins what is signed. A certificate begins with 0x30: none can be made of this."""

log = structlog.get_logger()


async def watch(hsm: Hsm, label: str, public_key: ec.EllipticCurvePublicKey, health: Health) -> None:
    """Report the health check `hsm`, until cancelled."""
    while True:
        ok, detail = await prove(hsm, label, public_key)
        if not ok:
            log.warning("test signature failed", detail=detail)
        health.set(HSM, ok, detail)
        await asyncio.sleep(EVERY if ok else AGAIN)


async def prove(hsm: Hsm, label: str, public_key: ec.EllipticCurvePublicKey) -> tuple[bool, str]:
    """Sign something new with the P-256 key of this label; whether the public key verifies that, and in words."""
    message = _DOMAIN + secrets.token_bytes(32)
    began = time.monotonic()
    try:
        signature = await hsm.with_private_key(label, lambda key: _sign(key, message))
        took = time.monotonic() - began
        public_key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
    except HsmRefused:
        return False, "it refuses to sign"
    except InvalidSignature:
        return False, "its signature does not verify: another key than the certificate's"
    except HsmError as error:
        return False, f"it cannot be asked ({type(error).__name__})"
    return True, f"test signature made in {took * 1000:.0f} ms, and verified"


def _sign(key: HsmPrivateKey, message: bytes) -> bytes:
    if not isinstance(key, HsmECPrivateKey):
        raise HsmRefused("the sealing authority's key is not of P-256")
    return key.sign(message, ec.ECDSA(hashes.SHA256()))
