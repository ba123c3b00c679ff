"""The rule of time (design section 3): what was submitted in time is judged before its request may end without it."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from libs.contracts.reasons import Reason
from libs.contracts.signing import MediumResolved
from libs.hsm.errors import HsmUnavailable
from services.hsm_signer import limits
from services.hsm_signer.authorise import Authoriser
from services.hsm_signer.lanes import Lane
from tests.integration.hsm_signer.conftest import Signer
from tests.support.pki import p256_key
from tests.support.requests import new_user, user_state
from tests.support.waiting import eventually

COUNTED = "select wrong_otps + wrong_pins from request where request_id = $1"


async def begun(signer: Signer) -> MediumResolved:
    """A request of an officer who could sign."""
    user = user_state(new_user())
    await signer.know(user, certificate={"certificate": signer.pki.officer(user.user, key=p256_key()).der})
    request = signer.request(user)
    await signer.resolve(request)
    return request


async def expire(signer: Signer, request: MediumResolved) -> None:
    """Have its time run out: a moment from now, since the broker's clock, by which it was submitted, counts in ms."""
    soon = "now() + interval '10 ms' where request_id = $1"
    await signer.room.pool.execute(f"update request set expires_at = {soon}", request.request_id)
    await signer.room.pool.execute(f"update due set at = {soon} and partition is null", request.request_id)


async def expiry_waits(signer: Signer, request: MediumResolved) -> None:
    """Have its expiry row come due, and wait until it has been put off."""
    await expire(signer, request)
    query = "select count(*) from due where request_id = $1 and why like 'what was submitted in time%'"

    async def put_off() -> bool:
        return await signer.room.count(query, request.request_id) == 1

    await eventually(put_off, "the expiry waits for what was submitted")
    assert await signer.end_reason(request) is None
    await signer.tap.read()
    assert signer.rejections(request) == []


async def test_a_request_for_which_nothing_was_submitted_ends_by_its_expiry_row(
    signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "UNDISPATCHED_EXPIRY", timedelta(seconds=1))
    request = await begun(signer)
    rejected = await signer.rejected(request)
    assert (rejected.reason, rejected.documents, rejected.safe_to_retry) == (Reason.EXPIRED, None, True)
    assert await signer.end_reason(request) == Reason.EXPIRED


async def test_what_an_outage_kept_past_its_expiry_row_ends_as_authorisation_expired_and_counts_nothing(
    signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I-34. The 300 s pass in no time: whatever waited at all has waited an hour."""
    monkeypatch.setattr(Lane, "outage_wait", lambda _lane, _appended: timedelta(hours=1))
    authorise, back = Authoriser.authorise, asyncio.Event()

    async def away(self: Authoriser, *arguments: Any) -> Any:
        if not back.is_set():
            raise HsmUnavailable("the device does not answer")
        return await authorise(self, *arguments)

    monkeypatch.setattr(Authoriser, "authorise", away)
    request = await begun(signer)
    attempt = await signer.submit(request)
    await signer.tap.until(lambda: signer.waiting(request), "`waiting`")
    await expiry_waits(signer, request)
    (told,) = signer.waiting(request)
    assert told.why == Reason.HSM_UNAVAILABLE
    back.set()
    assert (await signer.failed(attempt)).reason is Reason.AUTHORISATION_EXPIRED
    rejected = await signer.rejected(request)
    assert (rejected.reason, rejected.safe_to_retry) == (Reason.AUTHORISATION_EXPIRED, True)
    assert await signer.room.count(COUNTED, request.request_id) == 0


async def test_what_waits_behind_our_own_backlog_is_judged_however_late(
    signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I-34."""
    authorise, begin, go_on = Authoriser.authorise, asyncio.Event(), asyncio.Event()

    async def slow(self: Authoriser, *arguments: Any) -> Any:
        begin.set()
        await go_on.wait()
        return await authorise(self, *arguments)

    monkeypatch.setattr(Authoriser, "authorise", slow)
    await signer.submit(await begun(signer))
    await asyncio.wait_for(begin.wait(), 30)
    request = await begun(signer)
    attempt = await signer.submit(request)
    await expiry_waits(signer, request)
    go_on.set()
    assert (await signer.failed(attempt)).reason is Reason.SEAL_EXPIRED, "nobody's seal opens here: it was tried"
