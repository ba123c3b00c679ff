"""`python -m tests.faults.campaign`: SEED and FAULT from the environment; leaves var/faults/report.json."""

import asyncio
import json
import os
import random
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict

import uvloop

from deploy.native.failures import StackError
from deploy.native.layout import CHECKOUT, open_layout
from services.igfmas.demo.stack import running_stack
from services.igfmas.enrolment import Officer
from tests.faults.campaign.account import Account, account_for
from tests.faults.campaign.inflicting import FAULTS, Fault
from tests.faults.campaign.load import Load
from tests.load.bench import say
from tests.support.chain import Client, connected
from tests.support.stack import SESSION_MS, Stack

STATE = CHECKOUT / "var" / "faults-stack"
REPORT = CHECKOUT / "var" / "faults" / "report.json"

OFFICERS = 5
RECOVERY = 30.0
"""Seconds from when the part is back to the end of everything that was asked before."""

Line = dict[str, object]


async def strike(client: Client, officers: Sequence[Officer], fault: Fault, seed: int) -> Line:
    """One fault under load, and its account."""
    async with Load(client, officers) as load:
        await fault.inflict(client, random.Random(f"{seed} {fault.name}"))
        back = time.monotonic()
        await load.stop_pressing()
        await load.settled()
        recovery = time.monotonic() - back
        await client.chain.drain()
        account = await account_for(client, load.journeys)
    return {
        "fault": fault.name,
        "seed": seed,
        **asdict(account),
        "recovery_s": round(recovery, 1),
        "holds": holds(account, recovery, fault),
    }


def holds(account: Account, recovery: float, fault: Fault) -> bool:
    """Nothing lost, nothing twice, nothing refused but for what was done, back in time."""
    refused = set(account.rejected) - fault.refuses
    clean = not (account.lost or account.duplicated or account.contradictions or refused)
    return clean and account.posted > 0 and recovery < RECOVERY


async def campaign(names: Sequence[str], seed: int) -> list[Line]:
    """Every fault on one stack, one after another; the report grows with each."""
    shutil.rmtree(STATE, ignore_errors=True)
    layout = open_layout(STATE)
    lines: list[Line] = []
    async with running_stack(layout, say), connected(Stack(layout)) as client:
        officers = await asyncio.gather(*(client.enrol() for _ in range(OFFICERS)))
        for number, name in enumerate(names, 1):
            say(f"{number} of {len(names)}: {name}")
            line = await strike(client, officers, FAULTS[name], seed)
            lines.append(line)
            REPORT.parent.mkdir(parents=True, exist_ok=True)
            REPORT.write_text(json.dumps(lines, indent=2) + "\n")
            say("  " + ", ".join(f"{key} {value}" for key, value in line.items() if key not in {"fault", "seed"}))
    return lines


def main() -> int:
    """Run, tell, and end with 1 if anything did not hold."""
    seed, only = int(os.environ.get("SEED", "1")), os.environ.get("FAULT", "")
    names = only.split(",") if only else list(FAULTS)
    unknown = [name for name in names if name not in FAULTS]
    if unknown:
        say(f"error: no fault is named {', '.join(unknown)}; there are {', '.join(FAULTS)}")
        return 2
    os.environ["GPKI_KAFKA_SESSION_MS"] = str(SESSION_MS)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            lines = runner.run(campaign(names, seed))
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
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
