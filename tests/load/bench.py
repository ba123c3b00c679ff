"""`make bench`: the table of design section 8, each figure beside the raw rate of the HSM in the same run.

On stacks of its own, made anew: var/bench-stack, and two more for what is compared. Leaves var/bench/results.json
and table.md, and draws docs/bench.png. ONLY=pukal,single runs some parts, SCALE=0.01 with smaller sizes; only a whole
run at full size draws the picture, and ends with 1 where a target does not hold.
"""

import asyncio
import contextlib
import gc
import json
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import uvloop

from deploy.native.failures import StackError
from deploy.native.layout import CHECKOUT, Layout, open_layout
from deploy.native.supervisor import Supervisor
from services.igfmas.demo.stack import running_stack
from tests.load import plot, report
from tests.load.compared import COMPARED, Pair
from tests.load.measuring import Bench
from tests.load.parts import PARTS, Found
from tests.load.processes import Processes
from tests.load.progress import say, told
from tests.load.yardstick import Machine
from tests.support.chain import connected
from tests.support.stack import Stack

STATES = [CHECKOUT / "var" / name for name in ("bench-stack", "bench-stack-new", "bench-stack-filled")]
"""The first for most parts; the other two for what is compared, when that one has been stopped."""
ALL = (*PARTS, *COMPARED)
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
    """These parts, one after another, on stacks of their own: what was signed before must not count."""
    machine = Machine.here()
    if machine.busy:
        say(f"the machine is busy (load {machine.load_before:.1f}): the figures will be worse than they are")
    layout, *pair_of = map(new_layout, STATES)
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
        await measure(Stack(layout), [name for name in names if name in PARTS], found, write)
    if compared := [name for name in names if name in COMPARED]:
        try:
            async with _pair(pair_of, scale) as pair:
                await _each(COMPARED, compared, pair, found, write)
        except Exception as error:  # noqa: BLE001 (as in _each)
            say(f"of the two stacks for {', '.join(compared)}: {error!r}")
            found["failed"]["pair"] = repr(error)
    return found


def new_layout(state: Path = STATES[0]) -> Layout:
    """An empty place for a stack. Raises StackError while one of the bench's runs: a second would be measured too."""
    for place in STATES:
        if place.exists() and Supervisor(open_layout(place)).pid() is not None:
            raise StackError(f"a stack runs in {place}", "wait for the bench or the soak that it belongs to, or end it")
    shutil.rmtree(state, ignore_errors=True)
    return open_layout(state)


async def measure(stack: Stack, names: Sequence[str], found: Found, keep: Callable[[Found], None]) -> None:
    """Add to what was found what each part on one stack finds; it is kept after each."""
    async with on_stack(stack, found["scale"]) as run:
        await _each(PARTS, names, run, found, keep)
        found["resident_mb"] = {part: round(size, 1) for part, size in run.processes.resident().items()}


@contextlib.asynccontextmanager
async def on_stack(stack: Stack, scale: float) -> AsyncIterator[Bench]:
    """An iGFMAS of a stack that runs, with officers of its own."""
    async with connected(stack, ()) as client:
        officers = await asyncio.gather(*(client.enrol() for _ in range(OFFICERS)))
        gc.collect()
        gc.freeze()  # a collection that looks at what never goes takes 110 ms of a core from what is measured
        yield Bench(client, stack.layout, Processes(stack), list(officers), scale)


@contextlib.asynccontextmanager
async def _pair(layouts: Sequence[Layout], scale: float) -> AsyncIterator[Pair]:
    async with contextlib.AsyncExitStack() as resources:
        sides = []
        for layout in layouts:
            await resources.enter_async_context(running_stack(layout, say))
            sides.append(await resources.enter_async_context(on_stack(Stack(layout), scale)))
            await sides[-1].warm_up()
        yield Pair(*sides)


async def _each(
    parts: Mapping[str, Callable[[Any], Awaitable[Found]]],
    names: Sequence[str],
    run: Bench | Pair,
    found: Found,
    keep: Callable[[Found], None],
) -> None:
    for name in names:
        say(f"{name}: {parts[name].__doc__}")
        try:
            found |= await parts[name](run)
        except Exception as error:  # noqa: BLE001 (told and recorded: what was measured before must not be lost)
            say(f"{name} was not measured: {error!r}")
            found["failed"][name] = repr(error)
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
    wanted = only.split(",") if only else list(ALL)
    unknown = [name for name in wanted if name not in ALL]
    if unknown:
        raise ValueError(f"no part is named {', '.join(unknown)}; there are {', '.join(ALL)}")
    return [name for name in ALL if name in wanted], scale


def _require_ports(names: Sequence[str]) -> None:
    if os.environ.get("GPKI_PORT_BASE") and not COMPARED.keys().isdisjoint(names):
        raise ValueError(f"GPKI_PORT_BASE is for one stack, and {', '.join(COMPARED)} run two: unset it, or use ONLY")


def main() -> int:
    """Measure, write, print."""
    try:
        names, scale = settings()
        _require_ports(names)
    except ValueError as error:
        say(f"error: {error}")
        return 2
    began = time.monotonic()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(bench(names, scale))
    found["took_s"] = round(time.monotonic() - began)
    write(found)
    whole = scale == 1 and len(names) == len(ALL)
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
