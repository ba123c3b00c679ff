"""The end of a token request by time: what was handed in in time is judged, however late; the rest expires."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from libs.bus.delivery import Delivery
from libs.contracts.reasons import Reason
from libs.contracts.signing import Verified
from libs.runtime.clock import utc_now
from services.crl_verifier import token_requests, token_signed
from services.crl_verifier.judging import Judging
from services.crl_verifier.token_requests import SIGN_WITHIN
from tests.integration.crl_verifier.conftest import Verifier
from tests.integration.crl_verifier.token_requests import (
    ids,
    moved,
    one_waits_and_the_rest_expired,
    refused_once,
    token_officer,
    token_request,
)
from tests.support.documents import officer


async def test_what_nobody_has_signed_in_time_expires_and_what_is_verified_stays(verifier: Verifier):
    """I-25."""
    verifier.server.serve(*verifier.crls())
    async with verifier.start():
        request = await token_request(verifier, await token_officer(verifier), 3)
        expires = "select expires_at from token_request where request_id = $1"
        left = await verifier.database.fetchval(expires, request.id) - utc_now()
        assert timedelta(0) < SIGN_WITHIN - left < timedelta(minutes=1)
        signatures = request.sign()
        await request.give(signatures[:1])
        assert isinstance((await verifier.answers(signatures[:1]))[0], Verified)
        await request.expire()
        assert await refused_once(request, Reason.EXPIRED) == ids(request)[1:]
        await request.give(signatures[1:])
        asked = await request.cancel()
        assert await request.answer(asked) == "too-late"
        await request.settled()
    assert len(verifier.verified(request.id)) == 1
    assert len(verifier.rejected(request.id)) == 1


async def test_a_signature_that_came_in_time_and_waited_behind_our_own_backlog_is_verified(verifier: Verifier):
    """I-25."""
    verifier.server.serve(*verifier.crls())
    async with verifier.start():
        request = await token_request(verifier, await token_officer(verifier), 2)
        signatures = request.sign()
    await request.give(signatures[:1])
    await request.expire(ago=timedelta())
    async with verifier.start():
        assert isinstance((await verifier.answers(signatures[:1]))[0], Verified)
        await request.give(signatures[1:])
        await request.settled()
        assert len(verifier.verified(request.id)) == 1
        assert verifier.rejected(request.id) == []
        await request.expire()
        assert await refused_once(request, Reason.EXPIRED) == ids(request)[1:]


async def test_what_our_own_backlog_keeps_past_the_expiry_is_judged_first(
    verifier: Verifier, monkeypatch: pytest.MonkeyPatch
):
    """I-25, I-34: however long it is; what nobody signed expires after it."""
    judge, begun, go_on = Judging.__call__, asyncio.Event(), asyncio.Event()

    async def slow(self: Judging, deliveries: Sequence[Delivery[Any]]) -> Any:
        if any(one.event.request_id == request.id for one in deliveries):  # and no row that an earlier test left
            begun.set()
            await go_on.wait()
        return await judge(self, deliveries)

    monkeypatch.setattr(token_requests, "RESERVE_WITHIN", timedelta())
    verifier.server.serve(*verifier.crls())
    async with verifier.start():
        request = await token_request(verifier, await token_officer(verifier), 2)
        signatures = request.sign()
        monkeypatch.setattr(Judging, "__call__", slow)
        await request.give(signatures[:1])
        await asyncio.wait_for(begun.wait(), 30)
        await request.expire(ago=timedelta())
        await request.timer_waits("what was signed in time is judged first")
        await verifier.wire.tap.read()
        assert verifier.rejected(request.id) == []
        go_on.set()
        assert isinstance((await verifier.answers(signatures[:1]))[0], Verified)
        assert await refused_once(request, Reason.EXPIRED) == ids(request)[1:]


async def test_what_waits_for_its_officers_certificate_does_not_expire_meanwhile(
    verifier: Verifier, monkeypatch: pytest.MonkeyPatch
):
    """I-25: it was handed in in time, and its offset has moved on."""
    monkeypatch.setattr(token_requests, "RESERVE_WITHIN", timedelta())
    monkeypatch.setattr(token_signed, "OVERTAKEN", timedelta(hours=1))  # the expiry may take as long as a second look
    verifier.server.serve(*verifier.crls())
    async with verifier.start():
        who = officer(verifier.pki)
        request = await token_request(verifier, who, 2)
        signatures = request.sign()
        await request.give(signatures[:1])
        await verifier.parked(signatures[:1], Reason.CERTIFICATE_UNKNOWN)
        await request.expire(ago=timedelta())
        assert await refused_once(request, Reason.EXPIRED) == ids(request)[1:]
        await verifier.tell(who, medium="token")
        await moved(verifier, who, who.credential_id, version=1)
        await verifier.look_again(request.id)
        await verifier.wire.tap.until(lambda: verifier.verified(request.id), "verified")
    assert [event.entry.id for event in verifier.verified(request.id)] == ids(request)[:1]


async def test_a_timer_that_fires_early_ends_nothing(verifier: Verifier):
    verifier.server.serve(*verifier.crls())
    async with verifier.start():
        request = await token_request(verifier, await token_officer(verifier), 1)
        fire = "update due set at = now() where request_id = $1"
        await verifier.database.execute(fire, request.id)
        await request.timer_waits("not expired yet", at_least=timedelta(hours=7))
        signatures = request.sign()
        await request.give(signatures)
        assert isinstance((await verifier.answers(signatures))[0], Verified)


async def test_what_waits_for_a_crl_is_told_once_and_does_not_expire(
    verifier: Verifier, monkeypatch: pytest.MonkeyPatch
):
    """I-19, I-25: it was signed in time."""
    monkeypatch.setattr(token_requests, "RESERVE_WITHIN", timedelta())
    verifier.server.serve(*verifier.stale())
    async with verifier.start():
        request, signatures = await one_waits_and_the_rest_expired(verifier, 2)
        verifier.server.serve(*verifier.crls())
        await verifier.look_again(request.id)
        await verifier.wire.tap.until(lambda: verifier.verified(request.id), "verified")
    [told] = verifier.waiting(request.id)
    assert (told.stage, told.why, told.documents) == ("crl_verifier", Reason.CRL_STALE, (signatures[0].entry.id,))
    assert [event.entry.id for event in verifier.verified(request.id)] == ids(request)[:1]


async def test_what_waited_and_is_buried_expires_with_the_next_look(
    verifier: Verifier, monkeypatch: pytest.MonkeyPatch
):
    """I-25: nothing decides it any more."""
    monkeypatch.setattr(token_requests, "RESERVE_WITHIN", timedelta())
    verifier.server.serve(*verifier.stale())
    async with verifier.start():
        request, _ = await one_waits_and_the_rest_expired(verifier, 2)
        await request.timer_waits("what was signed in time is judged first")
        await verifier.database.execute("delete from due where request_id = $1 and partition is not null", request.id)
        await verifier.look_again(request.id)
        await verifier.wire.tap.until(lambda: len(verifier.rejected(request.id)) == 2, "the other")
    assert [event.documents for event in verifier.rejected(request.id)] == [(name,) for name in reversed(ids(request))]
