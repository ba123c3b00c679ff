"""`make soak`: a steady mixed load for MINUTES (10), and whether the memory of any process grows. var/bench/soak.json.

On a stack of its own, made anew: var/bench-stack. The load is half of what the platform can bear, and begins when some
thousand single documents have filled what is bounded: six minutes, which are not judged. One that fails there ends it.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import uvloop

from deploy.native.layout import SERVICES
from services.igfmas.demo.stack import running_stack
from tests.load.bench import new_layout, on_stack
from tests.load.mixed import PUKAL, SINGLES_PER_S, half_load
from tests.load.parts import Found
from tests.load.plot import RESULTS
from tests.load.processes import Processes
from tests.load.progress import say, told
from tests.load.signings import one_after_another, percentile
from tests.load.yardstick import Machine
from tests.support.stack import Stack

REPORT = RESULTS.with_name("soak.json")
SAMPLE_SECONDS = 5.0
TELL_SECONDS = 60.0

FILLING, TOLD_OF = 5_000, 1_000
"""Single documents before the load begins, as fast as they go: ids and pydantic's strings are kept up to a bound."""

LOW = 12
"""Samples, a minute's, of which the least is told."""

WARMING = 0.3
"""Share of the run that is not judged: pools and the allocator settle to this load."""

FLAT_MB = 3.0
"""MiB in ten minutes that a service may seem to grow by and still be flat: allocators breathe."""


@dataclass
class Samples:
    """Resident memory of every process, sampled while a task of `take` runs."""

    processes: Processes
    at: list[float] = field(default_factory=list)
    megabytes: dict[str, list[float]] = field(default_factory=dict)

    async def take(self) -> None:
        """Until cancelled."""
        began, told = time.monotonic(), 0.0
        while True:
            now = time.monotonic() - began
            self.at.append(now)
            for name, size in self.processes.resident().items():
                self.megabytes.setdefault(name, []).append(size)
            if now - told > TELL_SECONDS:
                told = now
                say(f"{now / 60:.0f} min: " + ", ".join(f"{name} {self.megabytes[name][-1]:.0f}" for name in SERVICES))
            await asyncio.sleep(SAMPLE_SECONDS)


def slope(at: Sequence[float], values: Sequence[float]) -> float:
    """Of the least squares' line, per unit of `at`; 0 for a single point."""
    middle, mean = sum(at) / len(at), sum(values) / len(values)
    spread = sum((each - middle) ** 2 for each in at)
    together = sum((each - middle) * (value - mean) for each, value in zip(at, values, strict=True))
    return together / spread if spread else 0.0


def judged(at: Sequence[float], megabytes: Mapping[str, Sequence[float]]) -> dict[str, dict[str, object]]:
    """Per process: how it began and ended, its slope once it was warm, and, of our services, whether that is flat.

    Of each LOW samples the least counts: a PIN or a long list is in memory for a moment, and no growth.
    Kafka's heap and PostgreSQL's caches grow to bounds of their own; the client keeps mails. They are told, not judged.
    """
    first = sum(each < WARMING * at[-1] for each in at)
    begins = range(first, len(at) - LOW + 1, LOW) or range(first, first + 1)
    lines: dict[str, dict[str, object]] = {}
    for name, sizes in megabytes.items():
        lows = [min(sizes[begin : begin + LOW]) for begin in begins]
        per_10_minutes = 600 * slope([at[begin] for begin in begins], lows)
        lines[name] = {
            "warm_mb": round(lows[0], 1),
            "end_mb": round(lows[-1], 1),
            "most_mb": round(max(sizes), 1),
            "mb_per_10_minutes": round(per_10_minutes, 2),
            "lows_mb": [round(low, 1) for low in lows],
            "flat": per_10_minutes <= FLAT_MB if name in SERVICES else None,
        }
    return lines


async def soak(minutes: float) -> Found:
    """One run on a stack of its own."""
    machine = Machine.here()
    layout = new_layout()
    async with running_stack(layout, say), on_stack(Stack(layout), 1.0) as bench:
        for filled in range(TOLD_OF, FILLING + 1, TOLD_OF):
            each = TOLD_OF // len(bench.officers)
            await asyncio.gather(*(one_after_another(bench.client, officer, 1, each) for officer in bench.officers))
            say(f"caches: {filled:,} of {FILLING:,} single documents before the load begins")
        load, samples = await half_load(bench, PUKAL), Samples(bench.processes)
        sampling = asyncio.create_task(samples.take())
        per_s = await load.run(60 * minutes)
        sampling.cancel()
        await asyncio.gather(sampling, return_exceptions=True)
    processes = judged(samples.at, samples.megabytes)
    return {
        "machine": machine.as_json(),
        "minutes": minutes,
        "documents": load.pukal_documents + len(load.singles_ms),
        "failed": load.failed,
        "documents_per_s": round(per_s, 1),
        "asked_per_s": round(load.documents_per_s + SINGLES_PER_S, 1),
        "single_p50_ms": percentile(load.singles_ms, 0.5),
        "single_p99_ms": percentile(load.singles_ms, 0.99),
        "flat": all(processes[name]["flat"] for name in SERVICES),
        "processes": processes,
    }


def main() -> int:
    """Run, write, print; ends with 1 if a service grows, or a request did not end."""
    minutes = float(os.environ.get("MINUTES") or 10)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(soak(minutes))
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(found, indent=2) + "\n")
    sys.stdout.write(f"{json.dumps(found, indent=2)}\n{REPORT}\n")
    return int(bool(found["failed"]) or not found["flat"])


if __name__ == "__main__":
    sys.exit(told(main))
