"""Sealing keys over several replicas: what one destroys, none opens with any more."""

from datetime import datetime, timedelta

import pytest

from libs.runtime.clock import utc_now
from services.hsm_signer.sealing_keys import SealingKeys
from tests.integration.hsm_signer.conftest import KEPT, LIFETIME, Signer

MOMENT = timedelta(seconds=1)


@pytest.fixture
def start() -> datetime:
    return utc_now()


async def rotate(signer: Signer, keys: SealingKeys, now: datetime) -> str:
    """What the timer does in one replica; returns the new key's id."""
    new = await keys.make(now)
    async with signer.room.pool.acquire() as connection, connection.transaction():
        await keys.rotate(connection, new, now)
        await keys.destroy_old(connection, now)
    return new.key_id


async def test_a_key_that_a_replica_destroyed_opens_nothing_in_any_other(signer: Signer, start: datetime) -> None:
    one, twin, idle = signer.sealing_keys(), signer.sealing_keys(), signer.sealing_keys()
    old = await rotate(signer, one, start)
    new = await rotate(signer, one, start + LIFETIME)
    for replica in (one, twin, idle):
        assert await replica.private_key(old) is not None
    async with signer.room.pool.acquire() as connection:
        await one.destroy_old(connection, start + LIFETIME + KEPT - MOMENT)
        assert await twin.private_key(old) is not None, "replaced, and not yet too old"
        await one.destroy_old(connection, start + LIFETIME + KEPT + MOMENT)
    for replica in (one, twin):
        assert await replica.private_key(old) is None
        assert await replica.private_key(new) is not None
    assert await idle.private_key(new) is not None
    assert old not in idle._private, "it is forgotten with the next use of any key"
