"""The timer of the sealing keys, as a service that runs has it: a new key after a day, and no word before."""

from contextlib import AsyncExitStack
from datetime import datetime, timedelta

import pytest

from libs.bus.service import start_timers
from libs.bus.topics import create_topics
from libs.contracts import topics
from libs.contracts.state import Key
from libs.hsm.hsm import Hsm
from libs.runtime.clock import utc_now
from libs.storage.migrations import migrate
from services.hsm_signer import handlers
from services.hsm_signer.app import MIGRATIONS
from services.hsm_signer.sealing_keys import SealingKeys
from services.hsm_signer.settings import Settings
from tests.integration.hsm_signer.conftest import sealing_authority
from tests.support.bus import Room, open_room
from tests.support.pki import Pki
from tests.support.stack import Stack
from tests.support.waiting import eventually

LIFETIME, KEPT = (Settings.model_fields[name].default for name in ("sealing_key_lifetime", "sealing_key_kept"))
MOMENT = timedelta(minutes=1)


async def looked(room: Room) -> None:
    """Have the timer come due, and wait until it has looked."""
    tries = await room.count("select tries from due")
    await room.pool.execute("update due set at = now()")

    async def again() -> bool:
        return await room.count("select tries from due") > tries

    await eventually(again, "the timer has looked")


async def told(room: Room) -> list[Key]:
    rows = await room.pool.fetch("select value from recorded where topic = $1", topics.KEYS.name)
    return [Key.model_validate_json(row["value"]) for row in rows]


async def test_the_timer_replaces_the_key_daily_and_destroys_the_old_one_two_days_later(
    stack: Stack, hsm: Hsm, pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I-10: with the settings as they come; by the clock that the service has, and each state is told."""
    assert (timedelta(hours=24), timedelta(hours=48)) == (LIFETIME, KEPT)
    own = stack.own(topics.KEYS)
    monkeypatch.setattr(topics, "KEYS", own)
    await create_topics(stack.kafka, topics=[own])
    authority, ahead = await sealing_authority(hsm, pki), timedelta()

    def clock() -> datetime:
        return utc_now() + ahead

    async with open_room(stack) as room, AsyncExitStack() as running:
        room.owns(own)
        await migrate(room.pool, [MIGRATIONS])
        keys = SealingKeys(hsm, room.pool, authority, lifetime=LIFETIME, kept=KEPT)
        bus = room.bus()
        bus.timer(handlers.ROTATION, handlers.rotation(keys, clock))
        await start_timers(room.pool, room.schema, utc_now, [(handlers.ROTATION, handlers.Rotation())])
        await running.enter_async_context(bus)
        await eventually(lambda: told(room), "the first key")
        (first,) = await told(room)

        ahead = LIFETIME - MOMENT
        await looked(room)
        assert await told(room) == [first], "not a day old yet"

        ahead = LIFETIME + MOMENT
        await looked(room)
        after = {(one.key_id, one.version): one for one in await told(room)}
        assert len(after) == 3
        retired = after.pop((first.key_id, 2))
        assert retired.retired_at is not None
        ((_, new),) = ((key, one) for key, one in after.items() if one.key_id != first.key_id)
        assert (new.version, new.retired_at) == (1, None)
        assert await keys.private_key(first.key_id) is not None, "what was sealed to it is under way"

        ahead = LIFETIME + KEPT - MOMENT
        await looked(room)
        assert await keys.private_key(first.key_id) is not None
        ahead = LIFETIME + KEPT + 2 * MOMENT
        await looked(room)
        assert await keys.private_key(first.key_id) is None
        live = await room.pool.fetchval("select key_id from sealing_key where retired_at is null")
        assert live not in {first.key_id, new.key_id}, "which is two days old by now"
        assert await keys.private_key(live) is not None
