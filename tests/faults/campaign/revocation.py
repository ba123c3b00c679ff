"""The CRL server down for longer than a CRL is valid."""

import asyncio
import random
from collections.abc import Sequence
from typing import Final

import httpx

from deploy.native.ports import HOST
from deploy.native.supervisor import Supervisor
from services.igfmas.observation import Observation
from tests.faults.campaign.fault import Judge, moment
from tests.faults.campaign.stacks import CRL_VALIDITY
from tests.support.chain import Client
from tests.support.waiting import eventually

STALE: Final = 35.0
"""Seconds that a CRL is past its nextUpdate: until a document that waits for one is looked at as seldom as ever."""

SERVER: Final = "certificate_authority"


async def server_down(client: Client, seeded: random.Random) -> Judge:
    """Until a CRL is stale, and for a while longer: documents wait, and none is posted without one."""
    await moment(seeded)
    supervisor = Supervisor(client.stack.layout)
    await asyncio.to_thread(supervisor.stop, SERVER)
    await eventually(lambda: _is_stale(client), "a CRL is stale", every=0.2, seconds=2 * CRL_VALIDITY)
    await asyncio.sleep(STALE)
    await asyncio.to_thread(supervisor.start, SERVER)
    await client.stack.ready(SERVER)
    return judge


async def _is_stale(client: Client) -> bool:
    """Whether the verifier says so."""
    async with httpx.AsyncClient() as http:
        answer = await http.get(f"http://{HOST}:{client.stack.layout.ports['health_crl_verifier']}/readyz")
    return not answer.json()["checks"]["crl"]["ok"]


async def judge(seen: Observation) -> Sequence[str]:
    """Nothing was verified by a CRL that was past its nextUpdate, and something had to wait for a new one."""
    verified = [document.verified for _, document in seen.all_documents() if document.verified is not None]
    wrong = [
        f"{event.entry.id} was verified by the stale CRL {crl.number} of {crl.issuer}"
        for event in verified
        for crl in event.crls
        if event.verified_at > crl.next_update
    ]
    if not any((event.verified_at - event.signed_at).total_seconds() > STALE / 4 for event in verified):
        wrong.append("no document waited for a CRL: nothing was tried")
    return wrong
