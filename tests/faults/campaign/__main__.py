"""`make faults`: SEED and FAULT (names, comma-separated) from the environment; leaves report.json and logs there."""

import asyncio
import itertools
import json
import os
import shutil
import sys
from collections.abc import Sequence

from deploy.native.layout import CHECKOUT
from tests.faults.campaign.fault import Fault
from tests.faults.campaign.inflicting import FAULTS
from tests.faults.campaign.stacks import Kind, running, state_of
from tests.faults.campaign.strike import Line, strike
from tests.load.progress import say, told

REPORT = CHECKOUT / "var" / "faults" / "report.json"

WHOLE = 20_000
"""Documents that a whole campaign asks for at least."""


async def campaign(faults: Sequence[Fault], seed: int) -> list[Line]:
    """Every fault, one after another, on a stack of its kind; the report grows with each."""
    lines: list[Line] = []
    by_kind = sorted(faults, key=lambda fault: fault.stack.name)
    for kind, group in itertools.groupby(by_kind, key=lambda fault: fault.stack):
        struck_here = list(group)
        why = kind.impossible()
        if why is not None:
            lines += [{"fault": fault.name, "seed": seed, "skipped": why} for fault in struck_here]
            say(f"skipped: {', '.join(fault.name for fault in struck_here)}: {why}")
            _report(lines)
            continue
        while struck_here:
            await _on_one_stack(kind, struck_here, seed, lines, len(faults))
    return lines


async def _on_one_stack(kind: Kind, faults: list[Fault], seed: int, lines: list[Line], of: int) -> None:
    """Take faults off the list, until it is empty or one ends in an exception: who knows what that left."""
    fault = faults[0]
    say(f"a stack: {kind.name}")
    try:
        async with running(kind, state_of(kind), say) as struck:
            while faults:
                fault = faults.pop(0)
                say(f"{len(lines) + 1} of {of}: {fault.name}")
                lines.append(await strike(struck, fault, seed))
                _tell(lines)
                await asyncio.to_thread(_keep_logs, kind, lines[-1])
    except Exception as error:
        if fault in faults:
            raise  # there was no stack at all
        lines.append({"fault": fault.name, "seed": seed, "error": repr(error), "holds": False})
        _tell(lines)
        _keep_logs(kind, lines[-1])


def _keep_logs(kind: Kind, line: Line) -> None:
    """Of what does not hold: the next stack, or the next campaign, would write over them."""
    if line["holds"]:
        return
    kept = REPORT.parent / f"{line['fault']}-{line['seed']}"
    shutil.rmtree(kept, ignore_errors=True)
    try:
        shutil.copytree(state_of(kind) / "log", kept)
    except OSError as error:  # one is written, or turned over, meanwhile
        say(f"    not all of its logs could be kept: {error}")
    say(f"    its logs: {kept}")


def _tell(lines: Sequence[Line]) -> None:
    _report(lines)
    say("    " + ", ".join(f"{key} {value}" for key, value in list(lines[-1].items())[2:] if value != []))


def _report(lines: Sequence[Line]) -> None:
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(lines, indent=2) + "\n")


def main() -> int:
    """Run, tell, and end with 1 if anything did not hold."""
    seed, only = int(os.environ.get("SEED") or 1), os.environ.get("FAULT", "")
    names = only.split(",") if only else list(FAULTS)
    unknown = [name for name in names if name not in FAULTS]
    if unknown:
        say(f"error: no fault is named {', '.join(unknown)}; there are {', '.join(FAULTS)}")
        return 2
    # Not uvloop: with it, anyio meets a connection that is gone at once as an AttributeError.
    lines = asyncio.run(campaign([FAULTS[name] for name in names], seed))
    skipped = [line for line in lines if "skipped" in line]
    done = [line for line in lines if "skipped" not in line]
    bad = [str(line["fault"]) for line in done if not line["holds"]]
    documents = sum(int(str(line.get("documents", 0))) for line in done)
    say(f"{len(done) - len(bad)} of {len(done)} faults hold, {len(skipped)} skipped, {documents} documents; {REPORT}")
    if bad:
        say(f"do not hold: {', '.join(bad)}")
    if not only and documents < WHOLE:
        say(f"too few: a whole campaign asks for {WHOLE} documents")
        return 1
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(told(main))
