"""`make bench`: the table of design section 8, each figure beside the raw rate of the HSM in the same run.

On a stack of its own, made anew: var/bench-stack. Leaves var/bench/results.json and table.md, and draws docs/bench.png.
ONLY=pukal,single runs some parts, SCALE=0.01 with smaller sizes; only a whole run at full size draws the picture, and
ends with 1 where a target does not hold.
"""

import asyncio
import gc
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence

import uvloop

from deploy.native.failures import StackError
from deploy.native.layout import CHECKOUT, Layout, open_layout
from deploy.native.supervisor import Supervisor
from services.igfmas.demo.stack import running_stack
from tests.load import plot, report
from tests.load.measuring import Bench
from tests.load.parts import PARTS, Found
from tests.load.processes import Processes
from tests.load.progress import say, told
from tests.load.yardstick import Machine
from tests.support.chain import connected
from tests.support.stack import Stack

STATE = CHECKOUT / "var" / "bench-stack"
TABLE = plot.RESULTS.with_name("table.md")

OFFICERS = 10
"""With real keys."""

UNMEASURED = (
    "raw_hsm_per_s",
    "pukal_per_s",
    "ratio",
    "single_p50_ms",
    "single_p99_ms",
    "mixed_p99_ms",
    "growth",
    "p256_per_s",
)
"""Keys that others read; None when a run did not measure them."""


async def bench(names: list[str], scale: float) -> Found:
    """These parts, one after another, on a stack of their own: what was signed before must not count."""
    machine = Machine.here()
    if machine.busy:
        say(f"the machine is busy (load {machine.load_before:.1f}): the figures will be worse than they are")
    layout = new_layout()
    found: Found = {
        "machine": machine.as_json(),
        "cpus": machine.cpus,
        "load_before": machine.load_before,
        "scale": scale,
        "failed": {},
        **dict.fromkeys(UNMEASURED),
    }
    began = time.monotonic()
    async with running_stack(layout, say):
        found["start_s"] = time.monotonic() - began
        await measure(Stack(layout), names, found, write)
    return found


def new_layout() -> Layout:
    """An empty place for a stack. Raises StackError while one runs there."""
    if STATE.exists() and Supervisor(open_layout(STATE)).pid() is not None:
        raise StackError(f"a stack runs in {STATE}", "wait for the bench or the soak that it belongs to, or end it")
    shutil.rmtree(STATE, ignore_errors=True)
    return open_layout(STATE)


async def measure(stack: Stack, names: Sequence[str], found: Found, keep: Callable[[Found], None]) -> None:
    """Add to what was found what each part finds; it is kept after each."""
    began = time.monotonic()
    async with connected(stack, ()) as client:
        officers = await asyncio.gather(*(client.enrol() for _ in range(OFFICERS)))
        gc.collect()
        gc.freeze()  # a collection that looks at what never goes takes 110 ms of a core from what is measured
        run = Bench(client, stack.layout, Processes(stack), list(officers), found["scale"])
        for number, name in enumerate(names, 1):
            say(f"{number} of {len(names)}: {name}, {PARTS[name].__doc__}")
            try:
                found |= await PARTS[name](run)
            except Exception as error:  # noqa: BLE001 (told and recorded: what was measured before must not be lost)
                say(f"{name} was not measured: {error!r}")
                found["failed"][name] = repr(error)
            found["resident_mb"] = {part: round(size, 1) for part, size in run.processes.resident().items()}
            found["took_s"] = round(time.monotonic() - began)
            keep(found)


def write(found: Found) -> None:
    """What was measured so far."""
    found["targets"] = report.judged(found)
    plot.RESULTS.parent.mkdir(parents=True, exist_ok=True)
    plot.RESULTS.write_text(json.dumps(found, indent=2) + "\n")
    TABLE.write_text(report.table(found))


def settings() -> tuple[list[str], float]:
    """ONLY and SCALE. Raises ValueError, which says what is wrong."""
    scale = float(os.environ.get("SCALE") or 1)
    if not 0 < scale <= 1:
        raise ValueError("SCALE is above 0 and at most 1")
    only = os.environ.get("ONLY", "")
    wanted = only.split(",") if only else list(PARTS)
    unknown = [name for name in wanted if name not in PARTS]
    if unknown:
        raise ValueError(f"no part is named {', '.join(unknown)}; there are {', '.join(PARTS)}")
    return [name for name in PARTS if name in wanted], scale


def main() -> int:
    """Measure, write, print."""
    try:
        names, scale = settings()
    except ValueError as error:
        say(f"error: {error}")
        return 2
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(bench(names, scale))
    whole = scale == 1 and len(names) == len(PARTS)
    picture = plot.PICTURE if whole and not found["failed"] else plot.RESULTS.with_name("bench.png")
    drawn = f", {picture}" if plot.draw(found, picture) else ""
    sys.stdout.write(f"{report.table(found)}\n{plot.RESULTS}, {TABLE.name}{drawn}\n")
    return verdict(found, whole=whole)


def verdict(found: Found, *, whole: bool) -> int:
    """The exit code: 1 if a part was not measured, or a target of a whole run does not hold, which is said."""
    missed = report.missed(found) if whole else []
    for line in missed:
        say(f"does not hold: {line}")
    return int(bool(found["failed"] or missed))


if __name__ == "__main__":
    sys.exit(told(main))
