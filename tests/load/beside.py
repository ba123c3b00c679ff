"""`make bench STACK=compose`: the embedded stack and the one of docker-compose.yml, one after the other, side by side.

Each on a stack of its own, made anew. Leaves var/bench/compose.json and compose.md; SCALE=0.1 with smaller sizes.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from typing import Final

import uvloop

from deploy.containers import engine, images
from deploy.native.layout import CHECKOUT
from services.igfmas.demo.stack import running_stack
from tests.load import plot
from tests.load.bench import measure, new_layout, settings
from tests.load.parts import Found
from tests.load.progress import say, told
from tests.load.yardstick import Machine
from tests.support.containers import InContainers, containers
from tests.support.stack import Stack

PROJECT: Final = "gpki-bench"
STATE: Final = CHECKOUT / "var" / "containers" / "bench-stack"
RESULTS: Final = plot.RESULTS.with_name("compose.json")
TABLE: Final = RESULTS.with_suffix(".md")

PARTS: Final = ("pukal", "single")
"""What needs no second process of a service and no file of the stack's state."""

EMBEDDED, COMPOSE = "embedded", "compose"

FIGURES: Final[dict[str, Callable[[Found], float]]] = {
    "Pukal of {pukal:,}, documents/s": lambda found: found["pukal_per_s"],
    "the same to the raw rate of the HSM": lambda found: found["ratio"],
    "CPU of a document, us, in our processes": lambda found: found["pukal"]["cpu_us"]["median"],
    "one document, idle, p50, ms": lambda found: found["single_p50_ms"],
    "one document, idle, p99, ms": lambda found: found["single_p99_ms"],
    "most memory of a service, MiB": lambda found: max(found["rss_mb"].values()),
    "most memory of all services, MiB": lambda found: sum(found["rss_mb"].values()),
    "Kafka's memory, MiB": lambda found: found["resident_mb"]["kafka"],
    "PostgreSQL's memory, MiB": lambda found: found["resident_mb"]["postgres"],
    "start of a new stack, s": lambda found: found["start_s"],
}
"""Lines of the table. Memory of a process is its own, wherever it runs; what the engine itself takes is not in it."""


async def beside(scale: float) -> Found:
    """Both stacks, each with the same parts in the same order. Raises StackError."""
    machine = Machine.here()
    if machine.busy:
        say(f"the machine is busy (load {machine.load_before:.1f}): the figures will be worse than they are")
    found: Found = {"machine": machine.as_json(), "scale": scale}
    layout = new_layout()
    began = time.monotonic()
    async with running_stack(layout, say):
        found[EMBEDDED] = await _measured(Stack(layout), scale, began)
    with engine.running(say):
        images.build(say)
        began = time.monotonic()
        with containers(PROJECT, STATE, say) as stack:
            found[COMPOSE] = await _measured(stack, scale, began)
    return found


async def _measured(stack: Stack, scale: float, began: float) -> Found:
    where = COMPOSE if isinstance(stack, InContainers) else EMBEDDED
    found: Found = {"scale": scale, "start_s": round(time.monotonic() - began, 1), "failed": {}}
    say(f"{where}:")
    await measure(stack, PARTS, found, lambda _: None)
    return found


def table(found: Found) -> str:
    """Both, and what the containers' figure is of the other, in Markdown."""
    machine, sides = found["machine"], (found[EMBEDDED], found[COMPOSE])
    where = f"{machine['date']}, {machine['cpu']}, {machine['cpus']} CPUs, load before {machine['load_before']}"
    rows = [
        f"{where}, scale {found['scale']:g}",
        "",
        "| | embedded | in containers | of the embedded |",
        "|---|---|---|---|",
    ]
    for what, figure in FIGURES.items():
        one, other = map(figure, sides)
        name = what.format(pukal=sides[0]["pukal"]["documents"])
        rows.append(f"| {name} | {_shown(one)} | {_shown(other)} | {other / one:.2f} |")
    return "\n".join(rows) + "\n"


def _shown(value: float) -> str:
    return f"{round(value, 1 if value > 1 else 3):g}"


def main() -> int:
    """Measure, write, print."""
    try:
        _, scale = settings()
    except ValueError as error:
        say(f"error: {error}")
        return 2
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(beside(scale))
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")
    failed = found[EMBEDDED]["failed"] | found[COMPOSE]["failed"]
    if not failed:
        TABLE.write_text(table(found))
        sys.stdout.write(f"{table(found)}\n{RESULTS}, {TABLE.name}\n")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(told(main))
