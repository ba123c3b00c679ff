"""One fault under load, and its line of the report."""

import random
import time
from collections.abc import Mapping

from libs.contracts import topics
from services.igfmas.observation import Observation
from tests.faults.campaign import ledgers
from tests.faults.campaign.account import Mail, toll_of
from tests.faults.campaign.fault import Fault
from tests.faults.campaign.load import FULL, Load, Weight
from tests.faults.campaign.stacks import Struck

Line = Mapping[str, object]

RECORDED = "SELECT document_id FROM posting.record WHERE request_id = ANY ($1)"
DISPATCHED = """
SELECT message_id, min(recorded_at) AS recorded_at FROM otp_dispatch.code
JOIN otp_dispatch.outcome ON topic = $2 AND key = convert_to(request_id::text, 'UTF8')
WHERE message_id = ANY ($1) GROUP BY message_id
"""


async def strike(struck: Struck, fault: Fault, seed: int, weight: Weight = FULL) -> Line:
    """Do it to a stack that is at work, wait until everything has ended, and count.

    The load goes on while the stack recovers: recovery is over when all that was asked before has ended.
    """
    client = struck.client
    asked_before, sent_before = set(client.chain.observation.requests), len(client.stack.kept())
    async with Load(client, struck.officers, weight) as load:
        await load.flows()
        began = time.monotonic()
        judge = await fault.inflict(client, random.Random(f"{seed} {fault.name}"))
        back = time.monotonic()
        await load.settled(load.under_way())
        recovery = time.monotonic() - back
        await load.stop_pressing()
        await load.settled(load.under_way())
    await client.chain.drain()
    seen = Observation()
    seen.requests = {name: one for name, one in client.chain.observation.requests.items() if name not in asked_before}
    seen.strangers = client.chain.observation.strangers
    rows = await client.database.fetch(RECORDED, list(seen.requests))
    wrong = [*await ledgers.disagree(client, seen), *(await judge(seen) if judge else ())]
    # The code and its reference; the line on how long it is valid counts from each sending.
    mails = [
        Mail(str(mail["Message-ID"]), mail.get_content().splitlines()[0], kept_at)
        for kept_at, mail in client.stack.kept()[sent_before:]
    ]
    codes = await client.database.fetch(DISPATCHED, [mail.message for mail in mails], topics.OTP_DISPATCHED.name)
    dispatched = {row["message_id"]: row["recorded_at"] for row in codes}
    toll = toll_of(seen, [row["document_id"] for row in rows], mails, dispatched, recovery, wrong)
    return {
        "fault": fault.name, "seed": seed, "documents": toll.documents, "posted": toll.posted,
        "rejected": dict(toll.rejected), "lost": toll.lost, "duplicated": toll.duplicated,
        "otp_sent_twice": toll.otp_sent_twice, "struck_s": round(back - began, 1), "recovery_s": round(recovery, 1),
        "contradictions": list(toll.contradictions),
        "holds": toll.holds(fault.refuses, mails_again=fault.mails_again),
    }  # fmt: skip
