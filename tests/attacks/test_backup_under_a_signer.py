"""A database of the signer that is put back while the signer runs: it ends, and the next one waits."""

import asyncio
from contextlib import nullcontext
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from structlog.testing import capture_logs

from libs.runtime.health import Health
from services.hsm_signer import history
from services.hsm_signer.history import History, WentBack
from tests.attacks.test_backup import archive
from tests.support.backups import Archive
from tests.support.bus import reports
from tests.support.going_back import EVENTS, PIN
from tests.support.waiting import eventually

__all__ = ["archive"]

pytestmark = pytest.mark.stack


@pytest.mark.parametrize("defence", ["on", "off"])
async def test_a_database_that_is_put_back_under_a_running_signer_ends_it(
    archive: Archive,
    monkeypatch: pytest.MonkeyPatch,
    defence: str,
) -> None:
    """I-51: by who administers the database, a moment after the officer's PIN was locked."""
    ended = asyncio.Event()
    monkeypatch.setattr(history, "LOOK_EVERY", 0.2)
    monkeypatch.setattr(history, "end_process", ended.set)
    officer = await archive.cabinet.enrol(PIN)
    await archive.look()
    dump = await archive.dump()
    health, watched = Health("hsm_signer"), archive.history()
    watching = asyncio.create_task(watched.watch("hsm_signer", health) if defence == "on" else asyncio.Event().wait())
    try:
        attempt = await EVENTS["the third wrong PIN"](archive, officer)
        assert await attempt() == "pin-locked"
        await archive.put_back(dump)
        if defence == "off":
            assert await attempt() == "signed"
            return
        await asyncio.wait_for(ended.wait(), 30)
        await eventually(lambda: reports(health, history.CHECK), "its health says so")
        assert not health.ready
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


@pytest.mark.parametrize("defence", ["on", "off"])
async def test_a_database_that_is_put_back_during_a_look_is_found_by_the_next(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, defence: str
) -> None:
    """I-51: a look does not say of the database that comes what it saw in the one that went."""
    officer = await archive.cabinet.enrol(PIN)
    await archive.look()
    dump = await archive.dump()
    await EVENTS["the third wrong PIN"](archive, officer)
    keep, putting_back = History._keep, asyncio.Event()

    async def keep_late(look: History, *arguments: Any) -> None:
        putting_back.set()
        await eventually(lambda: back.done() or archive.waits_for_a_lock(), "it is put back, or waits")
        await keep(look, *arguments)

    async def put_back() -> None:
        await putting_back.wait()
        await archive.put_back(dump)

    async def unheld(look: History, consumer: AIOKafkaConsumer) -> None:
        async with look._pool.acquire() as connection:
            look._seen = await look._look(consumer, connection)

    watched, back = archive.history(), asyncio.create_task(put_back())
    try:
        async with watched._reader() as consumer:
            with monkeypatch.context() as during:
                during.setattr(History, "_keep", keep_late)
                if defence == "off":
                    during.setattr(History, "look", unheld)
                await watched.look(consumer)
            await back
            with nullcontext() if defence == "off" else pytest.raises(WentBack):
                await watched.look(consumer)
    finally:
        back.cancel()
        await asyncio.gather(back, return_exceptions=True)


async def test_who_keeps_the_signer_from_looking_is_told_of(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """I-51: by who administers the database, and holds the table before it is put back."""
    monkeypatch.setattr(history, "LOOK_EVERY", 0.2)
    monkeypatch.setattr(history, "BLIND_LOOKS", 2)
    await archive.look()
    health, watched = Health("hsm_signer"), archive.history()
    holder = await archive.cabinet.room.superuser()
    with capture_logs() as logs:
        watching = asyncio.create_task(watched.watch("hsm_signer", health))
        try:
            async with holder.transaction():
                await holder.execute(f"LOCK TABLE {archive.cabinet.room.schema}.history IN ACCESS EXCLUSIVE MODE")
                await eventually(lambda: any(line.get("alarm") == "custody-unseen" for line in logs), "an alarm")
                assert not health.ready
            await eventually(lambda: health.ready, "it looks again")
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await holder.close()


async def test_what_a_look_has_found_is_not_lost_with_its_session(archive: Archive) -> None:
    """I-51: by who administers the database, puts it back, and ends whoever looks."""
    officer = await archive.cabinet.enrol(PIN)
    await archive.look()
    dump = await archive.dump()
    await EVENTS["the third wrong PIN"](archive, officer)
    await archive.put_back(dump)
    holder, watched = await archive.cabinet.room.superuser(), archive.history()

    async def genuine(*_: object) -> bool:
        ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = $1"
        assert await holder.fetchval(ended, archive.cabinet.room.schema) > 0
        return True

    watched._genuine = genuine
    try:
        async with watched._reader() as consumer:
            with pytest.raises(WentBack):
                await watched.look(consumer)
    finally:
        await holder.close()
