"""Who calls: the key of a JWT from our copy of the state, over its own connection, and each JWT only once."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

import structlog

from libs.bus.outcomes import Unavailable
from libs.bus.trust import usable_key
from libs.contracts.problems import ProblemCode
from libs.runtime.clock import Clock
from libs.storage import state
from libs.storage.pool import Connection, Pool
from services.gateway.authentication import LEEWAY, Caller, judge, key_id_of
from services.gateway.problems import ProblemError
from services.gateway.store import SQL

ACQUIRE_TIMEOUT: Final = 5.0
"""Seconds that a call waits for a connection to the database."""

log = structlog.get_logger()


class Access:
    """Admits callers. `knows_keys` says whether the state of the keys was read to its end."""

    def __init__(self, pool: Pool, service_root: bytes, clock: Clock, knows_keys: Callable[[], bool]) -> None:
        self._pool = pool
        self._service_root = service_root
        self._clock = clock
        self._knows_keys = knows_keys

    async def admit(self, token: str | None, *, connected: str | None) -> Caller:
        """The caller of this token, which is used up by it. Raises ProblemError; Unavailable while keys are unknown.

        `connected` is the `connected_key` of the call. Over a connection of another a token is not even used up.
        """
        key_id = key_id_of(token) if token else None
        if token is None or key_id is None:
            raise refused("no-token")
        require_connection(key_id, connected)
        now = self._clock()
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as connection:
            key = await state.key(connection, key_id, "caller")
            if key is None and not self._knows_keys():
                raise Unavailable("state")
            caller = judge(token, usable_key(key, self._service_root, now), now)
            if caller is None:
                raise refused("not-valid" if key else "unknown-key")
            await use_up(connection, caller, now)
        return caller


def require_connection(key_id: str, connected: str | None) -> None:
    """Raise ProblemError unless the call's connection is that of this key's holder."""
    if connected is None:
        raise refused("no-client-certificate")
    if connected != key_id:
        raise refused("another-certificate-than-the-token's")


async def use_up(connection: Connection, caller: Caller, now: datetime) -> None:
    """Use the caller's token up. Raises ProblemError when it was used before."""
    # Forgotten only once it cannot be admitted any more, whatever the clocks of two replicas differ.
    arguments = caller.name, caller.jti, caller.forget_at, now - LEEWAY
    if await connection.fetchval(SQL["use_jwt"], *arguments) is None:
        raise refused("used-before")


def refused(why: str) -> ProblemError:
    """The answer to who is not admitted; only the log says why."""
    log.warning("caller-refused", why=why)
    return ProblemError(ProblemCode.UNAUTHORISED)
