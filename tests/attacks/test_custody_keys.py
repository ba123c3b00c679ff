"""Rotation of the HSM's keys over users' keys, and what a thief has of a database once the old key is destroyed."""

from uuid import UUID

import pytest

from libs.hsm.errors import HsmRefused
from libs.runtime.settings import ConfigurationError
from services.hsm_signer import custody_keys
from services.hsm_signer.custody import PEPPER, WRAPPING_KEY, Protection
from services.hsm_signer.custody_keys import StillInUse
from tests.integration.hsm.softhsm import ensure_wrapping_key, make_untrusted_wrapping_key
from tests.support.custody import CHEAP, Cabinet

pytestmark = pytest.mark.stack

PIN, OTHER, WRONG = "Kn4ri-betul-kuda", "Kn4ri-lain-kuda-7", "Kn4ri-salah-kuda"
NEW_PEPPER, NEW_WRAPPING_KEY = "pin-pepper-2", "user-wrapping-2"
UNTRUSTED = "user-wrapping-of-before"
OLD = (PEPPER, WRAPPING_KEY)


async def rotate(cabinet: Cabinet) -> None:
    """What new settings, `init` and a restart do."""
    await cabinet.hsm.ensure_mac_key(NEW_PEPPER)
    await ensure_wrapping_key(cabinet.hsm, NEW_WRAPPING_KEY)
    current = Protection(NEW_WRAPPING_KEY, NEW_PEPPER, CHEAP)
    async with cabinet.room.pool.acquire() as connection:
        await custody_keys.know(connection, cabinet.hsm, current)
    cabinet.protect(wrapping_key=NEW_WRAPPING_KEY, pepper=NEW_PEPPER)


async def make_again(cabinet: Cabinet, label: str) -> None:
    """For the tests that share the token."""
    if label == PEPPER:
        await cabinet.hsm.ensure_mac_key(label)
    else:
        await ensure_wrapping_key(cabinet.hsm, label)


async def protection(cabinet: Cabinet, credential: UUID) -> tuple[str, str]:
    row = await cabinet.row(credential)
    return row["wrapping_key"], row["pepper"]


async def test_each_credential_gets_the_new_keys_with_its_next_right_pin(cabinet: Cabinet) -> None:
    """I-14."""
    used, idle = await cabinet.enrol(PIN), await cabinet.enrol(PIN)
    await rotate(cabinet)
    await cabinet.authorise(used, pin=WRONG)
    assert await protection(cabinet, used) == (WRAPPING_KEY, PEPPER), "a wrong PIN moves nothing"
    assert await cabinet.authorise(used, pin=PIN) == "signed"
    assert await protection(cabinet, used) == (NEW_WRAPPING_KEY, NEW_PEPPER)
    assert await protection(cabinet, idle) == (WRAPPING_KEY, PEPPER)
    assert await protection(cabinet, await cabinet.enrol(PIN)) == (NEW_WRAPPING_KEY, NEW_PEPPER)
    opened = await cabinet.custody.open(await cabinet.kept(idle), PIN)
    assert opened.wrapping_key == NEW_WRAPPING_KEY, "who signs needs the old key no more once the PIN was right"
    before = await cabinet.row(used)
    assert await cabinet.authorise(used, pin=PIN) == "signed", "with the key that it always was"
    assert await cabinet.row(used) == before, "and what is current is not sealed again"


async def test_a_change_of_the_pin_moves_the_key_too(cabinet: Cabinet) -> None:
    """I-14."""
    officer = await cabinet.enrol(PIN)
    await rotate(cabinet)
    answer = await cabinet.change_pin(officer, old=PIN, new=OTHER)
    assert answer.result == "changed"
    assert await protection(cabinet, officer) == (NEW_WRAPPING_KEY, NEW_PEPPER)
    assert await cabinet.authorise(officer, pin=OTHER) == "signed"


async def test_a_key_under_an_untrusted_wrapping_key_of_before_stays_under_it_and_signs(cabinet: Cabinet) -> None:
    """And its PIN gets the new pepper all the same."""
    await cabinet.hsm.run(make_untrusted_wrapping_key, UNTRUSTED)
    async with cabinet.room.pool.acquire() as connection:
        await custody_keys.know(connection, cabinet.hsm, Protection(UNTRUSTED, PEPPER))
    cabinet.protect(wrapping_key=UNTRUSTED)
    officer = await cabinet.enrol(PIN)
    await rotate(cabinet)
    for _ in range(2):
        assert await cabinet.authorise(officer, pin=PIN) == "signed"
        assert await protection(cabinet, officer) == (UNTRUSTED, NEW_PEPPER)
    with pytest.raises(StillInUse):
        await custody_keys.destroy(cabinet.room.pool, cabinet.hsm, UNTRUSTED)
    await cabinet.hsm.destroy_secret_key(UNTRUSTED)


@pytest.mark.parametrize("old", OLD)
async def test_a_key_is_not_destroyed_while_a_credential_is_under_it(cabinet: Cabinet, old: str) -> None:
    used, idle = await cabinet.enrol(PIN), await cabinet.enrol(PIN)
    await rotate(cabinet)
    assert await cabinet.authorise(used, pin=PIN) == "signed"
    with pytest.raises(StillInUse) as refused:
        await custody_keys.destroy(cabinet.room.pool, cabinet.hsm, old)
    assert refused.value.credentials == 1
    assert await cabinet.authorise(used, pin=PIN) == "signed"
    await cabinet.certify(idle, status="revoked")  # its officer gets a new certificate
    assert await custody_keys.destroy(cabinet.room.pool, cabinet.hsm, old)
    assert await cabinet.authorise(used, pin=PIN) == "signed"
    assert not await custody_keys.destroy(cabinet.room.pool, cabinet.hsm, old), "twice is once"
    await make_again(cabinet, old)


@pytest.mark.parametrize(("old", "column"), [(PEPPER, "pepper"), (WRAPPING_KEY, "wrapping_key")])
async def test_without_the_guard_of_the_database_an_officer_would_lose_the_key(
    cabinet: Cabinet, old: str, column: str
) -> None:
    credential = await cabinet.kept(await cabinet.enrol(PIN))
    await rotate(cabinet)
    await cabinet.room.pool.execute(f"alter table credential drop constraint credential_{column}_fkey")
    await custody_keys.destroy(cabinet.room.pool, cabinet.hsm, old)
    with pytest.raises(HsmRefused):
        await cabinet.custody.open(credential, PIN)
    await make_again(cabinet, old)


@pytest.mark.parametrize("defence", ["on", "off"])
@pytest.mark.parametrize("old", OLD)
async def test_a_database_that_was_stolen_before_opens_nothing_once_the_old_key_is_destroyed(
    cabinet: Cabinet, old: str, defence: str
) -> None:
    """The thief has the right PIN, and even the HSM."""
    officer = await cabinet.enrol(PIN)
    stolen = await cabinet.kept(officer)
    await rotate(cabinet)
    assert await cabinet.authorise(officer, pin=PIN) == "signed"
    if defence == "off":
        assert (await cabinet.custody.open(stolen, PIN)).wrapped, "as long as the old key is there"
        return
    await custody_keys.destroy(cabinet.room.pool, cabinet.hsm, old)
    with pytest.raises(HsmRefused):
        await cabinet.custody.open(stolen, PIN)
    await make_again(cabinet, old)


async def test_a_process_that_names_a_key_that_was_never_made_does_not_begin(cabinet: Cabinet) -> None:
    """It would find no officer's key again, each PIN being right."""
    async with cabinet.room.pool.acquire() as connection:
        with pytest.raises(ConfigurationError, match="user-wrapping-9: the HSM has no such key"):
            await custody_keys.know(connection, cabinet.hsm, Protection("user-wrapping-9", PEPPER))
        assert await connection.fetchval("select count(*) from custody_key where label = 'user-wrapping-9'") == 0


async def test_a_process_that_still_names_a_destroyed_key_puts_nothing_under_it(cabinet: Cabinet) -> None:
    await rotate(cabinet)
    await custody_keys.destroy(cabinet.room.pool, cabinet.hsm, WRAPPING_KEY)
    async with cabinet.room.pool.acquire() as connection:
        with pytest.raises(ConfigurationError):
            await custody_keys.know(connection, cabinet.hsm, Protection(WRAPPING_KEY, NEW_PEPPER))
        assert await connection.fetchval("select count(*) from custody_key where label = $1", WRAPPING_KEY) == 0
    await make_again(cabinet, WRAPPING_KEY)
