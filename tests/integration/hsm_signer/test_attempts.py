"""What was tried is counted, once, whatever a twin of its record says meanwhile."""

from uuid import uuid4

import pytest

from libs.contracts.reasons import Reason
from libs.runtime.clock import utc_now
from services.hsm_signer import limits, store
from services.hsm_signer.authorisation import may_try
from tests.integration.hsm_signer.conftest import Signer
from tests.support.requests import new_user, user_state


@pytest.mark.parametrize("wrong", ["wrong-otp", "wrong-pin"])
async def test_a_slot_that_a_twin_gave_back_while_it_was_tried_still_counts_and_only_once(
    signer: Signer, wrong: str
) -> None:
    """I-11: a broker's writer can send the same seal again, with something wrong beside it, on the other lane."""
    request, attempt = uuid4(), "seal"
    async with signer.room.pool.acquire() as connection:
        await connection.execute(
            "INSERT INTO attempt (request_id, attempt, credential_id) VALUES ($1, $2, $3)", request, attempt, uuid4()
        )
        decided = [
            await store.decide_attempt(connection, request, attempt, state) for state in ("void", wrong, wrong, "void")
        ]
    assert decided == [True, True, False, False]


async def test_what_is_being_tried_counts_though_its_request_was_cancelled_meanwhile(signer: Signer) -> None:
    """I-11: no cancel makes room for a fourth guess."""
    user = user_state(new_user())
    await signer.know(user)
    assert user.credential_id is not None
    cancelled, other = signer.request(user), signer.request(user)
    async with signer.room.pool.acquire() as connection, connection.transaction():
        for event in (cancelled, other):
            await store.add_request(
                connection,
                event.signed.manifest.header,
                credential_id=user.credential_id,
                root=bytes(32),
                requested_at=utc_now(),
            )
        request = await store.lock_request(connection, cancelled.request_id)
        assert request is not None
        for attempt in ("a", "b", "c"):
            await store.take_slot(connection, request.request_id, user.credential_id, attempt)
        await store.end_request(connection, cancelled.request_id, Reason.CANCELLED)
        kept = await store.lock_credential(connection, user.credential_id)
        request = await store.lock_request(connection, other.request_id)
        assert kept is not None
        assert request is not None
        assert may_try(await store.counts(connection, request, kept, "d")) is False
        await connection.execute("UPDATE attempt SET taken_at = now() - $1::interval", limits.TRY_WITHIN)
        assert may_try(await store.counts(connection, request, kept, "d")) is True, "a crash holds nobody long"
