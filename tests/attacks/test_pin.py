"""Attacks on the PIN of a credential that exists. Each is shown to succeed once its defence is switched off."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from libs.bus import administrators
from libs.contracts.cloudevents import Record, encode
from libs.contracts.pin import PinAnswered, PinChangeSubmitted, PinUnlockOrdered
from libs.contracts.reasons import Reason
from libs.contracts.topics import Topic
from libs.gpki_client.device import Device
from libs.runtime.clock import utc_now
from services.hsm_signer import limits, pin_changes, store, unlocking
from services.hsm_signer.custody import Custody
from tests.attacks.conftest import NotTwo
from tests.support.custody import Cabinet
from tests.support.waiting import eventually

pytestmark = pytest.mark.stack

PIN, NEW, WRONG = "Kn4ri-betul-kuda", "Kn4ri-bateri-kopi", "Kn4ri-salah-kuda"


def again(topic: Topic, event: PinChangeSubmitted | PinUnlockOrdered) -> Record:
    """The same content under another event id, as a writer of the broker sends it."""
    record = encode(topic, event, source="attacker", time=utc_now())
    headers = [(name, str(uuid4()).encode() if name == "ce_id" else value) for name, value in record.headers]
    return Record(record.topic, record.key, record.value, tuple(headers))


async def lock(cabinet: Cabinet, officer: Any) -> None:
    """Three wrong PINs, each with a right OTP."""
    for _ in range(limits.WRONG_PINS_IN_A_ROW):
        await cabinet.authorise(officer, pin=WRONG)
    assert (await cabinet.row(officer))["locked_at"] is not None


async def test_after_a_change_the_new_pin_signs_and_the_old_one_is_wrong(cabinet: Cabinet) -> None:
    officer = await cabinet.enrol(PIN)
    before = await cabinet.row(officer)
    answer = await cabinet.change_pin(officer, old=PIN, new=NEW)
    assert (answer.result, answer.reason) == ("changed", None)
    after = await cabinet.row(officer)
    assert (after["salt"], after["wrapped"]) != (before["salt"], before["wrapped"])
    assert await cabinet.authorise(officer, pin=PIN) == Reason.PIN_INCORRECT
    assert await cabinet.authorise(officer, pin=NEW) == "signed"
    for secret in (PIN, NEW):
        assert await cabinet.found(secret.encode()) == [], "no PIN lies in the signer's tables"


@pytest.mark.parametrize("weak", ["12345678", "P@ssw0rd", "{user}"])
async def test_a_weak_new_pin_is_refused_and_costs_no_attempt(cabinet: Cabinet, weak: str) -> None:
    officer = await cabinet.enrol(PIN)
    answer = await cabinet.change_pin(officer, old=WRONG, new=weak.format(user=cabinet.users[officer].user))
    assert (answer.result, answer.reason, answer.attempts_left) == ("refused", Reason.PIN_TOO_WEAK, None)
    assert (await cabinet.row(officer))["wrong_pins"] == 0


async def test_a_wrong_old_pin_counts_with_those_of_signing_and_locks_both(cabinet: Cabinet) -> None:
    """I-11."""
    officer = await cabinet.enrol(PIN)
    assert await cabinet.authorise(officer, pin=WRONG) == Reason.PIN_INCORRECT
    answer = await cabinet.change_pin(officer, old=WRONG, new=NEW)
    assert (answer.reason, answer.attempts_left) == (Reason.PIN_INCORRECT, 1)
    assert (await cabinet.change_pin(officer, old=WRONG, new=NEW)).reason is Reason.PIN_LOCKED
    assert (await cabinet.change_pin(officer, old=PIN, new=NEW)).reason is Reason.PIN_LOCKED
    assert await cabinet.authorise(officer, pin=PIN) == Reason.PIN_LOCKED


@pytest.mark.parametrize("defence", ["on", "off"])
async def test_no_number_of_guesses_by_changes_side_by_side_tries_more_than_three(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch, defence: str
) -> None:
    """I-11: a stolen phone guesses no faster than the signing screen."""
    tried: list[str] = []
    opened = Custody.open

    async def counted(self: Custody, credential: Any, pin: str) -> Any:
        tried.append(pin)
        return await opened(self, credential, pin)

    monkeypatch.setattr(Custody, "open", counted)
    if defence == "off":
        monkeypatch.setattr(pin_changes, "may_try", lambda _counts: True)
    officer = await cabinet.enrol(PIN)
    guesses = [await cabinet.pin_change(officer, old=f"{WRONG}-{n}", new=NEW) for n in range(40)]
    await cabinet.room.send(cabinet.pin_change_submitted, guesses)
    for guess in guesses:
        await cabinet.pin_answered(guess.change.change)
    assert len(tried) == (limits.WRONG_PINS_IN_A_ROW if defence == "on" else len(guesses))


@pytest.mark.parametrize("defence", ["on", "off"])
async def test_whoever_has_an_officers_codes_held_does_not_keep_the_officer_from_a_new_pin(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch, defence: str
) -> None:
    """I-45: a change has the phone's word and no code."""
    if defence == "off":
        monkeypatch.setattr(store, "counts_of_change", store._counts_of_credential)
    officer = await cabinet.enrol(PIN)
    await cabinet.room.pool.execute(
        "insert into attempt (request_id, attempt, credential_id, state) "
        "select gen_random_uuid(), 'x', $1, 'wrong-otp' from generate_series(1, $2)",
        officer,
        limits.WRONG_OTPS_OF_DAY,
    )
    answer = await cabinet.change_pin(officer, old=PIN, new=NEW)
    assert answer.reason is (None if defence == "on" else Reason.OTP_HELD)


@pytest.mark.parametrize("defence", ["on", "off"])
@pytest.mark.parametrize("forged", ["another phone", "a phone that was replaced", "no phone, e-mail alone"])
async def test_without_the_officers_own_phone_no_pin_is_tried_counted_or_changed(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch, defence: str, forged: str
) -> None:
    """I-12: whoever knows the PIN, or reads the mailbox, and writes to the broker as well."""
    if defence == "off":
        monkeypatch.setattr(pin_changes, "_is_devices", lambda *_arguments: True)
    officer = await cabinet.enrol(PIN)
    phone = Device.new() if forged == "another phone" else cabinet.phones[officer]
    if forged != "another phone":
        await cabinet.register(officer, Device.new() if forged.endswith("replaced") else None)
    event = await cabinet.pin_change(officer, old=PIN, new=NEW, phone=phone)
    await cabinet.room.send(cabinet.pin_change_submitted, [event])
    if defence == "off":
        assert (await cabinet.pin_answered(event.change.change)).result == "changed"
        return
    assert await cabinet.dead_letter(cabinet.pin_change_submitted) == "device-signature-invalid"
    assert await cabinet.room.empty("attempt")
    assert await cabinet.authorise(officer, pin=PIN) == "signed"


@pytest.mark.parametrize("defence", ["on", "off"])
async def test_a_phone_that_a_compromised_enrolment_registers_gets_three_pins_tried_and_locks_them(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch, defence: str
) -> None:
    """I-11: its own word is all that makes a phone the officer's. It needs no code for that, and gets none."""
    if defence == "off":
        monkeypatch.setattr(pin_changes, "may_try", lambda _counts: True)
    officer, phone = await cabinet.enrol(PIN), Device.new()
    await cabinet.register(officer, phone)

    async def tried(pin: str) -> PinAnswered:
        event = await cabinet.pin_change(officer, old=pin, new=NEW, phone=phone)
        await cabinet.room.send(cabinet.pin_change_submitted, [event])
        return await cabinet.pin_answered(event.change.change)

    for left in (2, 1):
        assert (await tried(WRONG)).attempts_left == left
    assert (await tried(WRONG)).reason is Reason.PIN_LOCKED
    found = await tried(PIN)
    assert (found.result == "changed") == (defence == "off")
    if defence == "on":
        assert found.reason is Reason.PIN_LOCKED
        assert await cabinet.authorise(officer, pin=PIN) == Reason.PIN_LOCKED, "the officer himself, too"


@pytest.mark.parametrize("part", ["user", "credential_id", "change", "sealed"])
async def test_a_change_that_is_altered_on_its_way_is_nobodys(cabinet: Cabinet, part: str) -> None:
    mine, theirs = await cabinet.enrol(PIN), await cabinet.enrol(PIN)
    event = await cabinet.pin_change(mine, old=PIN, new=NEW)
    other = await cabinet.pin_change(theirs, old=PIN, new="Kn4ri-lain-sekali")
    altered = (
        event.model_copy(update={"sealed": other.sealed})
        if part == "sealed"
        else event.model_copy(update={"change": event.change.model_copy(update={part: getattr(other.change, part)})})
    )
    await cabinet.room.send(cabinet.pin_change_submitted, [again(cabinet.pin_change_submitted, altered)])
    assert await cabinet.dead_letter(cabinet.pin_change_submitted) == "device-signature-invalid"
    for officer in (mine, theirs):
        assert await cabinet.authorise(officer, pin=PIN) == "signed"


async def test_a_slot_that_a_crash_left_and_that_is_not_tried_any_more_takes_nobody_a_try(cabinet: Cabinet) -> None:
    """I-11."""
    officer = await cabinet.enrol(PIN)
    event = await cabinet.pin_change(officer, old=PIN, new=NEW)
    async with cabinet.room.pool.acquire() as connection:
        await store.take_slot(connection, event.change.change, officer, event.change.sealed_sha256)
    await cabinet.certify(officer, status="suspended")
    await cabinet.room.send(cabinet.pin_change_submitted, [event])
    assert (await cabinet.pin_answered(event.change.change)).reason is Reason.CERTIFICATE_SUSPENDED
    assert await cabinet.room.pool.fetchval("select state from attempt") == "void"


@pytest.mark.parametrize("defence", ["on", "off"])
async def test_a_change_that_is_played_again_brings_no_old_pin_back(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch, defence: str
) -> None:
    """The officer changed, and changed back: the thief of the PIN between has the broker say the first once more."""
    officer = await cabinet.enrol(PIN)
    first = await cabinet.pin_change(officer, old=PIN, new=NEW)
    await cabinet.room.send(cabinet.pin_change_submitted, [first])
    assert (await cabinet.pin_answered(first.change.change)).result == "changed"
    assert (await cabinet.change_pin(officer, old=NEW, new=PIN)).result == "changed"
    if defence == "off":

        async def unknown(*_arguments: object) -> None:
            return None

        monkeypatch.setattr(store, "attempt_state", unknown)
    kept = (await cabinet.row(officer))["wrapped"]
    await cabinet.room.send(
        cabinet.pin_change_submitted, [again(cabinet.pin_change_submitted, first) for _ in range(10)]
    )
    await cabinet.handled(cabinet.pin_change_submitted, "enrolment")
    assert ((await cabinet.row(officer))["wrapped"] == kept) is (defence == "on")
    assert (await cabinet.row(officer))["wrong_pins"] == 0 or defence == "off"


@pytest.mark.parametrize("defence", ["on", "off"])
async def test_an_attempt_that_began_under_the_old_pin_does_not_bring_it_back(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch, defence: str
) -> None:
    """Its key is to be sealed again, at a higher cost, when the PIN has changed meanwhile."""
    officer = await cabinet.enrol(PIN)
    began = await cabinet.kept(officer)
    opened = await cabinet.custody.open(began, PIN)
    assert (await cabinet.change_pin(officer, old=PIN, new=NEW)).result == "changed"
    late = await cabinet.custody.seal_again(began, PIN, opened)
    if defence == "off":
        monkeypatch.setitem(
            store._SQL, "seal_again", store._SQL["seal_again"].replace("AND wrapped = $2", "AND $2::bytea IS NOT NULL")
        )
    async with cabinet.room.pool.acquire() as connection:
        assert await store.seal_again(connection, began, late) is (defence == "off")
    assert await cabinet.authorise(officer, pin=PIN) == ("signed" if defence == "off" else Reason.PIN_INCORRECT)


async def test_two_administrators_give_a_locked_pin_its_tries_again_and_learn_nothing(cabinet: Cabinet) -> None:
    officer = await cabinet.enrol(PIN)
    await lock(cabinet, officer)
    sealed = (await cabinet.row(officer))["wrapped"]
    order = cabinet.unlock(officer)
    await cabinet.room.send(cabinet.pin_unlock_ordered, [order])
    assert (await cabinet.pin_answered(order.order.unlock)).result == "unlocked"
    row = await cabinet.row(officer)
    assert (row["wrong_pins"], row["locked_at"], row["wrapped"]) == (0, None, sealed)
    assert await cabinet.authorise(officer, pin=PIN) == "signed"


@pytest.mark.parametrize("defence", ["on", "off"])
async def test_what_fewer_than_two_administrators_order_unlocks_nothing(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch, defence: str, not_two: NotTwo
) -> None:
    """mission.md ADM-1."""
    if defence == "off":
        monkeypatch.setattr(administrators, "confirmed_by_two", lambda *_arguments: True)
    officer = await cabinet.enrol(PIN)
    await lock(cabinet, officer)
    order = cabinet.unlock(officer, *not_two.signers)
    await cabinet.room.send(cabinet.pin_unlock_ordered, [order])
    if defence == "off":
        await cabinet.room.pool.execute("update due set at = now()")
        assert (await cabinet.pin_answered(order.order.unlock)).result == "unlocked"
        return
    assert await cabinet.dead_letter(cabinet.pin_unlock_ordered) == not_two.why
    assert await cabinet.authorise(officer, pin=PIN) == Reason.PIN_LOCKED


@pytest.mark.parametrize("defence", ["on", "off"])
async def test_an_order_is_followed_once_and_for_a_day(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch, defence: str
) -> None:
    """Else one order would be three guesses each time that somebody plays it again."""
    officer = await cabinet.enrol(PIN)
    await lock(cabinet, officer)
    order, old = cabinet.unlock(officer), cabinet.unlock(officer, ordered_at=utc_now() - timedelta(hours=25))
    if defence == "on":
        await cabinet.room.send(cabinet.pin_unlock_ordered, [old])
        assert await cabinet.dead_letter(cabinet.pin_unlock_ordered) == "order-out-of-date"
    await cabinet.room.send(cabinet.pin_unlock_ordered, [order])
    await cabinet.pin_answered(order.order.unlock)
    await lock(cabinet, officer)
    if defence == "off":
        monkeypatch.setitem(unlocking._SQL, "keep_unlock", "select $1::uuid, $2::uuid")
    await cabinet.room.send(cabinet.pin_unlock_ordered, [again(cabinet.pin_unlock_ordered, order) for _ in range(10)])
    await cabinet.handled(cabinet.pin_unlock_ordered, "enrolment")

    async def unlocked() -> bool:
        return (await cabinet.row(officer))["locked_at"] is None

    if defence == "off":
        await eventually(unlocked, "the order that was played again unlocked")
    else:
        assert not await unlocked()
