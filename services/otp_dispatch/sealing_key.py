"""Which of the signer's sealing keys a challenge is sealed to."""

from collections.abc import Iterable
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from libs.bus.trust import usable_key
from libs.contracts.state import Key
from libs.crypto.certificates import certificate_facts

SEALING_KEY = "sealing-key"
"""The dependency's name in `Unavailable`: the signer has not published a key that is good now."""


def newest_sealing_key(keys: Iterable[Key], service_root: bytes, at: datetime) -> X25519PublicKey | None:
    """The usable key whose certificate is the youngest: it is the last to be destroyed."""
    live = [key for key in keys if key.retired_at is None or key.retired_at > at]
    for key in sorted(live, key=lambda key: certificate_facts(key.chain[0]).not_before, reverse=True):
        identity = usable_key(key, service_root, at)
        if identity is not None and isinstance(identity.public_key, X25519PublicKey):
            return identity.public_key
    return None
