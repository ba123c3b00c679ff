"""An officer who applies for a certificate while enrolment or the authority is struck: no document needs them."""

import asyncio
from collections.abc import Sequence

from services.igfmas.observation import Observation
from tests.faults.campaign.fault import Judge
from tests.support.chain import Client


def applied_during(client: Client, service: str) -> Judge | None:
    """Have an officer apply now, if this service has a part in it; judge that there is a certificate in the end."""
    if service not in {"enrolment", "certificate_authority"}:
        return None
    applying = asyncio.create_task(client.enrol())

    async def judge(_: Observation) -> Sequence[str]:
        (failure,) = await asyncio.gather(applying, return_exceptions=True)
        return [f"who applied meanwhile has no certificate: {failure!r}"] if isinstance(failure, BaseException) else []

    return judge
