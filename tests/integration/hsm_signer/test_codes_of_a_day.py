"""Wrong codes are counted by officer and day, over requests and replicas: the tenth holds codes, and locks nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from libs.contracts.reasons import Reason
from libs.contracts.signing import MediumResolved
from libs.contracts.state import User
from libs.runtime.clock import utc_now
from libs.storage.pool import Connection
from services.hsm_signer import limits, store
from services.hsm_signer.authorisation import Counts, may_try
from tests.integration.hsm_signer.conftest import Signer
from tests.support.pki import p256_key
from tests.support.requests import new_user, user_state

WRONG_BEFORE = """
insert into attempt (request_id, attempt, credential_id, state, taken_at)
select gen_random_uuid(), n::text, $1, 'wrong-otp', now() - interval '1 hour' - n * interval '1 minute'
from generate_series(0, $2 - 1) as n
"""


async def officer(signer: Signer, *, wrong: int) -> User:
    """One who could sign, and of whom so many codes were wrong in the last hours, the youngest an hour ago."""
    user = user_state(new_user())
    await signer.know(user, certificate={"certificate": signer.pki.officer(user.user, key=p256_key()).der})
    await signer.room.pool.execute(WRONG_BEFORE, user.credential_id, wrong)
    return user


@asynccontextmanager
async def taking(signer: Signer, request: MediumResolved) -> AsyncIterator[tuple[Connection, store.Request, Counts]]:
    """A transaction in which an attempt is about to take its slot, as each replica has it."""
    async with signer.room.pool.acquire() as connection, connection.transaction():
        kept = await store.lock_credential(connection, request.credential_id)
        found = await store.lock_request(connection, request.request_id)
        assert kept is not None
        assert found is not None
        yield connection, found, await store.counts(connection, found, kept, "this")


async def test_of_many_replicas_at_once_one_gets_the_tenth_try(signer: Signer) -> None:
    """I-45: each with a request of its own, as two replicas have them."""
    user = await officer(signer, wrong=9)
    requests = [signer.request(user) for _ in range(5)]
    for request in requests:
        await signer.resolve(request)

    async def take(request: MediumResolved) -> bool | Reason:
        async with taking(signer, request) as (connection, found, counts):
            answer = may_try(counts)
            if answer is True:
                await store.take_slot(connection, found.request_id, request.credential_id, "this")
            return answer

    assert sorted(await asyncio.gather(*map(take, requests))) == [False] * 4 + [True]


@pytest.mark.parametrize("defended", [True, False])
async def test_after_ten_wrong_codes_nothing_is_tried_until_the_oldest_is_a_day_old(
    signer: Signer, monkeypatch: pytest.MonkeyPatch, defended: bool
) -> None:
    """I-45: said with its end. Without the limit of a day the eleventh guess is tried as the first was."""
    if not defended:
        monkeypatch.setattr(limits, "WRONG_OTPS_OF_DAY", 1_000)
    user = await officer(signer, wrong=10)
    request = signer.request(user)
    await signer.resolve(request)
    attempt = await signer.submit(request)
    told = await signer.failed(attempt)
    if not defended:
        assert told.reason is Reason.SEAL_EXPIRED, "nobody's seal opens here: it was tried"
        return
    assert (told.reason, told.safe_to_retry) == (Reason.OTP_HELD, True)
    rejected = await signer.rejected(request)
    assert (rejected.reason, rejected.documents, rejected.held_until) == (Reason.OTP_HELD, None, told.held_until)
    assert told.held_until is not None
    left = told.held_until - utc_now()
    assert timedelta(hours=22, minutes=50) < left < timedelta(hours=22, minutes=52), "the oldest was 1 h 9 min old"
    assert (
        await signer.room.count("select wrong_pins from credential where credential_id = $1", user.credential_id) == 0
    )
    await signer.room.pool.execute(
        "update attempt set taken_at = taken_at - $2::interval where credential_id = $1 and attempt = '9'",
        user.credential_id,
        left,
    )
    later = signer.request(user)
    await signer.resolve(later)
    assert (await signer.failed(await signer.submit(later))).reason is Reason.SEAL_EXPIRED
