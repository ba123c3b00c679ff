"""Orders that suspend and lift: one registrar takes, two give back, each once and in order. I-53."""

from datetime import timedelta
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from libs.contracts.suspension import LiftingRequested, SignedLifting
from libs.runtime.clock import utc_now
from services.certificate_authority import standing
from tests.integration.certificate_authority.conftest import Authority
from tests.integration.certificate_authority.orders import (
    again,
    issue,
    lift,
    lifting,
    look_again,
    newest,
    said,
    suspend,
    unlisted,
)
from tests.support.applications import signed_lifting, suspension_requested

NOT_TWO = "not-signed-by-two-administrators"


@pytest.mark.parametrize("defence", ["on", "off"])
@pytest.mark.parametrize("whose", ["one registrar twice", "one registrar and a stranger", "a stranger twice"])
async def test_what_one_registrar_signs_lifts_nothing(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, whose: str, defence: str
) -> None:
    """I-53, ADM-1: by the authority's own judgement, without which it would be lifted."""
    one, stranger = authority.registrar, Ed25519PrivateKey.generate()
    first, second = {
        "one registrar twice": (one, one),
        "one registrar and a stranger": (one, stranger),
        "a stranger twice": (stranger, stranger),
    }[whose]
    async with authority.running() as client:
        suspended = await suspend(authority, await issue(authority))
        forged = signed_lifting(suspended, first, second)
        true = lifting(authority, suspended)
        about_another = SignedLifting(lifting=forged.lifting, signatures=true.signed.signatures)
        topic = authority.routes.lifting_requested
        if defence == "off":
            monkeypatch.setattr(standing, "confirmed_by_two", lambda *_arguments: True)
            await authority.room.send(topic, [LiftingRequested(signed=forged)])
            assert (await said(authority, suspended, 3)).status == "good"
            return
        await authority.room.send(topic, [LiftingRequested(signed=one) for one in (forged, about_another)])
        await authority.room.all_committed(topic, 2)
        assert await newest(authority, suspended) == (2, "suspended")
        await authority.room.send(topic, [true])
        await said(authority, suspended, 3)
        await unlisted(client, suspended)
    assert authority.dead_letters(topic) == [NOT_TWO] * 2


async def test_what_no_registrar_signed_suspends_nothing(authority: Authority) -> None:
    async with authority.running():
        state = await issue(authority)
        thief = Ed25519PrivateKey.generate()
        true = suspension_requested(state.credential_id, authority.registrar)
        topic = authority.routes.suspension_requested
        orders = (
            suspension_requested(state.credential_id, thief),
            suspension_requested(state.credential_id, thief, by=true.registrar_key),
            true.model_copy(update={"suspension": suspension_requested(uuid4(), thief).suspension}),
        )
        await authority.room.send(topic, orders)
        await authority.room.all_committed(topic, 3)
        assert await newest(authority, state) == (1, "good")
    assert authority.dead_letters(topic) == ["registrar-signature-invalid"] * 3


async def test_a_replayed_suspension_takes_back_no_lifting_and_a_replayed_lifting_no_suspension(
    authority: Authority,
) -> None:
    """I-53: also under other event ids, by whoever writes to the broker."""
    suspensions, liftings = authority.routes.suspension_requested, authority.routes.lifting_requested
    async with authority.running():
        state = await issue(authority)
        order = suspension_requested(state.credential_id, authority.registrar)
        await authority.room.send(suspensions, [order])
        suspended = await said(authority, state, 2)
        lifts = lifting(authority, suspended)
        await authority.room.send(liftings, [lifts])
        await said(authority, state, 3)
        await authority.room.send(suspensions, [order, *(again(suspensions, order) for _ in range(5))])
        await authority.room.all_committed(suspensions, 7)
        assert await newest(authority, state) == (3, "good")
        await suspend(authority, state, version=4)
        await authority.room.send(liftings, [lifts, *(again(liftings, lifts) for _ in range(5))])
        await authority.room.all_committed(liftings, 7)
        assert await newest(authority, state) == (4, "suspended")
    assert authority.dead_letters(suspensions) == []
    assert authority.dead_letters(liftings) == ["not-the-newest-suspension"] * 5


async def test_a_lifting_does_not_lift_a_suspension_that_its_signers_did_not_know_of(authority: Authority) -> None:
    """I-53: a third registrar suspends again while two are signing."""
    topic = authority.routes.lifting_requested
    async with authority.running() as client:
        state = await issue(authority)
        suspended = await suspend(authority, state)
        anew = await suspend(authority, state, version=3)
        assert anew.status_since == suspended.status_since
        await authority.room.send(topic, [lifting(authority, suspended)])
        await authority.room.all_committed(topic, 1)
        assert await newest(authority, state) == (3, "suspended")
        await lift(authority, anew)
        await unlisted(client, state)
    assert authority.dead_letters(topic) == ["not-the-newest-suspension"]


async def test_a_lifting_that_overtakes_its_suspension_waits_for_it(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "PENDING", timedelta(hours=1))
    async with authority.running():
        state = await issue(authority)
        topic = authority.routes.lifting_requested
        await authority.room.send(topic, [lifting(authority, state, version=2)])
        await authority.room.all_committed(topic, 1)
        await suspend(authority, state)
        await look_again(authority)
        assert (await said(authority, state, 3)).status == "good"
    assert authority.dead_letters(topic) == []


async def test_what_lifts_nothing_is_put_aside_for_a_person(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lifting of what was never suspended, of nobody's certificate, and of yesterday."""
    monkeypatch.setattr(standing, "PENDING", timedelta(milliseconds=300))
    topic = authority.routes.lifting_requested
    async with authority.running():
        state = await issue(authority)
        nobody = state.model_copy(update={"credential_id": uuid4()})
        old = lifting(authority, state, ordered_at=utc_now() - timedelta(hours=25))
        orders = (lifting(authority, state), lifting(authority, state, version=2), lifting(authority, nobody), old)
        await authority.room.send(topic, orders)
        await authority.tap.until(lambda: len(authority.dead_letters(topic)) == 4, "four dead letters")
        assert await newest(authority, state) == (1, "good")
    assert sorted(authority.dead_letters(topic)) == [
        "credential-unknown",
        "not-the-newest-suspension",
        "not-the-newest-suspension",
        "order-out-of-date",
    ]
