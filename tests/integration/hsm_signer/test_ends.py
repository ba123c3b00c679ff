"""What the signer refuses whole has ended in its own tables, whatever of it came before and whatever comes after."""

from datetime import timedelta
from typing import Any

import pytest

from libs.contracts.reasons import Reason
from libs.crypto.pki import Validity
from libs.hsm.errors import HsmError, HsmRefused, HsmUnavailable
from services.hsm_signer import authorise, limits
from services.hsm_signer.authorise import Authoriser
from services.hsm_signer.lanes import Lane
from tests.integration.hsm_signer.conftest import Signer
from tests.support.pki import p256_key
from tests.support.requests import new_user, user_state

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authorise, "OVERTAKEN", timedelta())


async def test_a_request_that_was_refused_before_anything_of_it_was_heard_is_never_acted_upon(signer: Signer) -> None:
    user = user_state(new_user())
    request = signer.request(user)
    await signer.submit(request)
    assert (await signer.rejected(request)).reason is Reason.CREDENTIAL_UNKNOWN
    assert await signer.end_reason(request) == Reason.CREDENTIAL_UNKNOWN

    await signer.know(user, certificate={"certificate": signer.pki.officer(user.user, key=p256_key()).der})
    await signer.resolve(request)
    assert (await signer.failed(await signer.submit(request))).reason is Reason.CREDENTIAL_UNKNOWN
    assert await signer.room.empty("attempt")
    assert await signer.end_reason(request) == Reason.CREDENTIAL_UNKNOWN
    await signer.rejected(request)


@pytest.mark.parametrize("heard", [False, True], ids=["unheard", "heard"])
@pytest.mark.parametrize(
    ("known", "reason"),
    [
        (None, Reason.CREDENTIAL_UNKNOWN),
        ({"credential": False}, Reason.CREDENTIAL_UNKNOWN),
        ({}, Reason.CERTIFICATE_UNKNOWN),
        ({"certificate": {"status": "suspended"}}, Reason.CERTIFICATE_SUSPENDED),
        ({"certificate": {"status": "revoked"}}, Reason.CERTIFICATE_REVOKED),
    ],
    ids=str,
)
async def test_every_refusal_of_a_whole_request_ends_it(
    signer: Signer, known: dict[str, Any] | None, reason: Reason, heard: bool
) -> None:
    user = user_state(new_user())
    if known is not None:
        await signer.know(user, **known)
    request = signer.request(user)
    if heard:
        await signer.resolve(request)
    await signer.submit(request)
    rejected = await signer.rejected(request)
    assert (rejected.reason, rejected.documents) == (reason, None)
    assert await signer.end_reason(request) == reason
    assert (await signer.failed(await signer.submit(request))).reason is reason


@pytest.mark.parametrize(
    ("begins", "ends", "reason"),
    [(-2 * DAY, -DAY, Reason.CERTIFICATE_EXPIRED), (DAY, 2 * DAY, Reason.CERTIFICATE_NOT_YET_VALID)],
    ids=["expired", "not yet valid"],
)
async def test_under_a_certificate_that_is_not_valid_now_nothing_is_tried(
    signer: Signer, begins: timedelta, ends: timedelta, reason: Reason
) -> None:
    """I-15: whatever its state says, and with the PIN and the code that nobody looks at any more."""
    user, now = user_state(new_user()), signer.pki.now.replace(microsecond=0)
    validity = Validity(now + begins, now + ends)
    der = signer.pki.officer(user.user, key=p256_key(), validity=validity).der
    await signer.know(user, certificate={"certificate": der})
    request = signer.request(user)
    await signer.resolve(request)
    await signer.submit(request)
    rejected = await signer.rejected(request)
    assert (rejected.reason, rejected.documents) == (reason, None)
    assert await signer.end_reason(request) == reason
    assert await signer.room.empty("attempt")


async def test_a_locked_pin_ends_the_request(signer: Signer) -> None:
    user = user_state(new_user())
    await signer.know(user, certificate={"certificate": signer.pki.officer(user.user, key=p256_key()).der})
    await signer.room.pool.execute("update credential set wrong_pins = $1", limits.WRONG_PINS_IN_A_ROW)
    request = signer.request(user)
    await signer.submit(request)
    assert (await signer.rejected(request)).reason is Reason.PIN_LOCKED
    assert await signer.end_reason(request) == Reason.PIN_LOCKED


async def test_what_an_outage_kept_beyond_the_time_to_reserve_is_refused_as_such_and_costs_no_attempt(
    signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The 300 s pass in no time."""
    monkeypatch.setattr(Lane, "outage_wait", lambda *_: limits.RESERVE_WITHIN + timedelta(microseconds=1))
    user = user_state(new_user())
    await signer.know(user, certificate={"certificate": signer.pki.officer(user.user, key=p256_key()).der})
    request = signer.request(user)
    await signer.resolve(request)
    attempt = await signer.submit(request)
    failed = await signer.failed(attempt)
    assert failed.reason is Reason.AUTHORISATION_EXPIRED
    rejected = await signer.rejected(request)
    assert (rejected.reason, rejected.safe_to_retry) == (Reason.AUTHORISATION_EXPIRED, True)
    counted = "select wrong_otps + wrong_pins from request where request_id = $1"
    assert await signer.room.pool.fetchval(counted, request.request_id) == 0


@pytest.mark.parametrize("trouble", [HsmUnavailable("the device does not answer"), HsmRefused("no such key of ours")])
async def test_while_the_hsm_does_not_do_its_work_the_officer_is_told_once_what_is_waited_for(
    signer: Signer, monkeypatch: pytest.MonkeyPatch, trouble: HsmError
) -> None:
    user = user_state(new_user())
    await signer.know(user, certificate={"certificate": signer.pki.officer(user.user, key=p256_key()).der})
    request = signer.request(user)
    await signer.resolve(request)
    authorise, asked = Authoriser.authorise, 0

    async def away_twice(self: Authoriser, *arguments: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked <= 2:
            raise trouble
        return await authorise(self, *arguments)

    monkeypatch.setattr(Authoriser, "authorise", away_twice)
    attempt = await signer.submit(request)
    assert (await signer.failed(attempt)).attempt == attempt.attempt, "nothing was lost"
    assert asked == 3
    (told,) = signer.waiting(request)
    assert (told.stage, told.why, told.documents) == ("hsm_signer", Reason.HSM_UNAVAILABLE, None)
