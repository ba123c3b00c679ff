"""Whose challenges the signer believes: those of otp_dispatch."""

from typing import Any

from libs.bus.trust import usable_key
from libs.runtime.clock import Clock
from libs.storage import state
from libs.storage.pool import Pool

CHALLENGE_PRODUCER = "otp_dispatch"
"""The only producer whose challenges count."""


class ChallengeProducers:
    """Keys of our own copy of `gpki.keys.v1`, judged at each use."""

    def __init__(self, pool: Pool, service_root: bytes, clock: Clock) -> None:
        self._pool = pool
        self._service_root = service_root
        self._clock = clock

    async def keys(self) -> dict[str, Any]:
        """Public keys that may sign activation challenges, by key id."""
        async with self._pool.acquire() as connection:
            kept = await state.keys(connection, "producer")
        identities = (usable_key(key, self._service_root, self._clock()) for key in kept)
        return {
            identity.key_id: identity.public_key
            for identity in identities
            if identity is not None and identity.name == CHALLENGE_PRODUCER
        }
