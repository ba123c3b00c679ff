"""Attacks on a suspension, at the signer: whoever speaks for the authority. Each succeeds once its defence is off."""

from typing import Any
from uuid import UUID

import pytest

from libs.bus import administrators
from libs.contracts.reasons import Reason
from libs.contracts.suspension import SignedLifting
from libs.storage import state
from services.hsm_signer import lifting
from services.hsm_signer.lifting import NOT_LIFTED
from tests.attacks.conftest import NotTwo
from tests.support.applications import signed_lifting
from tests.support.custody import Cabinet
from tests.support.waiting import eventually

pytestmark = pytest.mark.stack

PIN = "Kn4ri-betul-kuda"


async def both(cabinet: Cabinet, officer: UUID, **values: Any) -> SignedLifting:
    """What two registrars sign who have this officer's suspension before them."""
    suspended = await cabinet.certificate_of(officer)
    return signed_lifting(suspended, *(one.key for one in cabinet.administrators), **values)


async def test_a_suspended_officer_signs_nothing_and_with_the_same_key_again_once_two_lifted_it(
    cabinet: Cabinet,
) -> None:
    """I-53: the wrapped key stays as it is, and nothing of it is counted against the officer."""
    officer = await cabinet.enrol(PIN)
    sealed = (await cabinet.row(officer))["wrapped"]
    await cabinet.certify(officer, status="suspended", version=2)
    assert await cabinet.refusal(officer, pin=PIN) == Reason.CERTIFICATE_SUSPENDED
    row = await cabinet.row(officer)
    assert (row["wrapped"], row["wrong_pins"], row["destroyed_at"]) == (sealed, 0, None)
    await cabinet.certify(officer, status="good", version=3, lifting=await both(cabinet, officer))
    assert await cabinet.authorise(officer, pin=PIN) == "signed"
    assert (await cabinet.row(officer))["wrapped"] == sealed


@pytest.mark.parametrize("defence", ["on", "off"])
async def test_one_registrar_alone_lifts_nothing_whatever_the_authority_says(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch, defence: str, not_two: NotTwo
) -> None:
    """I-53, mission.md ADM-1."""
    if defence == "off":
        monkeypatch.setattr(administrators, "confirmed_by_two", lambda *_arguments: True)
    officer = await cabinet.enrol(PIN)
    suspended = await cabinet.certify(officer, status="suspended", version=2)
    alone = signed_lifting(suspended, *(one.key for one in not_two.signers))
    await cabinet.certify(officer, status="good", version=3, lifting=alone)
    if not_two.why == "registrar-unknown":  # a key that is no registrar's here is waited for, once
        await cabinet.room.pool.execute("update due set at = now()")
    if defence == "off":

        async def lifted() -> bool:
            return (await cabinet.certificate_of(officer)).version == 3

        await eventually(lifted, "the suspension is lifted")
        assert await cabinet.authorise(officer, pin=PIN) == "signed"
        return
    assert await cabinet.dead_letter(cabinet.certificate) == not_two.why
    assert (await cabinet.certificate_of(officer)).version == 2
    assert await cabinet.refusal(officer, pin=PIN) == Reason.CERTIFICATE_SUSPENDED


@pytest.mark.parametrize("defence", ["on", "off"])
@pytest.mark.parametrize("order", ["none", "another officer's", "an earlier suspension's", "a later suspension's"])
async def test_the_authority_lifts_nothing_with_an_order_that_is_not_about_this_suspension(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch, defence: str, order: str
) -> None:
    """I-53: each is signed by two, or by nobody; an order that was followed once fits never again."""
    officer = await cabinet.enrol(PIN)
    await cabinet.certify(officer, status="suspended", version=2)
    followed = await both(cabinet, officer)
    await cabinet.certify(officer, status="good", version=3, lifting=followed)
    await cabinet.certify(officer, status="suspended", version=4)
    given = {
        "none": None,
        "another officer's": await both(cabinet, officer, credential_id=await cabinet.enrol(PIN)),
        "an earlier suspension's": followed,
        "a later suspension's": await both(cabinet, officer, version=5),
    }[order]
    if defence == "off":

        async def believed(*_arguments: object) -> None:
            return None

        monkeypatch.setattr(lifting, "doubt", believed)
    await cabinet.certify(officer, status="good", version=5, lifting=given)
    if defence == "off":
        assert await cabinet.authorise(officer, pin=PIN) == "signed"
        return
    assert await cabinet.dead_letter(cabinet.certificate) == NOT_LIFTED
    assert await cabinet.refusal(officer, pin=PIN) == Reason.CERTIFICATE_SUSPENDED


@pytest.mark.parametrize("defence", ["on", "off"])
async def test_after_a_revocation_two_registrars_lift_nothing(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch, defence: str
) -> None:
    """I-53: final in every service's copy of the state, whatever comes after it; here the key is gone besides."""
    if defence == "off":
        query = state._SQL["put_certificate"]
        condition = "AND convert_from(certificate_state.value, 'UTF8')::jsonb ->> 'status' <> 'revoked'"
        assert condition in query
        monkeypatch.setitem(state._SQL, "put_certificate", query.replace(condition, ""))
    officer = await cabinet.enrol(PIN)
    await cabinet.certify(officer, status="suspended", version=2)
    await cabinet.certify(officer, status="revoked", version=3)
    await cabinet.certify(officer, status="good", version=4, lifting=await both(cabinet, officer, version=3))
    assert (await cabinet.certificate_of(officer)).status == ("revoked" if defence == "on" else "good")
    assert (await cabinet.row(officer))["wrapped"] is None
    assert await cabinet.refusal(officer, pin=PIN) == Reason.CERTIFICATE_REVOKED
