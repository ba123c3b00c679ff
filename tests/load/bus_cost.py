"""What one small event costs our process in the loop: `python -m tests.load.bus_cost STATE_DIR [EVENTS] [--profile]`.

A pass-through handler on a stack that runs already (STATE_DIR of `make up`): decode, ledger, outcome, publish, commit.
"""

import asyncio
import cProfile
import os
import pstats
import sys
import time
from pathlib import Path

from deploy.native.layout import open_layout
from libs.bus.outcomes import Done, Emit
from libs.bus.work import Work
from tests.support.bus import Step, open_room
from tests.support.stack import Stack
from tests.support.waiting import eventually


async def measure(state: Path, events: int, *, profile: bool) -> None:
    """Print events/s and CPU µs per event of this process: consumer, handler, ledger client, producer."""
    async with open_room(Stack(open_layout(state))) as room:
        source, target = await room.topic(), await room.topic()
        await room.send(source, [room.event() for _ in range(events)])
        handled = 0

        async def pass_through(work: Work[Step]) -> None:
            nonlocal handled
            async with work.recording(*work.deliveries) as recording:
                for delivery in recording.deliveries:
                    recording.settle(delivery, Done((Emit(target, delivery.event),)))
            handled += len(work.deliveries)

        bus = room.bus()
        bus.consume({source: pass_through})
        profiler = cProfile.Profile()
        wall, before = time.perf_counter(), os.times()
        async with bus:
            if profile:
                profiler.enable()
            await eventually(lambda: handled >= events, "handled", seconds=120, every=0.02)
            profiler.disable()
            took, after = time.perf_counter() - wall, os.times()
        user, system = (1e6 * spent / events for spent in (after.user - before.user, after.system - before.system))
        cpu = f"{user + system:.0f} µs CPU per event: {user:.0f} user, {system:.0f} system"
        sys.stdout.write(f"{events / took:.0f} events/s, {cpu}\n")
        if profile:
            pstats.Stats(profiler).sort_stats("cumulative").print_stats(90)


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[2:] if argument.isdigit()]
    asyncio.run(measure(Path(sys.argv[1]), numbers[0] if numbers else 5_000, profile="--profile" in sys.argv))
