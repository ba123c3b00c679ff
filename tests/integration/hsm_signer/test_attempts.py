"""What was tried is counted, once, whatever a twin of its record says meanwhile."""

from uuid import uuid4

import pytest

from services.hsm_signer import store
from tests.integration.hsm_signer.conftest import Signer


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
