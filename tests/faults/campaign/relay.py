"""Faults of the mail relay: away, slow, unwilling, or so towards one mailbox alone."""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from deploy.native.supervisor import Supervisor
from libs.contracts.manifest import Header
from libs.contracts.reasons import Reason
from libs.contracts.waiting import WaitsFor
from libs.runtime.clock import utc_now
from services.igfmas.observation import Observation
from tests.faults.campaign.fault import AWAY, Inflict, Judge, moment
from tests.faults.campaign.ledgers import waiting_is_told
from tests.faults.campaign.stacks import OFFICERS
from tests.support.chain import Client

OWNERS: Final = "SELECT request_id, header FROM hsm_signer.request WHERE request_id = ANY ($1)"

LATE: Final = 10.0
"""Seconds after which a code is late."""

FAIR: Final = 5.0
"""Seconds before its end within which what is asked need not be served during the fault."""


Felt = Callable[[Client], Judge]
"""Judges that the fault was felt by something; else nothing was tried."""


async def relay_down(client: Client, seeded: random.Random) -> Judge:
    """Nobody listens where the relay was."""
    await moment(seeded)
    supervisor = Supervisor(client.stack.layout)
    await asyncio.to_thread(supervisor.stop, "smtp")
    await asyncio.sleep(AWAY)
    await asyncio.to_thread(supervisor.start, "smtp")
    await client.stack.ready("smtp")
    return held_up(client)


def relay_answers(rule: Mapping[str, object], felt: Felt, *, lasting: float) -> Inflict:
    """The relay treats every mailbox by this rule for so long, and is back when it has answered for what it took so."""

    async def inflict(client: Client, seeded: random.Random) -> Judge:
        await moment(seeded)
        async with _ruled(client, {"*": rule}):
            await asyncio.sleep(lasting)
        return felt(client)

    return inflict


def one_mailbox(rule: Mapping[str, object], *, lasting: float) -> Inflict:
    """The relay treats one officer's mailbox by this rule; the others' codes come meanwhile."""

    async def inflict(client: Client, seeded: random.Random) -> Judge:
        await moment(seeded)
        victim = seeded.choice(sorted(list(client.chain.users)[:OFFICERS]))  # of those who sign, who were first
        began = utc_now()
        async with _ruled(client, {client.chain.users[victim].email: rule}):
            await asyncio.sleep(lasting)
            ended = utc_now()
        return _others_served(client, victim, began, ended)

    return inflict


def held_up(client: Client) -> Judge:
    """Some officer was told to wait for the relay, or for the own mailbox."""
    return waiting_is_told(client, WaitsFor.RELAY, WaitsFor.MAILBOX)


def slow(_client: Client) -> Judge:
    """Some code came late."""

    async def judge(seen: Observation) -> Sequence[str]:
        codes = [(request.resolved_at, request.dispatched.get(1)) for request in seen.requests.values()]
        late = any(resolved and code and code[0] - resolved > 1000 * LATE for resolved, code in codes)
        return [] if late else [f"no code took more than {LATE:.0f} s: nothing was tried"]

    return judge


def refused(_client: Client) -> Judge:
    """Some code could not be delivered."""

    async def judge(seen: Observation) -> Sequence[str]:
        reasons = {refusal.reason for _, document in seen.all_documents() for refusal in document.refusals}
        return [] if Reason.OTP_UNDELIVERABLE in reasons else ["every code was delivered: nothing was tried"]

    return judge


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
