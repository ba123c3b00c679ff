"""What those services keep of a fault's load that no document waits for: otp_dispatch, gateway and monitor."""

import contextlib
from collections.abc import Sequence
from typing import Final

from libs.contracts.waiting import WaitsFor
from services.igfmas.observation import Observation
from tests.faults.campaign.fault import Judge
from tests.support.chain import Client
from tests.support.waiting import eventually

SOON: Final = 30.0
"""Seconds after the end of the load within which they have read all of it."""

CODES: Final = """
SELECT request_id FROM otp_dispatch.code WHERE request_id = ANY ($1) GROUP BY request_id HAVING count(*) > 1
"""
SHOWN: Final = "SELECT request_id FROM gateway.timeline WHERE request_id = ANY ($1) AND kind = 'completed'"
RECONCILED: Final = """
SELECT document_id FROM monitor.document
WHERE request_id = ANY ($1) AND signed_at IS NOT NULL AND posted_at IS NOT NULL
"""

WAITED: Final = """
SELECT count(*) FROM gateway.timeline
WHERE request_id = ANY ($1) AND kind = 'waiting' AND data::jsonb ->> 'why' = ANY ($2)
"""


def waiting_is_told(client: Client, *causes: WaitsFor) -> Judge:
    """Judge that the timeline of some request said that it waits for one of these; else nothing was tried."""

    async def judge(seen: Observation) -> Sequence[str]:
        told = await client.database.fetchval(WAITED, list(seen.requests), [str(cause) for cause in causes])
        return [] if told else [f"no request was told to wait for {' or '.join(causes)}"]

    return judge


async def disagree(client: Client, seen: Observation) -> Sequence[str]:
    """What is wrong in them, once they had time: nobody here asks for a second code, every end is shown, and every
    document that was posted is known to be signed and posted.
    """
    requests = list(seen.requests)
    ended = {one.request_id for one in seen.requests.values() if one.ended}
    posted = {document.entry.id for _, document in seen.all_documents() if document.posted}
    again = [row["request_id"] for row in await client.database.fetch(CODES, requests)]
    unshown, unknown = set(ended), set(posted)

    async def agree() -> bool:
        nonlocal unshown, unknown
        unshown = ended - {row["request_id"] for row in await client.database.fetch(SHOWN, requests)}
        unknown = posted - {row["document_id"] for row in await client.database.fetch(RECONCILED, requests)}
        return not unshown and not unknown

    with contextlib.suppress(AssertionError):
        await eventually(agree, "gateway and monitor know what came of it", every=0.5, seconds=SOON)
    return [
        *(f"{request_id}: more than one code" for request_id in again),
        *(f"{request_id}: its end is not in the gateway's timeline" for request_id in sorted(unshown, key=str)),
        *(f"{name}: posted, and monitor does not know it as signed and posted" for name in sorted(unknown)),
    ]
