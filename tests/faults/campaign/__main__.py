"""`make faults`: SEED and FAULT (names, comma-separated) from the environment; leaves var/faults/report.json."""

import asyncio
import json
import os
import random
import shutil
import sys
import time
from collections.abc import Mapping, Sequence

from deploy.native.failures import StackError
from deploy.native.layout import CHECKOUT, open_layout
from services.igfmas.demo.stack import running_stack
from services.igfmas.enrolment import Officer
from services.igfmas.observation import Observation
from tests.faults.campaign.account import toll_of
from tests.faults.campaign.inflicting import FAULTS, Fault
from tests.faults.campaign.load import Load
from tests.load.progress import say
from tests.support.chain import Client, connected
from tests.support.stack import SESSION_MS, Stack

STATE = CHECKOUT / "var" / "faults-stack"
REPORT = CHECKOUT / "var" / "faults" / "report.json"

OFFICERS = 5
RECORDED = "SELECT document_id FROM posting.record WHERE request_id = ANY ($1)"

Line = Mapping[str, object]


async def strike(client: Client, officers: Sequence[Officer], fault: Fault, seed: int) -> Line:
    """One fault under load, and its line of the report."""
    asked_before, sent_before = set(client.chain.observation.requests), len(client.stack.messages())
    async with Load(client, officers) as load:
        await fault.inflict(client, random.Random(f"{seed} {fault.name}"))
        back = time.monotonic()
        await load.stop_pressing()
        await load.settled()
        recovery = time.monotonic() - back
        await client.chain.drain()
        seen = Observation()
        seen.requests = {
            name: one for name, one in client.chain.observation.requests.items() if name not in asked_before
        }
        seen.strangers = client.chain.observation.strangers
        rows = await client.database.fetch(RECORDED, list(seen.requests))
        # The code and its reference; the line on how long it is valid counts from each sending.
        mails = [
            (str(mail["Message-ID"]), mail.get_content().splitlines()[0])
            for mail in client.stack.messages()[sent_before:]
        ]
        toll = toll_of(seen, [row["document_id"] for row in rows], mails, recovery)
    return {
        "fault": fault.name, "seed": seed, "documents": toll.documents, "posted": toll.posted,
        "rejected": dict(toll.rejected), "lost": toll.lost, "duplicated": toll.duplicated,
        "otp_sent_twice": toll.otp_sent_twice, "recovery_s": round(recovery, 1),
        "contradictions": list(toll.contradictions), "holds": toll.holds(fault.refuses),
    }  # fmt: skip


async def campaign(names: Sequence[str], seed: int) -> list[Line]:
    """Every fault on one stack, one after another; the report grows with each."""
    shutil.rmtree(STATE, ignore_errors=True)
    layout = open_layout(STATE)
    lines: list[Line] = []
    async with running_stack(layout, say), connected(Stack(layout)) as client:
        officers = await asyncio.gather(*(client.enrol() for _ in range(OFFICERS)))
        for number, name in enumerate(names, 1):
            say(f"{number} of {len(names)}: {name}")
            lines.append(await strike(client, officers, FAULTS[name], seed))
            REPORT.parent.mkdir(parents=True, exist_ok=True)
            REPORT.write_text(json.dumps(lines, indent=2) + "\n")
            say("    " + ", ".join(f"{key} {value}" for key, value in list(lines[-1].items())[2:] if value != []))
    return lines


def main() -> int:
    """Run, tell, and end with 1 if anything did not hold."""
    seed, only = int(os.environ.get("SEED") or 1), os.environ.get("FAULT", "")
    names = only.split(",") if only else list(FAULTS)
    unknown = [name for name in names if name not in FAULTS]
    if unknown:
        say(f"error: no fault is named {', '.join(unknown)}; there are {', '.join(FAULTS)}")
        return 2
    os.environ["GPKI_KAFKA_SESSION_MS"] = str(SESSION_MS)
    try:
        # Not uvloop: with it, anyio meets a connection that is gone at once as an AttributeError.
        lines = asyncio.run(campaign(names, seed))
    except StackError as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    bad = [str(line["fault"]) for line in lines if not line["holds"]]
    documents = sum(int(str(line["documents"])) for line in lines)
    say(f"{len(lines) - len(bad)} of {len(lines)} faults hold, {documents} documents; {REPORT}")
    if bad:
        say(f"do not hold: {', '.join(bad)}")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
