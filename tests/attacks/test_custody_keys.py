"""Rotation of the HSM's keys over users' keys, and what a thief has of a database once the old key is destroyed."""

from uuid import UUID

import pytest

from libs.hsm.errors import HsmRefused
from libs.runtime.settings import ConfigurationError
from services.hsm_signer import custody_keys
from services.hsm_signer.custody import PEPPER, WRAPPING_KEY, Protection
from services.hsm_signer.custody_keys import StillInUse
from tests.support.custody import CHEAP, Cabinet

pytestmark = pytest.mark.stack

PIN, WRONG = "Kn4ri-betul-kuda", "Kn4ri-salah-kuda"
NEW_PEPPER, NEW_WRAPPING_KEY = "pin-pepper-2", "user-wrapping-2"


async def rotate(cabinet: Cabinet) -> None:
    """What new settings, `init` and a restart do."""
    await cabinet.hsm.ensure_mac_key(NEW_PEPPER)
    await cabinet.hsm.ensure_wrapping_key(NEW_WRAPPING_KEY)
    current = Protection(NEW_WRAPPING_KEY, NEW_PEPPER, CHEAP)
    async with cabinet.room.pool.acquire() as connection:
        await custody_keys.know(connection, current)
    cabinet.protect(wrapping_key=NEW_WRAPPING_KEY, pepper=NEW_PEPPER)


async def protection(cabinet: Cabinet, credential: UUID) -> tuple[str, str]:
    row = await cabinet.row(credential)
    return row["wrapping_key"], row["pepper"]


async def test_each_credential_gets_the_new_pepper_with_its_next_right_pin_and_new_keys_get_both(
    cabinet: Cabinet,
) -> None:
    """I-14."""
    used, idle = await cabinet.enrol(PIN), await cabinet.enrol(PIN)
    await rotate(cabinet)
    await cabinet.authorise(used, pin=WRONG)
    assert await protection(cabinet, used) == (WRAPPING_KEY, PEPPER), "a wrong PIN moves nothing"
    assert await cabinet.authorise(used, pin=PIN) == "signed"
    assert await protection(cabinet, used) == (WRAPPING_KEY, NEW_PEPPER)
    assert await protection(cabinet, idle) == (WRAPPING_KEY, PEPPER)
    assert await protection(cabinet, await cabinet.enrol(PIN)) == (NEW_WRAPPING_KEY, NEW_PEPPER)
    assert await cabinet.authorise(used, pin=PIN) == "signed", "under the wrapping key that it came with"


async def test_a_key_is_not_destroyed_while_a_credential_is_under_it(cabinet: Cabinet) -> None:
    used, idle = await cabinet.enrol(PIN), await cabinet.enrol(PIN)
    await rotate(cabinet)
    assert await cabinet.authorise(used, pin=PIN) == "signed"
    with pytest.raises(StillInUse) as refused:
        await custody_keys.destroy(cabinet.room.pool, cabinet.hsm, PEPPER)
    assert refused.value.credentials == 1
    assert await cabinet.authorise(used, pin=PIN) == "signed"
    await cabinet.certify(idle, status="revoked")  # its officer gets a new certificate
    assert await custody_keys.destroy(cabinet.room.pool, cabinet.hsm, PEPPER)
    assert await cabinet.authorise(used, pin=PIN) == "signed"
    assert not await custody_keys.destroy(cabinet.room.pool, cabinet.hsm, PEPPER), "twice is once"
    await cabinet.hsm.ensure_mac_key(PEPPER)  # for the tests that share the token


async def test_without_the_guard_of_the_database_an_officer_would_lose_the_key(cabinet: Cabinet) -> None:
    credential = await cabinet.kept(await cabinet.enrol(PIN))
    await rotate(cabinet)
    await cabinet.room.pool.execute("alter table credential drop constraint credential_pepper_fkey")
    await custody_keys.destroy(cabinet.room.pool, cabinet.hsm, PEPPER)
    with pytest.raises(HsmRefused):
        await cabinet.custody.open(credential, PIN)
    await cabinet.hsm.ensure_mac_key(PEPPER)


@pytest.mark.parametrize("defence", ["on", "off"])
async def test_a_database_that_was_stolen_before_opens_nothing_once_the_old_pepper_is_destroyed(
    cabinet: Cabinet, defence: str
) -> None:
    """The thief has the right PIN, and even the HSM."""
    officer = await cabinet.enrol(PIN)
    stolen = await cabinet.kept(officer)
    await rotate(cabinet)
    assert await cabinet.authorise(officer, pin=PIN) == "signed"
    if defence == "off":
        assert (await cabinet.custody.open(stolen, PIN)).wrapped, "as long as the old key is there"
        return
    await custody_keys.destroy(cabinet.room.pool, cabinet.hsm, PEPPER)
    with pytest.raises(HsmRefused):
        await cabinet.custody.open(stolen, PIN)
    await cabinet.hsm.ensure_mac_key(PEPPER)


async def test_a_process_that_still_names_a_destroyed_key_puts_nothing_under_it(cabinet: Cabinet) -> None:
    await rotate(cabinet)
    await custody_keys.destroy(cabinet.room.pool, cabinet.hsm, WRAPPING_KEY)
    async with cabinet.room.pool.acquire() as connection:
        with pytest.raises(ConfigurationError):
            await custody_keys.know(connection, Protection(WRAPPING_KEY, NEW_PEPPER))
        assert await connection.fetchval("select count(*) from custody_key where label = $1", WRAPPING_KEY) == 0
    await cabinet.hsm.ensure_wrapping_key(WRAPPING_KEY)
