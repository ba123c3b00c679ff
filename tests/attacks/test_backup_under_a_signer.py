"""A database of the signer that is put back while the signer runs: it ends, and the next one waits."""

import asyncio

import pytest

from libs.runtime.health import Health
from services.hsm_signer import history
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
