"""A batch that is reserved may finish within 12 hours, and no later (design section 3)."""

from datetime import timedelta

import pytest

from libs.contracts.reasons import Reason
from tests.faults.conftest import Pukal
from tests.support.chain import Client
from tests.support.documents import SIGNED
from tests.support.faults import Held, kill, replaced

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]


AGED = "UPDATE hsm_signer.request SET reserved_at = reserved_at - $2::interval WHERE request_id = $1 RETURNING true"


@pytest.mark.parametrize(("hours", "finishes"), [(11.5, True), (12.5, False)])
async def test_a_batch_that_an_outage_broke_off_finishes_within_twelve_hours_of_its_reservation_or_not_at_all(
    client: Client, pukal: Pukal, hours: float, finishes: bool
) -> None:
    """What is signed stays signed and is posted. The hours pass in no time: the reservation is made older."""
    async with Held(client.stack, "hsm_signer", "outcome") as held:
        pukal.begin()
        pid = await pukal.caught(held, SIGNED, 50)  # with nothing on its way to be committed
        kill(pid)
    request = await pukal.pressed()
    signed = await pukal.count(SIGNED)
    assert await client.value(AGED, request.id, timedelta(hours=hours))
    completed = await pukal.ends()
    await replaced(client.stack, "hsm_signer", pid)
    if finishes:
        assert len(completed.posted) == len(request.papers)
        return
    assert len(completed.posted) == signed
    (rest,) = completed.rejected
    assert (rest.stage, rest.reason, rest.safe_to_retry) == ("hsm_signer", Reason.AUTHORISATION_EXPIRED, True)
    assert len(rest.documents or ()) == len(request.papers) - signed
