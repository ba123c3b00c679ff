"""A database of the signer that is put back while the signer runs: it ends, and the next one waits."""

import asyncio
from contextlib import nullcontext
from typing import Any

import pytest
from asyncpg.pool import PoolConnectionProxy

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

    watched, back = archive.history(), asyncio.create_task(put_back())
    async with watched._reader() as consumer:
        with monkeypatch.context() as during:
            during.setattr(History, "_keep", keep_late)
            if defence == "off":
                during.setattr(PoolConnectionProxy, "transaction", lambda _: nullcontext())
            await watched.look(consumer)
        await back
        with nullcontext() if defence == "off" else pytest.raises(WentBack):
            await watched.look(consumer)
