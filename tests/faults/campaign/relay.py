"""Faults of the mail relay: away, slow, unwilling, or so towards one mailbox alone."""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Final

from deploy.native.supervisor import Supervisor
from libs.contracts.manifest import Header
from libs.runtime.clock import utc_now
from services.igfmas.observation import Observation
from tests.faults.campaign.fault import AWAY, Inflict, Judge, moment
from tests.support.chain import Client

OWNERS: Final = "SELECT request_id, header FROM hsm_signer.request WHERE request_id = ANY ($1)"

FAIR: Final = 5.0
"""Seconds before its end within which what is asked need not be served during the fault."""


async def relay_down(client: Client, seeded: random.Random) -> None:
    """Nobody listens where the relay was."""
    await moment(seeded)
    supervisor = Supervisor(client.stack.layout)
    await asyncio.to_thread(supervisor.stop, "smtp")
    await asyncio.sleep(AWAY)
    await asyncio.to_thread(supervisor.start, "smtp")
    await client.stack.ready("smtp")


def relay_answers(rule: Mapping[str, object], *, lasting: float) -> Inflict:
    """The relay treats every mailbox by this rule for so long, and is back when it has answered for what it took so."""

    async def inflict(client: Client, seeded: random.Random) -> None:
        await moment(seeded)
        async with _ruled(client, {"*": rule}):
            await asyncio.sleep(lasting)

    return inflict


def one_mailbox(rule: Mapping[str, object], *, lasting: float) -> Inflict:
    """The relay treats one officer's mailbox by this rule; the others' codes come meanwhile."""

    async def inflict(client: Client, seeded: random.Random) -> Judge:
        await moment(seeded)
        victim = seeded.choice(sorted(client.chain.users))
        began = utc_now()
        async with _ruled(client, {client.chain.users[victim].email: rule}):
            await asyncio.sleep(lasting)
            ended = utc_now()
        return _others_served(client, victim, began, ended)

    return inflict


@contextlib.asynccontextmanager
async def _ruled(client: Client, rules: Mapping[str, Mapping[str, object]]) -> AsyncIterator[None]:
    file = client.stack.layout.mail_rules
    file.write_text(json.dumps(rules))
    try:
        yield
    finally:
        file.unlink()
    await asyncio.sleep(max(float(str(rule.get("seconds", 0))) for rule in rules.values()))


def _others_served(client: Client, victim: str, began: datetime, ended: datetime) -> Judge:
    first, last = began.timestamp() * 1000, (ended.timestamp() - FAIR) * 1000

    async def judge(seen: Observation) -> list[str]:
        owners = {
            row["request_id"]: Header.model_validate_json(row["header"]).user
            for row in await client.database.fetch(OWNERS, list(seen.requests))
        }
        held, served, waited = 0, 0, list[str]()
        for request_id, officer in owners.items():
            request = seen.requests[request_id]
            asked = request.requested_at
            if asked is None or not first <= asked <= last:
                continue
            code = request.dispatched.get(1)
            in_time = code is not None and code[0] <= ended.timestamp() * 1000
            if officer == victim:
                held += not in_time
            elif in_time:
                served += 1
            else:
                waited.append(str(request_id))
        wrong = [f"{len(waited)} codes of other mailboxes had to wait, that of {waited[0]} for one"] if waited else []
        if not served or not held:
            wrong.append(f"{held} codes were held up and {served} of others were not: nothing was tried")
        return wrong

    return judge
